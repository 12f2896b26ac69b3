"""Sinks whose runs are killed: pages to write, and what is left of them read back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harvester.aws.bodies import page_of
from harvester.clock import Clock
from harvester.model import Page, Query, Target
from harvester.output.attribution import Selection
from harvester.output.contents import Contents
from harvester.output.extents import Extents
from harvester.output.files import FileSink
from harvester.output.journal import Journal
from harvester.output.publish import PartWriter
from harvester.output.results import Published, Results, Spooled
from harvester.output.resume import Header, take_up
from harvester.output.single import SingleFile
from harvester.output.spool import Spool
from harvester.output.workspace import Workspace

ONE, TWO = Target("111111111111", "eu-west-1"), Target("222222222222", "us-east-1")
QUERIES = {
    ONE: [Query(ONE, "severity", "HIGH"), Query(ONE, "severity", "LOW")],
    TWO: [Query(TWO)],
}
PAGES = 12
YESTERDAY = 1.7e9
"""The time of day, in seconds since 1970, when `Time` begins."""


@dataclass
class Time:
    """A clock that is moved by hand."""

    seconds: float = 0.0

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: self.seconds, wall=lambda: self.seconds + YESTERDAY)


def page(query: Query, number: int, *, last: int = PAGES - 1) -> Page:
    size = (number * 7 + len(query.value)) % 4  # some pages are empty
    findings = [{"where": f"{query.target} {query}", "page": number, "n": n} for n in range(size)]
    return page_of(findings, None if number == last else f"{number + 1}")


def text(query: Query, pages: int = PAGES) -> bytes:
    return b"".join(page(query, number).text for number in range(pages))


def one_file(out: Path) -> SingleFile:
    return SingleFile(out, Selection())


class Watched(SingleFile):
    """A single file that calls something before and after it is written."""

    def __init__(
        self, out: Path, before: Callable[[], object] = bool, after: Callable[[], object] = bool
    ) -> None:
        super().__init__(out, Selection())
        self._before = before
        self._after = after

    def finish(
        self, writer: PartWriter, complete: Spooled, incomplete: Spooled, results: Results
    ) -> Published:
        self._before()
        published = super().finish(writer, complete, incomplete, results)
        self._after()
        return published


def sink_of(folder: Path, out: Path, time: Time | None = None, **options: Any) -> FileSink:
    return FileSink(Workspace(folder), one_file(out), clock=(time or Time()).clock, **options)


def path_of(file: int) -> Path:
    return Path(f"/proc/self/fd/{file}").readlink()


@dataclass(frozen=True)
class Left:
    """What a run left: its contents, and the pages of each query as the spool holds them."""

    contents: Contents
    held: dict[Query, bytes]

    def pages(self, query: Query) -> int:
        """How many pages of a query were committed."""
        standing = self.contents.standing(query.target)
        return standing.cursors[query].pages if standing else 0


def stored_in(folder: Path, header: Header, places: Extents) -> bytes:
    """What the spool in a folder holds in some extents, checked."""
    spool = Spool(Workspace(folder), packed=header.packed, segments=header.segments)
    try:
        return b"".join(spool.read(places))
    finally:
        spool.close()


def left_in(folder: Path, now: float = YESTERDAY) -> Left | None:
    workspace = Workspace(folder)
    taken = take_up(workspace, Journal(workspace), {}, now=now)
    if taken is None:
        return None
    header, contents = taken
    held = {
        query: stored_in(folder, header, places)
        for target in QUERIES
        for query, places in contents.places(target).items()
    }
    return Left(contents, held)
