"""How many processes read, and how many requests each may have in flight: pure, no I/O."""

from __future__ import annotations

import math

from harvester.settings import Settings

_OF_THE_FIRST = 8
"""The part of the requests, one in so many, that the process which finds the targets keeps."""


def shares(settings: Settings) -> tuple[int, ...]:
    """Return the requests in flight of this process, and then of each other one that reads.

    Together they are `limits.max_concurrency`. One share alone means that this process reads:
    because no more are asked for, or because there is not enough to do for two.
    """
    limits = settings.limits
    whole = limits.max_concurrency
    own = max(1, whole // _OF_THE_FIRST)
    rest = whole - own
    others = int(min(limits.processes, rest, _most_targets(settings)))
    if others < 2:  # noqa: PLR2004
        return (whole,)
    return (own, *(rest // others + (number < rest % others) for number in range(others)))


def _most_targets(settings: Settings) -> float:
    """Return how many targets there can be at most, as far as the settings tell."""
    accounts, regions = settings.accounts, settings.regions
    if accounts.organization or accounts.organizational_units or "all" in regions.include:
        return math.inf
    return max(1, len(accounts.include)) * max(1, len(regions.include))
