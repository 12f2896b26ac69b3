"""Who is measured: each sweeps the same organization, the way its user would write it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CONCURRENCY: Final = 64
ROLE: Final = "Harvester"


@dataclass(frozen=True, slots=True)
class Job:
    """What to sweep, and where to write it; `more` are further options of harvester."""

    regions: Sequence[str]
    output: Path | None
    more: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Contestant:
    """A way to sweep: the arguments of Python that do a job. `writes` is whether lines result."""

    name: str
    arguments: Callable[[Job], list[str]]
    writes: bool = True


def _harvester(job: Job) -> list[str]:
    regions = [word for name in job.regions for word in ("--region", name)]
    return [
        *("-m", "harvester", "sweep", "--organization", "--role-name", ROLE, *regions),
        *("--output", "-" if job.output is None else str(job.output)),
        *("--max-concurrency", str(CONCURRENCY), "--progress", "off", *job.more),
    ]


def _script(module: str) -> Callable[[Job], list[str]]:
    def arguments(job: Job) -> list[str]:
        values = {
            "regions": list(job.regions),
            "output": str(job.output),
            "role": ROLE,
            "concurrency": CONCURRENCY,
        }
        return ["-m", f"bench.contestants.{module}", json.dumps(values)]

    return arguments


HARVESTER: Final = Contestant("harvester", _harvester)
FLOOR: Final = Contestant("floor", _script("floor"), writes=False)
AIOBOTOCORE: Final = Contestant("aiobotocore", _script("tasks"))
HEART: Final = Contestant("heartbeat", _script("heart"))
BOTO3: Final = Contestant("boto3", _script("threads"))
ALL: Final = (HARVESTER, FLOOR, AIOBOTOCORE, BOTO3)
