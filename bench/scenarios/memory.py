"""Peak memory: of very many targets, and of very many findings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from bench.contestants import HARVESTER
from bench.figures import Figure, Goal, Result, Run, ratios, rss
from bench.rig import Destination, Options, take_turn, take_turns
from bench.service import Plan, Service

_TIMEOUT: Final = 1_800.0
_log = logging.getLogger("bench")


def memory_wide(options: Options) -> Result:
    """Very many targets, hardly anything in them."""
    accounts = options.scaled(1_000)
    plan = Plan(accounts=accounts, regions=17, findings=accounts * 5, empty_share=0.95, skew=1.0)
    with Service(plan) as service:
        runs = take_turns((HARVESTER,), service, options.times(2), timeout=_TIMEOUT)
    peaks = [rss(run) for run in runs[HARVESTER.name]]
    return Result(
        f"{accounts:,} accounts × 17 regions, 95 % of the targets empty",
        [Figure("peak memory", peaks, "MiB", Goal("≤", 150))],
        runs,
    )


def memory_deep(options: Options) -> Result:
    """Ten times the findings in the same targets, to a file."""
    return _deep(options, "file", "a file")


def memory_stdout(options: Options) -> Result:
    """The same to stdout, a pipe that is read as fast as it fills.

    By the same queries in both: more of them at a time take more memory, whatever they read.
    """
    return _deep(options, "pipe", "stdout, cut by severity", ["--split", "severity"])


def _deep(options: Options, destination: Destination, to: str, its: Sequence[str] = ()) -> Result:
    less, more = options.scaled(100_000), options.scaled(1_000_000)
    runs: dict[str, list[Run]] = {f"{less:,}": [], f"{more:,}": []}
    # The same targets in both, so that what differs is only how long it goes on.
    with (
        Service(Plan(accounts=8, regions=2, findings=less)) as shallow,
        Service(Plan(accounts=8, regions=2, findings=more)) as deep,
    ):
        for number in range(options.times(2)):
            _log.info(" round %d", number + 1)
            for service, taken in zip((shallow, deep), runs.values(), strict=True):
                run = take_turn(HARVESTER, service, timeout=_TIMEOUT, more=its, to=destination)
                taken.append(run)
    figure = Figure(
        f"peak memory: {more:,} findings ÷ {less:,} findings, to {to}",
        ratios(runs[f"{more:,}"], runs[f"{less:,}"], rss),
        goal=Goal("≤", 1.1),
    )
    return Result(f"{less:,} and {more:,} findings in 16 targets, to {to}", [figure], runs)
