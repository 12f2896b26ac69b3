"""The spool: where the pages of an unfinished sweep are, checked whenever they are read back."""

from __future__ import annotations

import errno
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, cast

import zstandard

from harvester.output.extents import EMPTY, Extents, checksum, each_extent
from harvester.output.journal import write_all
from harvester.output.workspace import Workspace
from harvester.portability import sync_data

NAME = "spool"
"""The name of its first file in the workspace; later runs add `spool-2`, `spool-3`, …"""

_CHUNK = 1 << 20
_PACKED = 64 << 10  # read at a time where it is compressed
_LEVEL = 1
_LOST = {errno.EIO, errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENOTDIR}


class DamagedSpoolError(Exception):
    """Data in the spool that differs from the data that was written; the text says where."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of the spool: its name, and the offset of its first byte within the spool."""

    name: str
    base: int


class Spool:
    """The pages of a sweep, in files that only grow; each run writes to a file of its own.

    So no run writes into a file of another one, even where a lock excludes nobody.

    Args:
        workspace: where the files are.
        packed: whether pages are compressed.
        segments: the files of earlier runs, in the order of their bases.
    """

    def __init__(
        self, workspace: Workspace, *, packed: bool, segments: Sequence[Segment] = ()
    ) -> None:
        self._workspace = workspace
        self._packed = packed
        self._segments = list(segments)
        self._own: int | None = None
        self._other: tuple[int, int] | None = None  # index and descriptor of an earlier run's
        self._compressor = zstandard.ZstdCompressor(_LEVEL)

    @property
    def packed(self) -> bool:
        """Whether pages are compressed."""
        return self._packed

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The files that hold it."""
        return tuple(self._segments)

    def forget_unused(self, used: Iterable[Extents]) -> None:
        """Forget the files of earlier runs that hold none of these extents."""
        needed = {self._at(start) for each in used for start, _, _ in each_extent(each)}
        self._segments = [one for index, one in enumerate(self._segments) if index in needed]

    def open(self, end: int) -> None:
        """Create this run's file, whose first byte has the offset `end`."""
        name, self._own = self._workspace.create_numbered(NAME)
        self._segments.append(Segment(name, end))

    def pack(self, text: bytes) -> bytes:
        """Return a page as the spool holds it."""
        return self._compressor.compress(text) if self._packed and text else text

    def write(self, data: bytes, offset: int) -> None:
        """Write to this run's file."""
        write_all(self._file, data, offset - self._segments[-1].base)

    def sync(self) -> None:
        """Make everything that was written durable."""
        sync_data(self._file)

    def read(self, extents: Extents) -> Iterator[bytes]:
        """Yield the text of the pages in some extents, in pieces that fit into memory.

        Raises:
            DamagedSpoolError: after a piece, or before the first one: this is not what was
                written. What was yielded before must not be used.
        """
        stored = self._stored(extents)
        if not self._packed:
            yield from stored
            return
        frames = zstandard.ZstdDecompressor().stream_reader(
            cast("IO[bytes]", _Stream(stored)), read_size=_PACKED, read_across_frames=True
        )
        try:
            while piece := frames.read(_CHUNK):
                yield piece
        except zstandard.ZstdError as error:
            raise DamagedSpoolError(f"{NAME} cannot be decompressed: {error}") from error

    def check(self, extents: Extents) -> Iterator[None]:
        """Read some extents, and yield after each piece.

        Raises:
            DamagedSpoolError: this is not what was written.
        """
        for _ in self._stored(extents):
            yield

    def close(self) -> None:
        """Close the files."""
        for file in (self._own, self._other[1] if self._other else None):
            if file is not None:
                os.close(file)
        self._own = self._other = None

    @property
    def _file(self) -> int:
        if self._own is None:
            raise OSError(errno.EBADF, "the spool is not open")
        return self._own

    def _stored(self, extents: Extents) -> Iterator[bytes]:
        """Yield the stored bytes of each extent; raise after its last piece where they differ."""
        for start, length, wanted in each_extent(extents):
            found = EMPTY
            for begin in range(start, start + length, _CHUNK):
                piece = self._piece(begin, min(_CHUNK, start + length - begin))
                found = checksum(piece, found)
                yield piece
            if found != wanted:
                raise DamagedSpoolError(f"{length} bytes at {start} of {NAME} are damaged")

    def _piece(self, start: int, length: int) -> bytes:
        index = self._at(start)
        try:
            piece = os.pread(self._opened(index), length, start - self._segments[index].base)
        except OSError as error:
            if error.errno not in _LOST:
                raise
            raise DamagedSpoolError(f"{NAME} cannot be read: {error.strerror}") from error
        if len(piece) != length:
            raise DamagedSpoolError(f"{NAME} is shorter than what was written to it")
        return piece

    def _at(self, offset: int) -> int:
        """Return the index of the file that holds an offset."""
        return bisect_right(self._segments, offset, key=lambda one: one.base) - 1

    def _opened(self, index: int) -> int:
        if index == len(self._segments) - 1 and self._own is not None:
            return self._own
        if self._other is not None and self._other[0] == index:
            return self._other[1]
        if self._other is not None:
            os.close(self._other[1])
            self._other = None
        self._other = (index, self._workspace.open_file(self._segments[index].name))
        return self._other[1]


class _Stream:
    """Stored pieces as a stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def read(self, size: int) -> bytes:
        """Return the next bytes, none at the end."""
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        found, self._rest = bytes(self._rest[:size]), self._rest[size:]
        return found
