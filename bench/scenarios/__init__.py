"""The scenarios by name, in the order in which all of them run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from bench.figures import Result
from bench.rig import Options
from bench.scenarios.cpu import dense, help_text, wide
from bench.scenarios.heartbeat import heartbeat
from bench.scenarios.memory import memory_deep, memory_stdout, memory_wide
from bench.scenarios.pace import one_large, processes, small_buckets, throttled

Scenario = Callable[[Options], Result | None]

SCENARIOS: Final[Mapping[str, Scenario]] = {
    "help": help_text,
    "dense": dense,
    "wide": wide,
    "memory-wide": memory_wide,
    "memory-deep": memory_deep,
    "memory-stdout": memory_stdout,
    "throttled": throttled,
    "small-buckets": small_buckets,
    "one-large": one_large,
    "processes": processes,
    "heartbeat": heartbeat,
}
