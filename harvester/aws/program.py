"""Running a `credential_process` program, bounded in time and output, and ended with the run."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anyio

from harvester.errors import CredentialsError
from harvester.text import printable

PROGRAM_SECONDS = 30.0
"""The longest that a program may take."""

ATTENDED_SECONDS = 120.0
"""The same where stdin is a terminal: the program may ask somebody something."""

_MOST_BYTES = 1 << 20
_LEAVE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Printed:
    """What a program printed, as the SDK expects it of a finished process."""

    stdout: bytes
    returncode: int = 0

    async def communicate(self) -> tuple[bytes, bytes]:
        """Return the outputs."""
        return self.stdout, b""


def attended() -> bool:
    """Whether somebody may answer questions: stdin is a terminal, and this is no background job."""
    if sys.stdin is None or sys.stdin.closed or not sys.stdin.isatty():
        return False
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:  # not the controlling terminal: there are no background jobs on it
        return True


async def run_program(
    program: str, *arguments: str, seconds: float | None = None, **_: Any
) -> Printed:
    """Run a program, for so many seconds at most, and return its output.

    Its errors are not repeated: they may hold secrets, and so may its arguments.

    Raises:
        CredentialsError: it cannot be started, failed, or did not end in time.
    """
    name = repr(printable(program, 200))
    seconds = seconds or (ATTENDED_SECONDS if attended() else PROGRAM_SECONDS)
    try:
        process = await _start(program, *arguments)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CredentialsError(f"{name} cannot be started: {reason}") from None
    try:
        with anyio.fail_after(seconds):
            output = await _read(process, name)
            code = await process.wait()
    except BaseException as error:
        with anyio.CancelScope(shield=True):
            await _end(process)
        if not isinstance(error, TimeoutError):
            raise
        raise CredentialsError(f"{name} did not end in {seconds:.0f} seconds") from None
    if code:
        raise CredentialsError(f"{name} {_fate(code)}")
    return Printed(output)


async def _start(program: str, *arguments: str) -> Process:
    # Without a terminal, a session of its own: so that whatever it starts can be ended with it.
    return await asyncio.create_subprocess_exec(
        program,
        *arguments,
        stdin=None if attended() else DEVNULL,
        stdout=PIPE,
        stderr=None if attended() and sys.stderr.isatty() else DEVNULL,
        start_new_session=not attended(),
    )


async def _read(process: Process, name: str) -> bytes:
    assert process.stdout is not None  # noqa: S101  # a pipe, see `_start`
    output = bytearray()
    while block := await process.stdout.read(1 << 16):
        output += block
        if len(output) > _MOST_BYTES:
            raise CredentialsError(f"{name} printed more than 1 MiB")
    return bytes(output)


async def _end(process: Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        _signal(process, number)
        with anyio.move_on_after(_LEAVE_SECONDS):
            await process.wait()
    _signal(process, signal.SIGKILL)  # what it started may have outlived it
    process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001  # its pipes as well


def _signal(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if attended():
            process.send_signal(number)
        else:
            os.killpg(process.pid, number)


def _fate(code: int) -> str:
    if code > 0:
        return f"ended with status {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
