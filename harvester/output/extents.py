"""Extents of the spool: where the pages of a query are, with a checksum for each place."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import TypeAlias
from zlib import crc32

Extents: TypeAlias = "array[int]"
"""Triples of offset, length in bytes, and checksum, in the order of a query's pages."""

SIZE = 3
"""How many numbers an extent has."""

EMPTY = 0
"""The checksum of nothing."""


def no_extents() -> Extents:
    """Return an array without extents."""
    return array("Q")


def checksum(data: bytes, before: int = EMPTY) -> int:
    """Return the CRC-32 of data; `before` is that of the bytes in front of it.

    It misses one in four billion damages, and none of up to 32 bits in a row. Longer hashes of
    the standard library take two to four times as long, and every page is hashed twice.
    """
    return crc32(data, before)


def append(extents: Extents, offset: int, data: bytes, *, committed: int) -> None:
    """Note data at an offset; it extends the last extent where it follows on from it.

    The first `committed` numbers stand in the journal already, and are not changed.
    """
    if len(extents) > committed and extents[-3] + extents[-2] == offset:
        extents[-2] += len(data)
        extents[-1] = checksum(data, extents[-1])
    elif data:
        extents.extend((offset, len(data), checksum(data)))


def each_extent(extents: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield offset, length and checksum of each extent."""
    for index in range(0, len(extents), SIZE):
        yield extents[index], extents[index + 1], extents[index + 2]
