"""How far a run relies on the service's counts: shared by all targets that a process reads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from harvester.model import Target

MOST_DIFFERENT = 3
"""Targets whose counts are found to differ, each by two readings, until a run stops to look."""


class CountTrust:
    """Counts that two readings of a target proved to differ from its list, in one run.

    A service whose counts mean something else than its lists would have each target read twice.
    So at most three second readings are under way at a time, and once three targets were found to
    differ systematically, there are no more second readings, and no split relies on a count.
    """

    def __init__(self) -> None:
        self._different: set[Target] = set()
        self._reading = 0
        self._ended = anyio.Event()
        self._told: set[str] = set()

    @property
    def is_lost(self) -> bool:
        """Whether enough targets were found to differ for all others to be doubted."""
        return len(self._different) >= MOST_DIFFERENT

    def differs(self, target: Target) -> None:
        """Note that two readings of a target agree, and its count differs from both."""
        self._different.add(target)

    @asynccontextmanager
    async def second_reading(self) -> AsyncIterator[bool]:
        """Wait for a turn to read a target a second time; yield False if it need not be read."""
        while not self.is_lost and self._reading + len(self._different) >= MOST_DIFFERENT:
            await self._ended.wait()
        if self.is_lost:
            yield False
            return
        self._reading += 1
        try:
            yield True
        finally:
            self._reading -= 1
            self._ended.set()
            self._ended = anyio.Event()

    def is_news(self, text: str) -> bool:
        """Return whether a text is told for the first time."""
        known = text in self._told
        self._told.add(text)
        return not known
