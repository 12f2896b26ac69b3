"""The pace of one target: waits for the moment that the learned rate allows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from harvester.clock import Clock
from harvester.paging.learned import Learned
from harvester.paging.rate import RateLearner


class Pacer:
    """Spaces the calls of one account to one service in one region; all its queries share it.

    Args:
        clock: the time to go by.
        max_rate: calls a second, None for no cap.
        start: the bucket that an earlier run learned.
        first: how many calls may be under way at first, None for as few as a small bucket takes.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        max_rate: float | None = None,
        start: Learned | None = None,
        first: float | None = None,
    ) -> None:
        self._clock = clock
        self._learner = RateLearner(max_rate=max_rate, start=start, first=first)
        self._turns = anyio.Lock(fast_acquire=True)

    @property
    def learned(self) -> Learned | None:
        """The token bucket behind which the calls are, None before any throttle."""
        return self._learner.learned

    async def turn(self, admit: Callable[[], Awaitable[None]]) -> float:
        """Wait until the next call may be sent, those who wait in turn; return the moment.

        It names the call: `throttled` and `succeeded` take it.

        Once it may, `admit` is awaited for what else the call needs, and the moment of the call
        is counted from then on: calls that wait together do not leave together.
        """
        async with self._turns:
            while (wait := self._learner.wait(self._clock.now())) > 0.0:
                await self._clock.sleep(wait)
            await admit()
            while (wait := self._learner.reserve(sent := self._clock.now())) > 0.0:
                await self._clock.sleep(wait)  # throttled meanwhile
            return sent

    def throttled(self, sent: float) -> None:
        """Note that the call sent at `sent` was throttled just now."""
        self._learner.throttled(self._clock.now(), sent)

    def succeeded(self, sent: float) -> None:
        """Note that the call sent at `sent` was let through."""
        self._learner.succeeded(self._clock.now(), sent)

    def unanswered(self) -> None:
        """Note that a call has ended without an answer: cut off, or given up."""
        self._learner.unanswered()
