"""The live display of a sweep on a terminal."""

from __future__ import annotations

import anyio
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harvester.model import Outcome
from harvester.tally import Tally
from harvester.terminal.progress import Speed
from harvester.text import printable

_FRAME_SECONDS = 0.2
_PROBLEMS_SHOWN = 4


async def show_live(tally: Tally) -> None:
    """Show a tally until cancelled."""
    speed, began = Speed(tally.now), tally.now()
    console = Console(stderr=True, highlight=False)
    # What others write to stderr meanwhile appears above the display; stdout is not ours.
    with Live(console=console, auto_refresh=False, redirect_stdout=False, transient=True) as live:
        while True:
            live.update(_picture(tally, speed.at(tally.pages), tally.now() - began), refresh=True)
            await anyio.sleep(_FRAME_SECONDS)


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
