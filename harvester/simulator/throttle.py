"""One token bucket for each account and region."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from harvester.simulator.behaviour import Behaviour

_ROUNDING: Final = 1e-6


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
        # A bucket that refills for exactly the time of one token holds 0.9999999… of it.
        granted = tokens > 1 - _ROUNDING
        self._buckets[account, region] = (max(0.0, tokens - 1) if granted else tokens, now)
        return granted
