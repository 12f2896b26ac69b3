"""`python -m tests.torture`: torture sweeps, and write down what came of it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.torture.campaign import Campaign
from tests.torture.report import report

_KILLS, _TIMES = 200, 3


def main() -> int:
    """Run the campaign; returns 1 where anything was not as promised."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument(
        "--kills", type=int, default=_KILLS, help=f"how many kills; default: {_KILLS}"
    )
    parser.add_argument("--seed", type=int, default=1, help="draws everything; default: 1")
    parser.add_argument(
        "--times", type=int, default=_TIMES, help="how often each scenario is tried"
    )
    parser.add_argument("--step", type=int, default=1, help="of bytes and calls, each n-th alone")
    parser.add_argument("--only", nargs="*", default=[], help="parts: kills control calls …")
    parser.add_argument(
        "--out", type=Path, help="where the table goes, if it is whole; else: stdout"
    )
    given = parser.parse_args()
    began = time.monotonic()
    # The simulator's server wonders about callers that were killed.
    logging.getLogger("aiohttp.server").disabled = True

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {line}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        campaign = Campaign(Path(folder), given.seed, say)
        asyncio.run(_run(campaign, given))
    text, wrong = report(campaign.results, given.seed), campaign.results.wrong()
    for one in wrong:
        say(one)
    if given.out and not wrong and _is_all(given):
        given.out.write_text(text)
        say(f"written: {given.out}")
    else:
        print(text)
        if given.out:
            say(f"{given.out} is left as it is: that takes all of it, and nothing wrong")
    return 1 if wrong else 0


def _is_all(given: argparse.Namespace) -> bool:
    return given.kills >= _KILLS and given.times >= _TIMES and given.step == 1 and not given.only


async def _run(campaign: Campaign, given: argparse.Namespace) -> None:
    parts: dict[str, Callable[[], Awaitable[None]]] = {
        "kills": lambda: campaign.kill(given.kills),
        "control": campaign.control,
        "over": campaign.start_over,
        "calls": lambda: campaign.fail_syscalls(calls=range(1, 1000, given.step)),
        "damage": lambda: campaign.damage(step=given.step),
        "power": campaign.cut_power,
        "scenarios": lambda: campaign.scenarios(given.times),
    }
    for name, part in parts.items():
        if not given.only or name in given.only:
            await part()


if __name__ == "__main__":
    sys.exit(main())
