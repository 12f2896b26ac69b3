"""Whether and how one large target is cut into concurrent queries: pure decisions, no I/O."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from harvester.model import Facets, Query, Target

KNOWN_SEVERITIES = ("CRITICAL", "HIGH", "MEDIUM", "LOW", "INFORMATIONAL", "UNTRIAGED")
"""The severities that the service documents. It may use others: a cut by these is checked."""

QUERIES_AT_ONCE = 32
"""How many queries of one target are under way at a time; its pacer bounds their rate.

100 calls a second take twenty at a round trip of 200 ms, and the last queries of many are to
run side by side as well: those that have to wait for a place end alone.
"""

_LONG_CHAIN = 40
"""Calls from which on a chain may be cut: by severity takes some six calls more, and below that
is too much for the few seconds that it saves."""

_FINE_CHAIN = 120
"""Calls from which on finer cuts than by severity are looked for, which takes a dozen of them."""

_NOTABLY = 1.25
"""How many times the rest of the sweep a chain may take, and need not be cut."""

_ROUND_TRIP = 0.2
"""Seconds that a call is thought to take at most, where it matters how many fill a pace."""

_WORTH = 0.6
"""The share of the chain's time that a cut may take to be worth its extra calls."""

_GREED = 1.25
"""How many times the calls of the chain a cut may need, listings included."""

_NEAR = 1.5
"""How many times the ideal duration is near enough to look for no finer cut."""


@dataclass(frozen=True, slots=True)
class Part:
    """One query of a cut: an API filter with its value, and the findings it is thought to have."""

    name: str
    value: str
    findings: int


@dataclass(frozen=True, slots=True)
class Cut:
    """A way to read a target by several queries that do not overlap.

    `parts` come with the largest first; `listing` is the calls that it took to find them out.
    """

    parts: tuple[Part, ...]
    listing: int = 0

    @classmethod
    def by(cls, name: str, counts: Mapping[str, int], listing: int = 0) -> Cut:
        """Return the cut by one filter, without the values that have no findings."""
        parts = [Part(name, value, count) for value, count in counts.items() if count]
        return cls(_largest_first(parts), listing)

    def __add__(self, other: Cut) -> Cut:
        """Return the cut with the parts of both."""
        return Cut(_largest_first([*self.parts, *other.parts]), self.listing + other.listing)

    @property
    def findings(self) -> int:
        """How many findings the parts are thought to have together."""
        return sum(part.findings for part in self.parts)

    def calls(self, page_size: int) -> int:
        """Return how many calls the parts take, without the listing."""
        return sum(calls_for(part.findings, page_size) for part in self.parts)

    def holds(self, findings: Sequence[Facets]) -> bool:
        """Return whether each of some findings falls into one of the parts."""
        values: dict[str, set[str]] = defaultdict(set)
        for part in self.parts:
            values[part.name].add(part.value)
        return all(
            any(
                isinstance(value := facets.value(name), str) and value in those
                for name, those in values.items()
            )
            for facets in findings
        )

    def queries(self, target: Target) -> tuple[Query, ...]:
        """Return a query for each part, the largest first."""
        return tuple(Query(target, part.name, part.value) for part in self.parts)


def calls_for(findings: int, page_size: int) -> int:
    """Return how many calls a chain of so many findings takes."""
    return max(1, ceil(findings / page_size))


def by_severity(counts: Mapping[str, int]) -> Cut:
    """Return the cut by severity, of what the service counts: critical, high, medium and all.

    What is none of the three is taken to be of one severity, the worst case. All six are
    asked for, whatever the counts say.
    """
    known = {name: counts.get(name.lower(), 0) for name in ("CRITICAL", "HIGH", "MEDIUM")}
    known["LOW"] = max(0, counts["all"] - sum(known.values()))
    return Cut(_largest_first([Part("severity", v, known.get(v, 0)) for v in KNOWN_SEVERITIES]))


def width_at(*rates: float | None) -> float:
    """Return how many calls in flight fill the lowest of some paces, in calls a second.

    None is a pace that is not known, and may be any.
    """
    known = [rate for rate in rates if rate is not None]
    return max(1.0, min(known) * _ROUND_TRIP) if known else QUERIES_AT_ONCE


def is_long(findings: int, page_size: int, width: float, rest: float) -> bool:
    """Return whether a chain is long enough to think about cutting it.

    Args:
        findings: in the chain.
        page_size: findings a call.
        width: how many calls may be in flight at a time: where one chain fills the pace, no cut
            is faster.
        rest: how many calls the rest of the sweep takes, one after the other: a chain that ends
            with it holds up nothing.
    """
    calls = calls_for(findings, page_size)
    return calls >= _LONG_CHAIN and calls > _NOTABLY * rest and width * _WORTH > 1.0


def affords_search(findings: int, page_size: int) -> bool:
    """Return whether it is worth looking for a finer cut than by severity."""
    return calls_for(findings, page_size) >= _FINE_CHAIN


def best_of(cuts: Sequence[Cut], findings: int, page_size: int, width: float) -> Cut | None:
    """Return the fastest of some cuts of so many findings, None where one chain does as well.

    A cut is worth it when it is notably faster than the chain and not much greedier. `width`
    is how many calls may be in flight at a time, as the pace allows.
    """
    chain = calls_for(findings, page_size)
    worth = [
        cut
        for cut in cuts
        if duration(cut, page_size, width) <= _WORTH * chain
        and cut.calls(page_size) + cut.listing <= _GREED * chain
    ]
    return min(worth, key=lambda cut: duration(cut, page_size, width), default=None)


def duration(cut: Cut, page_size: int, width: float) -> float:
    """Return how long the parts of a cut take, in the time of one call."""
    width = max(1.0, min(width, QUERIES_AT_ONCE))
    longest = calls_for(cut.parts[0].findings, page_size) if cut.parts else 0
    return max(longest, cut.calls(page_size) / width)


def is_enough(cut: Cut | None, findings: int, page_size: int, width: float) -> bool:
    """Return whether a cut already fills the pace, so that no finer one need be looked for."""
    if cut is None:
        return False
    ideal = calls_for(findings, page_size) / max(1.0, min(width, QUERIES_AT_ONCE))
    return duration(cut, page_size, width) <= _NEAR * ideal


def affords_listing(listed: int, findings: int, page_size: int) -> bool:
    """Return whether that many listing calls leave a cut a chance to be worth it."""
    return listed <= (_GREED - 1) / 2 * calls_for(findings, page_size)


def _largest_first(parts: Sequence[Part]) -> tuple[Part, ...]:
    return tuple(sorted(parts, key=lambda part: (-part.findings, part.name, part.value)))
