"""Who may have a request in flight: a bound on all, shared fairly between targets."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from types import TracebackType
from typing import Self

import anyio


class FairSlots:
    """At most `limit` holders at a time; those who wait are served by key in rotation.

    A key with fifty waiting gets its next turn only after each other waiting key had one, so
    a target with many queries cannot hold up those with one.

    Attributes:
        limit: how many holders there may be.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._free = limit
        self._waiting: OrderedDict[Hashable, deque[anyio.Event]] = OrderedDict()

    def slot(self, key: Hashable) -> Slot:
        """Return a slot that is not held yet."""
        return Slot(self, key)

    @property
    def waiting(self) -> bool:
        """Whether anyone waits for a slot, or would have to."""
        return bool(self._waiting) or not self._free

    async def acquire(self, key: Hashable) -> None:
        """Take one of the slots, once it is the turn of `key`."""
        if self._free and not self._waiting:
            self._free -= 1
            return
        turn = anyio.Event()
        self._waiting.setdefault(key, deque()).append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():  # cancelled in the moment the slot was handed over
                self.release()
            else:
                self._forget(key, turn)
            raise

    def release(self) -> None:
        """Give one back."""
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


class Slot:
    """One slot, held from `acquire` to `release`, or for the length of an `async with` block.

    To acquire what is held, or to release what is not, does nothing.
    """

    __slots__ = ("_held", "_key", "_slots")

    def __init__(self, slots: FairSlots, key: Hashable) -> None:
        self._slots = slots
        self._key = key
        self._held = False

    @property
    def held(self) -> bool:
        """Whether it is held."""
        return self._held

    async def acquire(self) -> None:
        """Wait for the slot, and hold it."""
        if not self._held:
            await self._slots.acquire(self._key)
            self._held = True

    def release(self) -> None:
        """Give the slot back."""
        if self._held:
            self._held = False
            self._slots.release()

    async def __aenter__(self) -> Self:
        """Wait for the slot, and hold it."""
        await self.acquire()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give it back."""
        self.release()
