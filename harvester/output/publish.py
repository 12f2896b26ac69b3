"""Writes finished files: each appears under its name at once and whole."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

import anyio.from_thread
import zstandard

from harvester.errors import OutputError
from harvester.model import Query
from harvester.output.extents import Extents
from harvester.output.spool import DamagedSpoolError, Spool
from harvester.output.workspace import Workspace, make_private
from harvester.portability import sync_file, sync_folder

_PART = "part"


class PartWriter:
    """Writes files in the workspace, and moves each to its name once it is durable.

    Args:
        workspace: holds the file that is being written.
        spool: holds the pages.

    Raises, from all methods:
        OutputBusyError: another run has taken over the workspace.
        OSError: a file cannot be written or removed.
    """

    def __init__(self, workspace: Workspace, spool: Spool) -> None:
        self.workspace = workspace
        self._spool = spool
        self._changed: set[Path] = set()

    def write(self, path: Path, pieces: Iterable[bytes]) -> None:
        """Write a file, compressed as its name says, in place of one that has its name."""
        changed = make_private(path.parent)
        part = self.workspace.folder / self.workspace.temporary(_PART)
        with (
            os.fdopen(self.workspace.create(part.name), "wb") as raw,
            compressor(path)(raw) as stream,
        ):
            for piece in pieces:
                anyio.from_thread.check_cancelled()
                stream.write(piece)
            stream.flush()
        descriptor = os.open(part, os.O_RDONLY)
        try:
            sync_file(descriptor)
        finally:
            os.close(descriptor)
        self.workspace.check_owner()
        part.replace(path)
        self._changed.update((*changed, path.parent))

    def remove(self, path: Path) -> None:
        """Remove a file if it exists."""
        if not (path.exists() or path.is_symlink()):
            return
        self.workspace.check_owner()
        with suppress(FileNotFoundError):
            path.unlink()
            self._changed.add(path.parent)

    def spooled(self, queries: Iterable[Extents]) -> Iterator[bytes]:
        """Yield the pages of some queries, in pieces that fit into memory.

        Raises:
            OutputError: the spool no longer holds the data that was written.
        """
        try:
            for extents in queries:
                yield from self._spool.read(extents)
        except DamagedSpoolError as error:
            self.workspace.check_owner()  # another run may have removed it
            raise OutputError(
                "the output cannot be written: findings that were read are damaged on the disk "
                f"({error} in {self.workspace.folder})",
                hint="check the disk; the same command reads the damaged findings again",
            ) from error

    def sync(self) -> None:
        """Make the names of all written and removed files durable."""
        for folder in self._changed:
            with suppress(FileNotFoundError):  # an emptied folder may have been removed
                sync_folder(folder)
        self._changed.clear()


def in_order(queries: Mapping[Query, Extents]) -> Sequence[Extents]:
    """Return the extents of a target's queries in the order of its file."""
    return [queries[query] for query in sorted(queries)]


def compressor(path: Path) -> Callable[[IO[bytes]], Any]:
    """Return a function that opens a stream over a file, compressed as the file's name says."""
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
