"""Sweeps that keep no journal, put through the same kills: the checks must catch them."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from harvester.simulator import Behaviour, Simulator
from tests.e2e.support import multiset
from tests.torture.jobs import Job, Site
from tests.torture.kills import Report, torture
from tests.torture.moments import late
from tests.torture.naive import whole_lines

WAYS = {
    "append": "appends, and reads everything again when it is started again",
    "by-target": "appends, and leaves out the targets that the file has findings of",
}
_SIZE = 10
_SLOW = ("--max-concurrency", "4", "--page-size", "8", "--fresh")


@dataclass(frozen=True, slots=True)
class Caught:
    """What the check found in the output of a sweep without a journal."""

    way: str
    kills: int
    missing: int
    doubled: int


async def naive(job: Job, folder: Path, way: str, *, kills: int, rng: random.Random) -> Caught:
    """Kill a naive sweep so many times, let it end, and look at what it gives."""
    site, killed = Site(folder, replace(job, destination="one file", choice=())), 0
    program = (sys.executable, "-m", "tests.torture.naive", way, "out.ndjson", f"{_SIZE}")
    environment = {"PYTHONPATH": f"{Path(__file__).parents[2]}"}
    behaviour = Behaviour(latency=job.latency)
    whole = sum(len(line) * number for line, number in site.job.truth.items())
    async with Simulator(job.organization, behaviour=behaviour) as simulator:
        ended = False
        while not ended:
            async with site.command.start(simulator, program=program, env=environment) as process:
                left = asyncio.ensure_future(process.wait())
                enough = _size(site.output) + rng.uniform(0.1, 0.6) * whole
                while killed < kills and not left.done():
                    if _size(site.output) > enough:
                        killed += 1
                        with suppress(ProcessLookupError):  # it may have ended
                            process.send_signal(rng.choice((signal.SIGKILL, signal.SIGTERM)))
                        break
                    await asyncio.sleep(0.001)
                code = await left
                assert code in (0, -signal.SIGKILL, -signal.SIGTERM), code
                ended = code == 0
    found, wanted = multiset(whole_lines(site.output)), site.job.truth
    return Caught(way, killed, (wanted - found).total(), (found - wanted).total())


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


async def starting_over(job: Job, folder: Path, *, kills: int, rng: random.Random) -> Report:
    """Kill a sweep that throws its work away each time: its calls must be too many."""
    one = replace(job, options=_SLOW, latency=0.1, old=False)
    return await torture(one, folder, kills=kills, rng=rng, moments={"late": late})
