"""How many processes read, and how many requests each may have in flight: pure, no I/O."""

from __future__ import annotations

import math

from harvester.settings import Settings


def shares(settings: Settings) -> tuple[int, ...]:
    """Return the requests in flight of this process, and then of each other one that reads.

    Together they are `limits.max_concurrency`. There are no more processes than there are
    requests, or targets, for.
    """
    limits = settings.limits
    whole = limits.max_concurrency
    count = int(min(limits.processes, whole, _most_targets(settings)))
    return tuple(whole // count + (number < whole % count) for number in range(count))


def _most_targets(settings: Settings) -> float:
    """Return how many targets there can be at most, as far as the settings tell."""
    accounts, regions = settings.accounts, settings.regions
    if accounts.organization or accounts.organizational_units or "all" in regions.include:
        return math.inf
    return max(1, len(accounts.include)) * max(1, len(regions.include))
