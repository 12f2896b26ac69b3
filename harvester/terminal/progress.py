"""Progress while a sweep runs: a live display on a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

import anyio
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harvester.model import Outcome
from harvester.tally import Tally
from harvester.text import printable

_FRAME_SECONDS = 0.2
_LINE_SECONDS = 10.0
_RATE_SECONDS = 5.0
_PROBLEMS_SHOWN = 4
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
    async with anyio.create_task_group() as group:
        group.start_soon(_live if how == "live" else _lines, tally)
        try:
            yield
        finally:
            group.cancel_scope.cancel()


async def _live(tally: Tally) -> None:
    speed, began = Speed(tally.now), tally.now()
    console = Console(stderr=True, highlight=False)
    # What others write to stderr meanwhile appears above the display; stdout is not ours.
    with Live(console=console, auto_refresh=False, redirect_stdout=False, transient=True) as live:
        while True:
            live.update(_picture(tally, speed.at(tally.pages), tally.now() - began), refresh=True)
            await anyio.sleep(_FRAME_SECONDS)


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


def _picture(tally: Tally, speed: float, seconds: float) -> Group:
    done, total = tally.ended.total(), tally.total
    bar = Table.grid(padding=(0, 1))
    known = f"{done:,} of {total:,}{'+' if tally.discovering else ''} targets"
    bar.add_row(ProgressBar(total=max(total, 1), completed=done, width=32), known, _clock(seconds))
    counts = Text.assemble(
        (f"{tally.findings:,}", "bold"),
        f" findings   {speed:,.1f} pages/s   {tally.requests:,} requests   ",
        (f"{tally.throttled:,} throttled", "yellow" if tally.throttled else ""),
        f"   {tally.retries:,} retries",
    )
    return Group(bar, counts, *_failures(tally.problems))


def _failures(problems: list[Outcome]) -> list[Text]:
    lines = [
        Text(f"✗ {one.where} {one.code}: {printable(one.message, 100)}", "red", no_wrap=True)
        for one in problems[-_PROBLEMS_SHOWN:]
    ]
    if len(problems) > _PROBLEMS_SHOWN:
        lines.insert(0, Text(f"{len(problems):,} targets failed so far, the last of them:", "red"))
    return lines


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
