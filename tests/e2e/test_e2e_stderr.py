"""A stderr, a terminal or a stdout that fails: it neither blocks a run nor changes its result."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from harvester.simulator import Behaviour, Faults, Simulator
from tests.e2e.support import (
    EVERYTHING,
    Command,
    assert_same,
    organization,
    pages_asked,
    truth,
    until,
)

_OUT = ("-o", "out.ndjson", "--summary", "summary.json")
_REDIRECTIONS = ("2>/dev/full", "2>&-", "2> >(exec true)", "2>&- <&- >&-")


async def _shell(
    command: Command, simulator: Simulator | None, redirection: str, *arguments: str
) -> tuple[int | None, bytes, bytes]:
    """Run the command in bash; its exit code, and what was written in spite of the redirection."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", f'"$0" -m harvester "$@" {redirection}', sys.executable, *arguments,
        cwd=command.folder, env=command.environment(simulator),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode, out, err


@pytest.mark.parametrize("redirection", _REDIRECTIONS)
@pytest.mark.parametrize("style", ["text", "json"])
async def test_a_stderr_that_fails_changes_nothing(
    command: Command, redirection: str, style: str
) -> None:
    one = organization(accounts=3, suspended=0, findings=100)
    faults = Faults(denied_accounts=frozenset({one.accounts[1].id}))
    async with Simulator(one, faults=faults) as simulator:
        options = (*EVERYTHING, *_OUT, "--log-format", style, "-v")
        code, out, err = await _shell(command, simulator, redirection, "sweep", *options)
    assert (code, out, err) == (3, b"", b"")
    places = [place for place in one.places() if place[0] != one.accounts[1].id]
    assert_same(command.found(), truth(one, places))


@pytest.mark.parametrize("redirection", _REDIRECTIONS)
async def test_exit_codes_are_the_same_without_stderr(command: Command, redirection: str) -> None:
    code, out, err = await _shell(command, None, redirection, "sweep", "--bogus")
    assert (code, out, err) == (2, b"", b"")


@pytest.mark.parametrize("style", ["text", "json"])
async def test_a_stderr_that_nobody_reads_does_not_hold_up_600_failures(
    command: Command, style: str
) -> None:
    one = organization(accounts=600, suspended=0, findings=100, regions=("us-east-1",))
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    try:
        async with (
            Simulator(one, behaviour=Behaviour(external_id="the-right-one")) as simulator,
            command.start(
                simulator, "sweep", *EVERYTHING, *_OUT, "--log-format", style, "-v", stderr=writer
            ) as process,
        ):
            os.close(writer)
            done = await command.finish(process, 0.0)
    finally:
        os.close(reader)
    assert done.code == 3
    assert len(done.summary["problems"]) == 599


@asynccontextmanager
async def _at_terminal(
    command: Command, simulator: Simulator, *, ignore: bool, env: dict[str, str] | None = None
) -> AsyncIterator[tuple[int, asyncio.subprocess.Process]]:
    """A sweep that has a terminal of its own, whose other end is yielded."""
    screen, end = pty.openpty()

    def prepare() -> None:
        os.setsid()
        fcntl.ioctl(2, termios.TIOCSCTTY, 0)
        if ignore:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "harvester", "sweep", *EVERYTHING, *_OUT, "--page-size", "10",
        cwd=command.folder, env=command.environment(simulator, env), preexec_fn=prepare,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=end,
    )  # fmt: skip
    os.close(end)
    try:
        yield screen, process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize(("ignore", "code"), [(True, 0), (False, 129)], ids=["nohup", "plain"])
async def test_a_terminal_that_goes_away(command: Command, *, ignore: bool, code: int) -> None:
    one = organization(empty_share=0.0, skew=0.0)
    async with (
        Simulator(one, behaviour=Behaviour(latency=0.1)) as simulator,
        _at_terminal(command, simulator, ignore=ignore) as (screen, process),
    ):
        await until(lambda: len(pages_asked(simulator)) > 10)
        os.close(screen)
        async with asyncio.timeout(60):
            assert await process.wait() == code
    if not code:
        assert_same(command.found(), truth(one))


@pytest.mark.parametrize(
    "variables", [{"TERM": "dumb"}, {"CI": "true"}, {"GITHUB_ACTIONS": "true"}]
)
async def test_lines_replace_the_display_where_it_cannot_be_redrawn(
    command: Command, variables: dict[str, str]
) -> None:
    one = organization()
    shown = bytearray()
    async with (
        Simulator(one, behaviour=Behaviour(latency=0.05)) as simulator,
        _at_terminal(command, simulator, ignore=False, env=variables) as (screen, process),
    ):
        while True:
            try:
                shown += await asyncio.to_thread(os.read, screen, 65536)
            except OSError:  # how Linux says that nobody holds the other end any more
                break
        os.close(screen)
        assert await process.wait() == 0
    assert b"\x1b[2K" not in shown, "no line is erased"
    assert b"\x1b[1A" not in shown, "no line is drawn again"
    assert b"COMPLETE" in shown


@pytest.mark.parametrize("arguments", [("--help",), ("sweep", "--help"), ("--version",)])
async def test_help_into_a_closed_pipe_is_quiet(
    command: Command, arguments: tuple[str, ...]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = await command(None, *arguments, stdout=writer)
    finally:
        os.close(writer)
    assert (done.code, done.err) == (141, "")


@pytest.mark.parametrize("arguments", [("--help",), ("sweep", "--help"), ("--version",)])
async def test_help_that_cannot_be_written_is_one_line(
    command: Command, arguments: tuple[str, ...]
) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = await command(None, *arguments, stdout=full)
    finally:
        os.close(full)
    assert done.code == 5
    (line,) = done.err.splitlines()
    assert line == "harvester: standard output cannot be written: No space left on device"
