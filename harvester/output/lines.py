"""Reads the lines of a finished file, plain or compressed, in little memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import zstandard

_CHUNK = 1 << 16
_COMPRESSED_CHUNK = 1 << 11
"""Bytes decompressed at a time: repetitive lines become a thousand times as long."""

_LONGEST_LINE = 64 << 20
_GZIP = 31  # zlib's number for a gzip header and trailer


class DamagedFileError(Exception):
    """A file that is cut short or is not the NDJSON that its name says; the text says why."""


def read_lines(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file that is open for reading, each with its newline.

    Blank lines are left out.

    Raises:
        DamagedFileError: it is not compressed as its name says, is cut short, or cannot be read.
    """
    if path.suffix == ".gz":
        return split_lines(_inflated(file, lambda: zlib.decompressobj(_GZIP)))
    if path.suffix == ".zst":
        return split_lines(_inflated(file, lambda: zstandard.ZstdDecompressor().decompressobj()))
    return split_lines(_pieces(file, _CHUNK))


def split_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of some pieces of text, each with its newline; no blank ones.

    Raises:
        DamagedFileError: a line is longer than any finding.
    """
    rest: list[bytes] = []
    size = 0
    for piece in pieces:
        first, newline, others = piece.partition(b"\n")
        rest.append(first)
        size += len(first)
        if not newline:
            if size > _LONGEST_LINE:
                raise DamagedFileError("a line is longer than 64 MiB")
            continue
        yield from _unless_blank(b"".join(rest))
        *whole, last = others.split(b"\n")
        for line in whole:
            yield from _unless_blank(line)
        rest, size = [last], len(last)
    yield from _unless_blank(b"".join(rest))


def _unless_blank(line: bytes) -> Iterator[bytes]:
    if line and not line.isspace():
        yield line + b"\n"


def _pieces(file: IO[bytes], size: int) -> Iterator[bytes]:
    while piece := _read(file, size):
        yield piece


def _read(file: IO[bytes], size: int) -> bytes:
    try:
        return file.read(size)
    except OSError as error:
        raise DamagedFileError(error.strerror or str(error)) from error


def _inflated(file: IO[bytes], new: Any) -> Iterator[bytes]:
    """Yield the text of one or several compressed members, one after the other."""
    member, begun = new(), False
    try:
        for piece in _pieces(file, _COMPRESSED_CHUNK):
            rest = piece
            while rest:
                begun = True
                if text := member.decompress(rest):
                    yield text
                rest = member.unused_data if member.eof else b""
                if member.eof:
                    member, begun = new(), False
    except (zlib.error, zstandard.ZstdError) as error:
        raise DamagedFileError(f"it cannot be decompressed: {error}") from error
    if begun:
        raise DamagedFileError("it is cut short")
