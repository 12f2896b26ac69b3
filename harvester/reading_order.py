"""The order in which targets are read after a sweep that did not finish: oldest first."""

from __future__ import annotations

import heapq
import math
from itertools import count

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from harvester.output.ages import Ages
from harvester.visit import Visit

_PATIENCE = 10.0
"""Seconds for which a target that was read lately waits for others to be found."""


class ReadingOrder:
    """Passes targets on: first those that have waited longest, large ones before small ones.

    A target that was never read passes at once. Any other one waits until all targets are
    found: accounts that answer early would be read again and again otherwise. It does not wait
    for long, since an account may never answer.

    Args:
        ages: when each target was read.
        patience: the longest wait, in seconds.
    """

    def __init__(self, ages: Ages, *, patience: float = _PATIENCE) -> None:
        self._ages = ages
        self._patience = patience
        self._heap: list[tuple[float, float, int, Visit]] = []
        self._numbers = count()
        self._all_found = False

    async def take(
        self, found: MemoryObjectReceiveStream[Visit], waiting: MemoryObjectSendStream[Visit]
    ) -> None:
        """Pass on all targets that are found."""
        patience = anyio.current_time() + self._patience
        async with found, waiting:
            while self._heap or not self._all_found:
                self._add_all(found)
                late = self._all_found or anyio.current_time() >= patience
                if self._heap and (late or not self._heap[0][0]):
                    await waiting.send(heapq.heappop(self._heap)[-1])
                    continue
                with anyio.CancelScope(deadline=patience if self._heap else math.inf):
                    await self._add_next(found)

    def _add_all(self, found: MemoryObjectReceiveStream[Visit]) -> None:
        while not self._all_found:
            try:
                self._add(found.receive_nowait())
            except anyio.WouldBlock:
                return
            except anyio.EndOfStream:
                self._all_found = True

    async def _add_next(self, found: MemoryObjectReceiveStream[Visit]) -> None:
        try:
            self._add(await found.receive())
        except anyio.EndOfStream:
            self._all_found = True

    def _add(self, visit: Visit) -> None:
        age = self._ages.of(visit.target)
        heapq.heappush(self._heap, (age, -visit.pages, next(self._numbers), visit))
