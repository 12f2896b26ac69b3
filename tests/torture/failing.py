"""`harvester` with a fault at the n-th call of its write path, and then no more.

    python -m tests.torture.failing PLAN ARGUMENTS…

The plan is JSON: `below`, the folder whose calls count; `call`, the name of those that count, by
default all; `at`, which of them fails, from 1;
`error`, the name of an errno, or of a signal that the process gets before that call; `log`, a file
that gets a line when it strikes. The functions of the standard library are wrapped before anything
of harvester's is imported, and only there.
"""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

BY_PATH = ("open", "mkdir", "replace", "rename", "unlink", "rmdir", "listdir", "scandir")
BY_FILE = ("write", "pwrite", "pread", "ftruncate", "fdatasync", "fsync", "fchmod")


class Fault:
    """Counts the calls below a folder, and fails one of them."""

    def __init__(self, below: str, at: int, error: str, log: str, call: str = "") -> None:
        self._below = os.path.realpath(below)
        self._left = at
        self._begun = False
        self._call = call
        self._signal = getattr(signal, error, None)
        self._number = int(getattr(errno, error, 0))
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._write = os.write
        self._link = os.readlink

    def install(self) -> None:
        """Wrap the functions."""
        for name in BY_PATH:
            setattr(os, name, self._wrapped(name, getattr(os, name), by_file=False))
        for name in BY_FILE:
            setattr(os, name, self._wrapped(name, getattr(os, name), by_file=True))
        real = os.fdopen

        def fdopen(file: int, mode: str = "r", *rest: Any, **more: Any) -> Any:
            # What is written through a stream does not pass through `os`.
            return real(file, mode, *rest, **more) if mode != "wb" else self._stream(file)

        os.fdopen = fdopen  # type: ignore[assignment]  # only two of its parameters are used here

    def _stream(self, file: int) -> io.BufferedWriter:
        fault = self

        class Raw(io.FileIO):
            def write(self, data: Any, /) -> int:
                fault.pass_or_fail("write", fault.path_of(file))
                return super().write(data)

        return io.BufferedWriter(Raw(file, "wb"))

    def _wrapped(self, name: str, real: Callable[..., Any], *, by_file: bool) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            place: Any = given[0] if given else "."
            self.pass_or_fail(name, self.path_of(place) if by_file else place)
            return real(*given, **named)

        return call

    def path_of(self, file: int) -> str:
        """The path of an open file."""
        return self._link(f"/proc/self/fd/{file}")

    def pass_or_fail(self, name: str, place: Any) -> None:
        """Count a call, and raise OSError, or send the signal, where it is the one that fails."""
        path = os.path.join(os.getcwd(), os.fspath(place))  # noqa: PTH109, PTH118  # no Path here
        if path != self._below and not path.startswith(f"{self._below}/"):
            return
        if not self._begun:  # nothing is written before the settings are read
            self._begun = path.endswith("/harvester.toml")
            return
        if self._call not in ("", name):
            return
        self._left -= 1
        if self._left == 0:
            self._write(self._log, f"{name} {path[len(self._below) :]}\n".encode())
            if self._signal is not None:
                os.kill(os.getpid(), self._signal)
                return
            raise OSError(self._number, os.strerror(self._number), path)


def main() -> None:
    """Run the command line with the fault installed."""
    Fault(**json.loads(sys.argv[1])).install()
    from harvester.__main__ import main as run  # noqa: PLC0415  # after the wrapping

    sys.argv[:2] = [sys.argv[0]]
    run()


if __name__ == "__main__":
    main()
