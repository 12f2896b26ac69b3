"""One token bucket for each account and region."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from harvester.simulator.behaviour import Behaviour


class Throttle:
    """Grants or refuses calls; a refused call costs nothing."""

    def __init__(self, behaviour: Behaviour, monotonic: Callable[[], float]) -> None:
        self._behaviour = behaviour
        self._monotonic = monotonic
        self._buckets: dict[tuple[str, str], tuple[float, float]] = {}

    def grant(self, account: str, region: str) -> bool:
        """Whether this call may pass; takes a token where it may."""
        rate = self._behaviour.rate_of(account, region)
        if rate is None:
            return True
        now = self._monotonic()
        tokens, then = self._buckets.get((account, region), (float(rate.burst), now))
        tokens = min(float(rate.burst), tokens + (now - then) * rate.rate)
        granted = tokens >= 1
        self._buckets[account, region] = (tokens - 1 if granted else tokens, now)
        return granted
