"""What comes out of a scenario: figures with their spread, and the goals that they are held to."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from bench.process import Measure

_DECIMALS_BELOW: Final = ((1, 3), (10, 2), (100, 1))


@dataclass(frozen=True, slots=True)
class Goal:
    """At least, or at most, so much."""

    kind: Literal["≥", "≤"]
    bound: float

    def met_by(self, value: float) -> bool:
        """Whether a value is good enough."""
        return value >= self.bound if self.kind == "≥" else value <= self.bound


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing measured, once in each round."""

    label: str
    values: Sequence[float]
    unit: str = "×"
    goal: Goal | None = None

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median meets the goal; None where there is none."""
        return self.goal.met_by(self.median) if self.goal else None

    def as_dict(self) -> dict[str, Any]:
        """As it stands in results.json."""
        goal = f"{self.goal.kind} {shown(self.goal.bound, self.unit)}" if self.goal else None
        return {
            "label": self.label,
            "unit": self.unit,
            "median": self.median,
            "low": min(self.values),
            "high": max(self.values),
            "goal": goal,
            "met": self.met,
            "values": list(self.values),
        }


@dataclass(frozen=True, slots=True)
class Run:
    """One contestant in one round; `counts` are what the simulator saw of it."""

    measure: Measure
    counts: Mapping[str, float]

    def as_dict(self) -> dict[str, float]:
        """As it stands in results.json."""
        counts = {f"simulator_{name}": value for name, value in self.counts.items()}
        return {**asdict(self.measure), **counts}


Runs = dict[str, list[Run]]


@dataclass(frozen=True, slots=True)
class Result:
    """All of a scenario: what was done in words, the figures, and the runs behind them."""

    what: str
    figures: Sequence[Figure]
    runs: Runs = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As it stands in results.json."""
        return {
            "what": self.what,
            "figures": [figure.as_dict() for figure in self.figures],
            "runs": {name: [run.as_dict() for run in runs] for name, runs in self.runs.items()},
        }


def cpu(run: Run) -> float:
    """The CPU seconds of a run."""
    return run.measure.cpu


def wall(run: Run) -> float:
    """The seconds of a run."""
    return run.measure.wall


def rss(run: Run) -> float:
    """The peak memory of a run, in MiB."""
    return run.measure.rss


def ratios(
    over: Iterable[Run], under: Iterable[Run], what: Callable[[Run], float] = cpu
) -> list[float]:
    """The ratio of each round."""
    return [what(one) / what(other) for one, other in zip(over, under, strict=True)]


def shown(value: float, unit: str) -> str:
    """A value in three digits or so, with its unit."""
    digits = next((count for below, count in _DECIMALS_BELOW if abs(value) < below), 0)
    text = f"{value:.{digits}f}"
    return text + ("×" if unit == "×" else f" {unit}")
