"""Turn failures of standard output into the project's errors, for whatever prints there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from harvester.errors import OutputClosedError, OutputError


@contextmanager
def checked_stdout() -> Iterator[None]:
    """Let writes to `sys.stdout` raise OutputError, and OutputClosedError without a reader.

    Libraries that print handle a closed pipe each in their own way, or not at all. After such an
    error, what is still buffered is dropped: Python would try to write it as it exits.
    """
    stdout = sys.stdout
    if stdout is None:  # closed before the process was started
        yield
        return
    checked = _Checked(stdout)
    sys.stdout = cast("TextIO", checked)
    try:
        yield
        checked.flush()
    except OutputError:
        _drop_buffered(stdout)
        raise
    finally:
        sys.stdout = stdout


class _Checked:
    """A text stream whose failures are the project's errors."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with _named():
            return self._stream.write(text)

    def flush(self) -> None:
        with _named():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise OutputClosedError("the reader of standard output went away") from None
    except OSError as error:
        raise OutputError(f"standard output cannot be written: {error.strerror}") from None


def _drop_buffered(stream: TextIO) -> None:
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
