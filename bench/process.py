"""One process, measured: CPU, time and peak memory as the kernel counts them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

ROOT: Final = Path(__file__).resolve().parent.parent
PYTHON: Final = sys.executable
_CHUNK: Final = 1 << 18
_TAIL: Final = 2_000
_MIB: Final = 1 << (20 if sys.platform == "darwin" else 10)


class BenchError(Exception):
    """A measurement that cannot be trusted: the process failed, or did not do its work."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What one process took.

    cpu: user and system seconds, of its own children too. wall: seconds from start to end.
    rss: peak memory in MiB, of the largest process. lines: what it wrote to stdout.
    """

    cpu: float
    wall: float
    rss: float
    lines: int = 0


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """The variables of a contestant: `more`, and no AWS settings, proxies or CA bundles."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AWS_") and not name.lower().endswith(("_proxy", "_ca_bundle"))
    }
    files = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
    return {**kept, **files, "PYTHONPATH": str(ROOT), **more}


@contextmanager
def limited(pid: int, seconds: float) -> Iterator[None]:
    """Kill the session that a process leads when the block takes longer, or fails."""

    def kill() -> None:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)

    timer = threading.Timer(seconds, kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    except BaseException:
        kill()
        raise
    finally:
        timer.cancel()


def measure(
    command: Sequence[str],
    variables: Mapping[str, str],
    *,
    timeout: float,
    drain: bool = False,
    into: Path | None = None,
) -> Measure:
    """Run a command to its end in an empty folder, and say what it took.

    With `drain`, its stdout is a pipe that is read and counted; else it is the file `into`, or
    nothing. Raises BenchError where the command fails or takes longer than `timeout` seconds.
    """
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        tempfile.TemporaryFile() as errors,
        (into or Path(os.devnull)).open("wb") as elsewhere,
    ):
        begun = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603  # the contestants are the point
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if drain else elsewhere,
            stderr=errors,
            env=environment(variables),
            cwd=folder,
            start_new_session=True,
        )
        with limited(process.pid, timeout):
            lines = count_lines(process.stdout) if process.stdout else 0
            _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.stdout:
            process.stdout.close()
        if process.returncode:
            errors.seek(0)
            text = errors.read()[-_TAIL:].decode(errors="replace")
            late = f" after {wall:.0f} s" if process.returncode == -signal.SIGKILL else ""
            shown = " ".join(command)[:300]
            raise BenchError(f"{shown}\nended with {process.returncode}{late}:\n{text}")
        return Measure(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / _MIB, lines)


def count_lines(stream: IO[bytes]) -> int:
    """How many lines there are, read in bounded memory."""
    lines = 0
    while chunk := stream.read(_CHUNK):
        lines += chunk.count(b"\n")
    return lines


def lines_in(path: Path) -> int:
    """How many lines a file holds."""
    with path.open("rb") as stream:
        return count_lines(stream)
