"""Bytes on their way to another process, in memory that both have: written once, read once.

A socket holds a page or two, and what is sent through it is copied by the kernel in pieces, as
often as its reader has a moment. Here dozens of pages wait, and both processes go on.
"""

from __future__ import annotations

import mmap
import os
import tempfile

_SIZE = 16 << 20
"""Pages of 100 findings have a quarter of a MiB: as many as a process reads until the other one
has gone through all that it reads itself."""


def shared_memory() -> int:
    """Return a descriptor of new memory, for this process and those that it is passed to.

    Raises OSError.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("harvester")
    else:
        with tempfile.TemporaryFile() as file:  # nobody else can open it: it has no name
            descriptor = os.dup(file.fileno())
    try:
        os.ftruncate(descriptor, _SIZE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class Ring:
    """One end of it: one process puts texts in, the other takes them out in the same order.

    What is where follows from the lengths alone, which the two tell each other.

    Args:
        descriptor: of `shared_memory`. The memory stays until `close`, also where it is closed.

    Attributes:
        place: where the next text begins, were there no end to the memory; from 1 on.
    """

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
        self._free = len(self._memory)
        self.place = 1

    def fits(self, length: int) -> bool:
        """Return whether a text of so many bytes could be put in, once there is room."""
        return length <= len(self._memory) // 2

    def put(self, text: bytes) -> bool:
        """Put a text in; return whether there was room."""
        start, spent = self._where(len(text))
        if spent > self._free:
            return False
        self._memory[start : start + len(text)] = text
        self.place += spent
        self._free -= spent
        return True

    def free(self, spent: int) -> None:
        """Note that so much of the memory is free again."""
        self._free += spent

    def take(self, place: int, length: int) -> tuple[bytes, int]:
        """Take the next text out; return it, and how much of the memory is free again.

        Raises:
            RuntimeError: it was put in somewhere else. To go on would be to take one page for
                another.
        """
        if place != self.place:
            raise RuntimeError(f"the ring is at {self.place}, and its text at {place}")
        start, spent = self._where(length)
        self.place += spent
        return self._memory[start : start + length], spent

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()

    def _where(self, length: int) -> tuple[int, int]:
        """Return where a text goes, in one piece, and what that takes of the memory."""
        size = len(self._memory)
        start = self.place % size
        rest = size - start
        return (start, length) if length <= rest else (0, rest + length)
