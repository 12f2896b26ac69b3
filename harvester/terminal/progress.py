"""Progress while a sweep runs: a live display on a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Literal, TextIO

import anyio

from harvester.tally import Tally
from harvester.terminal.estimate import Estimate, Speed, about, last_targets

ProgressMode = Literal["live", "often", "lines", "off"]
"""`often` is lines, in shorter intervals."""

_LINE_SECONDS = 10.0
_OFTEN_SECONDS = 5.0
_CI_VARIABLES = ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "TF_BUILD", "JENKINS_URL")
_log = logging.getLogger("harvester")


def can_redraw(stream: TextIO) -> bool:
    """Return whether a display on a stream can be redrawn, and somebody watches it."""
    if not stream.isatty() or os.environ.get("TERM", "dumb") in ("dumb", "unknown", ""):
        return False
    # A build server gives a terminal and keeps all that is written to it.
    return not any(
        os.environ.get(name, "false") not in ("false", "0", "") for name in _CI_VARIABLES
    )


@asynccontextmanager
async def show_progress(tally: Tally, mode: ProgressMode) -> AsyncIterator[None]:
    """Show a tally for the length of the block."""
    if mode == "off":
        yield
        return
    show: Callable[[Tally], Awaitable[None]]
    if mode == "live":
        from harvester.terminal.display import show_live

        show = show_live
    else:
        show = partial(_lines, seconds=_OFTEN_SECONDS if mode == "often" else _LINE_SECONDS)
    async with anyio.create_task_group() as group:
        group.start_soon(_without_harm, show, tally)
        try:
            yield
        finally:
            group.cancel_scope.cancel()


async def _without_harm(show: Callable[[Tally], Awaitable[None]], tally: Tally) -> None:
    """Show a tally; an error of the display ends the display and nothing else."""
    try:
        await show(tally)
    except Exception:  # noqa: BLE001  # whatever a terminal and rich do to each other
        _log.debug("the display failed", exc_info=True, extra={"event": "display_failed"})


async def _lines(tally: Tally, *, seconds: float) -> None:
    speed, estimate = Speed(tally.now), Estimate(tally)
    while True:
        await anyio.sleep(seconds)
        left = estimate.seconds()
        last = last_targets(tally)
        pages = speed.at(tally.pages)
        _log.info(
            "%s",
            _line(tally, pages, left, last),
            extra={
                "event": "progress",
                "ended": tally.ended.total(),
                "total": tally.total,
                "discovering": tally.discovering,
                "findings": tally.findings,
                "pages_per_second": round(pages, 1),
                "throttled": tally.throttled,
                "failed": len(tally.problems),
                "seconds_left": None if left is None else round(left),
                "open": last or None,
            },
        )


def _line(tally: Tally, pages: float, left: float | None, last: list[str]) -> str:
    parts = [
        f"{tally.ended.total():,} of {tally.total:,}{'+' if tally.discovering else ''} targets",
        f"{tally.findings:,} findings",
        f"{pages:,.1f} pages/s",
        f"{tally.throttled:,} throttled",
        f"{len(tally.problems):,} failed",
    ]
    if left is not None:
        parts.append(f"about {about(left)} left")
    line = ", ".join(parts)
    return f"{line}; still reading {', '.join(last)}" if last else line
