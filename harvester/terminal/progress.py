"""Progress while a sweep runs: a live display on a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

import anyio

from harvester.tally import Tally

_LINE_SECONDS = 10.0
_RATE_SECONDS = 5.0
_log = logging.getLogger("harvester")


class Speed:
    """Pages a second over the last few seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._marks: deque[tuple[float, int]] = deque([(now(), 0)])

    def at(self, pages: int) -> float:
        """Return the speed, now that there are `pages` in all."""
        now = self._now()
        self._marks.append((now, pages))
        while len(self._marks) > 2 and now - self._marks[1][0] >= _RATE_SECONDS:  # noqa: PLR2004
            self._marks.popleft()
        began, before = self._marks[0]
        return (pages - before) / (now - began) if now > began else 0.0


@asynccontextmanager
async def show_progress(tally: Tally, how: Literal["live", "lines", "off"]) -> AsyncIterator[None]:
    """Show a tally for the length of the block."""
    if how == "off":
        yield
        return
    show = _lines
    if how == "live":
        from harvester.terminal.display import show_live as show
    async with anyio.create_task_group() as group:
        group.start_soon(show, tally)
        try:
            yield
        finally:
            group.cancel_scope.cancel()


async def _lines(tally: Tally) -> None:
    speed = Speed(tally.now)
    while True:
        await anyio.sleep(_LINE_SECONDS)
        _log.info(
            "%s of %s%s targets, %s findings, %.1f pages/s, %s throttled, %s failed",
            tally.ended.total(),
            tally.total,
            "+" if tally.discovering else "",
            tally.findings,
            speed.at(tally.pages),
            tally.throttled,
            len(tally.problems),
        )
