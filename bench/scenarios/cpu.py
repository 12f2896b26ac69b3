"""What a finding costs, what a target costs, and what it costs to begin."""

from __future__ import annotations

from typing import Final

from bench.contestants import AIOBOTOCORE, ALL, BOTO3, FLOOR, HARVESTER
from bench.figures import Figure, Goal, Result, Run, cpu, ratios, wall
from bench.process import PYTHON, measure
from bench.rig import Options, take_turn, take_turns
from bench.service import Plan, Service

_TIMEOUT: Final = 600.0


def dense(options: Options) -> Result:
    """Much in few targets: the CPU of a finding."""
    rounds = options.times(5)
    plan = Plan(accounts=4, regions=2, findings=options.scaled(80_000))
    with Service(Plan(accounts=1, findings=0)) as nothing, Service(plan) as service:
        take_turn(FLOOR, service, timeout=_TIMEOUT)  # so that the simulator has made its pages
        runs = take_turns(ALL, service, rounds, timeout=_TIMEOUT, same=True)
        starts = take_turns(ALL, nothing, rounds, timeout=_TIMEOUT)
    mine = runs[HARVESTER.name]
    figures = [
        Figure(
            "CPU of a finding: aiobotocore's paginator ÷ harvester",
            ratios(runs[AIOBOTOCORE.name], mine),
            goal=Goal("≥", 8),
        ),
        Figure(
            "CPU of a finding: boto3's paginator in threads ÷ harvester",
            ratios(runs[BOTO3.name], mine),
        ),
        Figure(
            "CPU of a finding: harvester ÷ the floor (fetched and signed, not parsed)",
            ratios(mine, runs[FLOOR.name]),
            goal=Goal("≤", 3),
        ),
        Figure(
            "time: aiobotocore's paginator ÷ harvester", ratios(runs[AIOBOTOCORE.name], mine, wall)
        ),
        *(
            Figure(
                f"share of {name}'s CPU that goes into starting up (one empty target)",
                [100 * ratio for ratio in ratios(starts[name], runs[name])],
                "%",
            )
            for name in runs
        ),
    ]
    return Result(
        f"{plan.findings:,} findings in {plan.accounts * plan.regions} targets, latency 0",
        figures,
        runs | {f"{name}, one empty target": list(taken) for name, taken in starts.items()},
    )


def wide(options: Options) -> Result:
    """Little in many targets: the CPU of a target."""
    accounts = options.scaled(60)
    plan = Plan(accounts=accounts, regions=17, findings=accounts * 50, empty_share=0.95, skew=1.0)
    contestants = (HARVESTER, FLOOR, AIOBOTOCORE, BOTO3)
    with Service(plan) as service:
        runs = take_turns(contestants, service, options.times(3), timeout=_TIMEOUT, same=True)
    mine = runs[HARVESTER.name]
    figures = [
        Figure(
            "CPU of a wide sweep: aiobotocore, a client per target ÷ harvester",
            ratios(runs[AIOBOTOCORE.name], mine),
            goal=Goal("≥", 20),
        ),
        Figure(
            "CPU of a wide sweep: boto3 in threads, a client per target ÷ harvester",
            ratios(runs[BOTO3.name], mine),
        ),
        Figure("CPU of a wide sweep: harvester ÷ the floor", ratios(mine, runs[FLOOR.name])),
        Figure(
            "peak memory of a wide sweep: aiobotocore ÷ harvester",
            [
                other.measure.rss / one.measure.rss
                for other, one in zip(runs[AIOBOTOCORE.name], mine, strict=True)
            ],
        ),
    ]
    what = f"{accounts} accounts × 17 regions, 95 % of the targets empty, latency 0"
    return Result(what, figures, runs)


def help_text(options: Options) -> Result:
    """What the command costs before it does anything."""
    rounds = options.times(7)
    commands = {
        "harvester --help": ["-m", "harvester", "--help"],
        "harvester sweep --help": ["-m", "harvester", "sweep", "--help"],
        "python -c pass": ["-c", "pass"],
    }
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, arguments in commands.items():
            runs[name].append(Run(measure([PYTHON, *arguments], {}, timeout=_TIMEOUT), {}))
    helps = [name for name in runs if name.startswith("harvester")]
    return Result(
        "the command alone",
        [
            Figure(f"CPU of `{name}`", [cpu(run) for run in runs[name]], "s", Goal("≤", 0.2))
            for name in helps
        ],
        runs,
    )
