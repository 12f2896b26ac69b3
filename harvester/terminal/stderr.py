"""Standard error that never blocks and never fails.

A thread of its own writes. What it cannot write at once waits in a bounded queue; what does not
fit there, or cannot be written at all, is dropped and counted.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TextIO

_MOST_WAITING = 5000
_GONE = frozenset({errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO})
_PATIENCE_SECONDS = 1.0
_FLUSH_SECONDS = 10.0


class BackgroundWriter:
    """Writes to a descriptor from a daemon thread, which the first write starts.

    Attributes:
        lost: writes that were dropped so far.
        note: makes the line that tells how many were dropped, once writing works again.
    """

    def __init__(self, descriptor: int, *, limit: int = _MOST_WAITING) -> None:
        self.note: Callable[[int], str] = _lost_line
        self._descriptor = descriptor
        self._limit = limit
        # Its put() may interrupt itself, as a signal handler that logs does.
        self._waiting: SimpleQueue[bytes | threading.Event] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._refused = self._failed = self._told = self._written = 0
        self._gone = False

    @property
    def lost(self) -> int:
        """The number of writes that were dropped."""
        return self._refused + self._failed

    @property
    def waiting(self) -> int:
        """The number of writes that wait."""
        return self._waiting.qsize()

    def write(self, data: bytes) -> None:
        """Have `data` written as soon as the descriptor takes it, or drop it."""
        if self._gone or self.waiting >= self._limit:
            self._refused += 1
        elif self._thread is not None or self._start():
            self._waiting.put(data)
        elif self._is_ready():  # no thread may be started: then only what cannot block
            self._put(data)
        else:
            self._refused += 1

    def flush(self, patience: float = _PATIENCE_SECONDS) -> None:
        """Wait until all is written, but not longer than `patience` seconds without progress."""
        if self._thread is None or self._gone:
            return
        done = threading.Event()
        self._waiting.put(done)
        for _ in range(max(1, int(_FLUSH_SECONDS / patience))):
            before = self._written
            if done.wait(patience) or self._written == before:
                return

    def _start(self) -> bool:
        thread = threading.Thread(target=self._run, name="harvester-stderr", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._thread = thread
        return True

    def _run(self) -> None:
        while True:
            item = self._waiting.get()
            if isinstance(item, threading.Event):
                item.set()
            else:
                self._put(item)

    def _put(self, data: bytes) -> None:
        if self._gone or not self._write_all(data):
            self._failed += 1
            return
        lost = self.lost - self._told
        if lost and self._write_all(self.note(lost).encode()):
            self._told += lost

    def _write_all(self, data: bytes) -> bool:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # somebody else made the descriptor non-blocking
                select.select((), (self._descriptor,), (), _PATIENCE_SECONDS)
            except OSError as error:
                self._gone = self._gone or error.errno in _GONE
                return False
        self._written += 1
        return True

    def _is_ready(self) -> bool:
        try:
            return bool(select.select((), (self._descriptor,), (), 0)[1])
        except (OSError, ValueError):
            return False


class Stderr(io.TextIOBase):
    """A text stream in place of `sys.stderr`, over a background writer.

    Args:
        original: the stream that it stands for, None where standard error is closed.

    Attributes:
        wrap: where lines must have a form, gives it to each line of text that somebody wrote
            without knowing of that form.
    """

    def __init__(self, original: TextIO | None) -> None:
        super().__init__()
        self.wrap: Callable[[str], str] | None = None
        self._original = original
        self._terminal = original is not None and _is_terminal(original)
        self._writer = None if original is None else BackgroundWriter(original.fileno())
        self._begun = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a class attribute in typeshed
        """The encoding of the original."""
        return (self._original.encoding if self._original is not None else None) or "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]  # likewise
        """What becomes of characters that the encoding lacks."""
        return "backslashreplace"

    @property
    def behind(self) -> bool:
        """Whether the reader is so slow that writes wait."""
        return self._writer is not None and self._writer.waiting > 1

    def isatty(self) -> bool:
        """Whether it was a terminal when the process began."""
        return self._terminal

    def fileno(self) -> int:
        """Return the descriptor."""
        if self._original is None:
            raise io.UnsupportedOperation("fileno")
        return self._original.fileno()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Have text written."""
        if self.wrap is None:
            self.put(text)
            return len(text)
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if line.strip():
                self.put(self.wrap(line) + "\n")
        return len(text)

    def put(self, text: str) -> None:
        """Have text written as it is, whatever `wrap` says."""
        if self._writer is not None:
            self._writer.write(text.encode(self.encoding, self.errors))

    def settle(self) -> None:
        """Wait for the writer, for a short time."""
        if self.wrap is not None and self._begun:
            self.write("\n")
        if self._writer is not None:
            self._writer.flush()

    def note_losses(self, note: Callable[[int], str]) -> None:
        """Set the line that tells how many writes were dropped."""
        if self._writer is not None:
            self._writer.note = note


def install() -> None:
    """Put a stream that never blocks in the place of `sys.stderr`, once in a process."""
    if not isinstance(sys.stderr, Stderr):
        sys.stderr = Stderr(sys.stderr)


def note_losses(note: Callable[[int], str]) -> None:
    """Set the line that tells how many writes were dropped."""
    if isinstance(sys.stderr, Stderr):
        sys.stderr.note_losses(note)


def wrap_lines(wrap: Callable[[str], str] | None) -> None:
    """Give each line a form that is written without knowing of it; None gives it none."""
    if isinstance(sys.stderr, Stderr):
        sys.stderr.wrap = wrap


def put_line(line: str) -> None:
    """Write a line to standard error as it is."""
    stream = sys.stderr
    if isinstance(stream, Stderr):
        stream.put(line + "\n")
    elif stream is not None:
        stream.write(line + "\n")


def settle() -> None:
    """Wait for what is still to be written to standard error, for a short time."""
    if isinstance(sys.stderr, Stderr):
        sys.stderr.settle()


def is_behind() -> bool:
    """Whether the reader of standard error is slow, so that a display need not be drawn."""
    return isinstance(sys.stderr, Stderr) and sys.stderr.behind


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (OSError, ValueError):
        return False


def _lost_line(lost: int) -> str:
    return f"harvester: {lost} lines were dropped, because stderr did not take them\n"
