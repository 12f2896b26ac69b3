"""The live display of a sweep on a terminal."""

from __future__ import annotations

import anyio
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harvester.tally import Tally
from harvester.terminal.estimate import Estimate, Speed, about, last_targets
from harvester.terminal.stderr import is_behind

_FRAME_SECONDS = 0.2


async def show_live(tally: Tally) -> None:
    """Show a tally until cancelled."""
    speed, estimate, began = Speed(tally.now), Estimate(tally), tally.now()
    console = Console(stderr=True, highlight=False)
    # What others write to stderr meanwhile appears above the display; stdout is not ours.
    with Live(console=console, auto_refresh=False, redirect_stdout=False, transient=True) as live:
        while True:
            pages, left = speed.at(tally.pages), estimate.seconds()
            if not is_behind():
                live.update(_picture(tally, pages, tally.now() - began, left), refresh=True)
            await anyio.sleep(_FRAME_SECONDS)


def _picture(tally: Tally, speed: float, seconds: float, left: float | None) -> Group:
    done, total = tally.ended.total(), tally.total
    bar = Table.grid(padding=(0, 1))
    known = f"{done:,} of {total:,}{'+' if tally.discovering else ''} targets"
    time = _clock(seconds) if left is None else f"{_clock(seconds)}, about {about(left)} left"
    bar.add_row(ProgressBar(total=max(total, 1), completed=done, width=24), known, time)
    counts = Text.assemble(
        (f"{tally.findings:,}", "bold"),
        f" findings  {speed:,.1f} pages/s  {tally.requests:,} requests  ",
        (f"{tally.throttled:,} throttled", "yellow" if tally.throttled else ""),
        f"  {tally.retries:,} retries",
        no_wrap=True,
        overflow="ellipsis",
    )
    failed = len(tally.problems)
    told = "1 target is" if failed == 1 else f"{failed:,} targets are"
    problems = [Text(f"✗ {told} not complete", "red")] if failed else []
    last = [Text(f"… {line}", no_wrap=True, overflow="ellipsis") for line in last_targets(tally)]
    return Group(bar, counts, *problems, *last)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
