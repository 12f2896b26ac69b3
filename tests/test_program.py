"""Programs that print credentials: bounded in time and output, ended with all they started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from harvester.aside import call_aside
from harvester.aws.program import run_program
from harvester.errors import CredentialsError
from tests.e2e.support import runs, until


def _script(folder: Path, text: str) -> str:
    path = folder / "program"
    path.write_text(text)
    path.chmod(0o700)
    return str(path)


def _sleeper(folder: Path) -> str:
    """A shell that waits for a child, and has written the ids of both to the file `pids`."""
    return _script(
        folder,
        f"#!/bin/sh\nsleep 600 &\necho $$ $! > {folder}/new\nmv {folder}/new {folder}/pids\nwait\n",
    )


async def _both(folder: Path) -> list[int]:
    with anyio.fail_after(20):
        while not (folder / "pids").exists():  # noqa: ASYNC110  # another process writes it
            await anyio.sleep(0.01)
    return [int(one) for one in (folder / "pids").read_text().split()]


async def test_a_program_that_ends_well_gives_its_output(tmp_path: Path) -> None:
    printed = await run_program(_script(tmp_path, "#!/bin/sh\necho out\necho err >&2\n"))
    assert await printed.communicate() == (b"out\n", b"")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#!/bin/sh\necho canary >&2; exit 3\n", "' ended with status 3"),
        ("#!/bin/sh\necho canary; kill -9 $$\n", "' was ended by SIGKILL"),
        ("#!/nonexistent/shell\n", "' cannot be started: No such file"),
        ("#!/bin/sh\nyes canary\n", "' printed more than 1 MiB"),
        ("#!/bin/sh\ncat; echo canary; exit 4\n", "' ended with status 4"),
    ],
    ids=["status", "signal", "not-there", "endless", "reads-stdin"],
)
async def test_a_program_that_fails_is_named_without_its_output(
    tmp_path: Path, text: str, said: str
) -> None:
    program = _script(tmp_path, text)
    with pytest.raises(CredentialsError) as caught:
        await run_program(program, "--password", "canary")
    assert said in str(caught.value)
    assert "canary" not in str(caught.value)


async def test_a_program_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="did not end in 1 seconds"):
        await run_program(_sleeper(tmp_path), seconds=1.0)
    pids = await _both(tmp_path)
    await until(lambda: not any(map(runs, pids)))


async def test_a_program_is_ended_with_its_children_when_its_caller_is_cancelled(
    tmp_path: Path,
) -> None:
    program = _sleeper(tmp_path)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: call_aside(lambda: run_program(program), seconds=60))
            pids = await _both(tmp_path)
            group.cancel_scope.cancel()
    await until(lambda: not any(map(runs, pids)))


async def test_a_call_aside_does_not_hold_up_the_loop_even_if_it_blocks(tmp_path: Path) -> None:
    """As a token file does that is a FIFO which nobody writes to."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    async def blocks() -> str:
        return fifo.read_text()

    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await anyio.lowlevel.checkpoint()
            beats += 1

    async with anyio.create_task_group() as group:
        group.start_soon(beat)
        with pytest.raises(TimeoutError):
            await call_aside(blocks, seconds=0.05)
        group.cancel_scope.cancel()
    assert beats > 10
    os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))  # lets the thread go


async def test_a_call_aside_passes_values_and_errors() -> None:
    async def value() -> int:
        await anyio.lowlevel.checkpoint()
        return 7

    async def error() -> int:
        raise KeyError(sys.platform)

    assert await call_aside(value, seconds=20) == 7
    with pytest.raises(KeyError):
        await call_aside(error, seconds=20)


_JOBS = """
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    from harvester.aws.program import attended
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        os._exit(attended())
    _, status = os.waitpid(job, 0)
    os._exit(2 * attended() + os.waitstatus_to_exitcode(status))
_, status = os.waitpid(pid, 0)
print(os.waitstatus_to_exitcode(status))
"""


def test_a_background_job_asks_nobody() -> None:
    run = subprocess.run([sys.executable, "-c", _JOBS], capture_output=True, text=True, check=True)
    assert run.stdout == "2\n", "asked in the foreground, not in the background"
