"""The pace of one target: evenly spaced under a cap, and a common pause after a throttle."""

from __future__ import annotations

import random
from collections.abc import Callable

from harvester.clock import Clock


class Pacer:
    """Spaces the calls of one account and region; all of the target's queries share it.

    Args:
        max_rate: calls a second, None for no cap.
        clock: the time to go by.
        draw: uniform random numbers between two bounds, for the jitter of a pause.
    """

    _PAUSE_SECONDS = 0.25
    _PAUSE_CAP_SECONDS = 10.0

    def __init__(
        self,
        max_rate: float | None,
        clock: Clock,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._spacing = 1.0 / max_rate if max_rate else 0.0
        self._clock = clock
        self._draw = draw
        self._next = 0.0
        self._throttles = 0

    async def turn(self) -> None:
        """Wait until the next call may be sent."""
        while (wait := self._reserve()) > 0.0:
            await self._clock.sleep(wait)

    def throttled(self) -> None:
        """Note a throttle: every query of the target pauses, the longer the more there are."""
        self._throttles += 1
        bound = min(self._PAUSE_CAP_SECONDS, self._PAUSE_SECONDS * 2.0 ** min(self._throttles, 16))
        self._next = max(self._next, self._clock.now() + self._draw(bound / 2, bound))

    def succeeded(self) -> None:
        """Note a call that was not throttled."""
        self._throttles = 0

    def _reserve(self) -> float:
        now = self._clock.now()
        if self._next > now:
            return self._next - now
        self._next = now + self._spacing
        return 0.0
