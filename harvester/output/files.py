"""NDJSON to one file or a partitioned folder, each file whole or not at all."""

from __future__ import annotations

import gzip
import os
import re
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import anyio
import anyio.from_thread
import anyio.to_thread
import zstandard

from harvester.errors import OutputError
from harvester.model import Page, Query, Target
from harvester.output.workspace import Workspace, cannot_write, make_private, sync_folder

_CHUNK = 1 << 20
_ACCOUNT = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")


class FileSink:
    """Collects pages in a spool file and, at the end, writes each query's in one piece.

    The spool holds the pages in the order in which they arrived; per query it is known where
    they are. A query that starts over drops its places, and the same findings make the same
    file whatever their timing was.

    Args:
        workspace: where the spool stands.
        parts: the files to write for the targets that were read.
    """

    def __init__(self, workspace: Workspace, parts: Parts) -> None:
        self._workspace = workspace
        self._parts = parts
        self._spool: IO[bytes] | None = None
        self._end = 0
        self._places: dict[Query, array[int]] = {}

    async def __aenter__(self) -> Self:
        """Lock the output and open the spool."""
        self._workspace.open()
        try:
            self._spool = os.fdopen(self._workspace.create("spool"), "r+b", buffering=_CHUNK)
        except OSError as error:
            self._workspace.close()
            raise cannot_write(self._workspace.folder, error) from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove what stands beside the output."""
        try:
            if self._spool is not None:
                self._spool.close()
        except OSError:
            pass  # a full disk: what the buffer held is of no use any more
        finally:
            self._workspace.close()

    async def write(self, query: Query, page: Page) -> None:
        """Append a page to the spool."""
        if not page.text:
            return
        try:
            self._file.write(page.text)
        except OSError as error:
            raise cannot_write(self._workspace.folder / "spool", error) from error
        places = self._places.setdefault(query, array("q"))
        if places and places[-2] + places[-1] == self._end:
            places[-1] += len(page.text)
        else:
            places.extend((self._end, len(page.text)))
        self._end += len(page.text)
        await anyio.lowlevel.checkpoint()

    async def replace(self, queries: Sequence[Query], by: Query) -> None:
        """Drop what was written for some queries."""
        del by
        for query in queries:
            self._places.pop(query, None)

    async def finished(self, target: Target) -> None:
        """Nothing to do: places are kept until the end."""

    async def publish(self, complete: Collection[Target]) -> None:
        """Write the files under their names."""
        await anyio.to_thread.run_sync(self._publish, complete)

    @property
    def _file(self) -> IO[bytes]:
        if self._spool is None:
            raise OutputError("the output is not open")
        return self._spool

    def _publish(self, complete: Collection[Target]) -> None:
        by_target: dict[Target, list[Query]] = {target: [] for target in complete}
        for query in sorted(self._places):
            by_target.setdefault(query.target, []).append(query)
        try:
            self._file.flush()
            for path, queries in self._parts(by_target):
                if queries is None:
                    path.unlink(missing_ok=True)
                else:
                    self._write_part(path, queries)
        except OSError as error:
            raise cannot_write(Path(error.filename or self._workspace.folder), error) from error

    def _write_part(self, path: Path, queries: list[Query]) -> None:
        make_private(path.parent)
        part = self._workspace.folder / "part"
        with (
            os.fdopen(self._workspace.create("part"), "wb") as raw,
            compressor(path)(raw) as stream,
        ):
            for query in queries:
                for start, length in _pieces(self._places[query]):
                    anyio.from_thread.check_cancelled()
                    stream.write(self._piece(start, length))
            stream.flush()
        descriptor = os.open(part, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        part.replace(path)
        sync_folder(path.parent)

    def _piece(self, start: int, length: int) -> bytes:
        piece = os.pread(self._file.fileno(), length, start)
        if len(piece) != length:
            raise OSError(5, "the spool is shorter than what was written to it")
        return piece


def _pieces(places: array[int]) -> Iterator[tuple[int, int]]:
    """Yield where the parts of a query are, in pieces that fit into memory."""
    for index in range(0, len(places), 2):
        start, end = places[index], places[index] + places[index + 1]
        for begin in range(start, end, _CHUNK):
            yield begin, min(_CHUNK, end - begin)


Part = tuple[Path, list[Query] | None]
Parts = Callable[[dict[Target, list[Query]]], Iterator[Part]]
"""From the queries with findings of each target, to files: a path, and the queries that go
there in this order, or None for a file that must not be there."""


def one_file(path: Path) -> Parts:
    """Return the parts of a single file: everything, by account, region and query."""

    def parts(by_target: dict[Target, list[Query]]) -> Iterator[Part]:
        yield path, [query for target in sorted(by_target) for query in by_target[target]]

    return parts


def partitioned(folder: Path, suffix: str) -> Parts:
    """Return the parts of a folder: one file for each target that has findings.

    A complete target without findings has no file, and one from an earlier sweep is removed.
    """

    def parts(by_target: dict[Target, list[Query]]) -> Iterator[Part]:
        for target in sorted(by_target):
            where = folder / _name("account", target.account, _ACCOUNT)
            where /= _name("region", target.region, _REGION)
            for ending in (".ndjson", ".ndjson.zst"):
                wanted = ending == suffix and by_target[target]
                yield where / f"findings{ending}", by_target[target] if wanted else None

    return parts


def compressor(path: Path) -> Callable[[IO[bytes]], Any]:
    """Return what opens a compressed stream over a file, as the file's name says."""
    if path.suffix == ".gz":
        # No name and no time inside: the same findings give the same bytes.
        return lambda raw: gzip.GzipFile("", "wb", 6, raw, mtime=0)
    if path.suffix == ".zst":
        return lambda raw: zstandard.ZstdCompressor(3).stream_writer(raw, closefd=False)
    return _Unclosed


class _Unclosed:
    """A stream whose `with` block leaves it open, as the compressors do."""

    def __init__(self, raw: IO[bytes]) -> None:
        self.write = raw.write
        self.flush = raw.flush

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()


def _name(kind: str, value: str, pattern: re.Pattern[str]) -> str:
    # Accounts and regions come from the service: only their own alphabet becomes a path.
    if not pattern.fullmatch(value):
        raise OutputError(f"{kind} {value[:80]!r} cannot be part of a file name")
    return f"{kind}={value}"
