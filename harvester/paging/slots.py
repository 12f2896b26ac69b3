"""Who may have a request in flight: a bound on all, shared fairly between targets."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

import anyio


class FairSlots:
    """At most `limit` holders at a time; those who wait are served by key in rotation.

    A key with fifty waiting gets its next turn only after each other waiting key had one, so
    a target with many queries cannot hold up those with one.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._waiting: OrderedDict[Hashable, deque[anyio.Event]] = OrderedDict()

    @asynccontextmanager
    async def slot(self, key: Hashable) -> AsyncIterator[None]:
        """Hold a slot for the length of the block."""
        await self._acquire(key)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, key: Hashable) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        turn = anyio.Event()
        self._waiting.setdefault(key, deque()).append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():  # cancelled in the moment the slot was handed over
                self._release()
            else:
                self._forget(key, turn)
            raise

    def _release(self) -> None:
        if not self._waiting:
            self._free += 1
            return
        key, turns = next(iter(self._waiting.items()))
        turns.popleft().set()
        if turns:
            self._waiting.move_to_end(key)
        else:
            del self._waiting[key]

    def _forget(self, key: Hashable, turn: anyio.Event) -> None:
        turns = self._waiting[key]
        turns.remove(turn)
        if not turns:
            del self._waiting[key]
