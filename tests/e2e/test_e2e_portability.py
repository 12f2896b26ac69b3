"""The command without the calls that only Linux has, and on Windows."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harvester.simulator import Simulator
from tests.e2e.interrupted import SLOW, arguments, cut_short, run, small, work_of
from tests.e2e.support import Command, assert_same, everything_below, multiset, truth
from tests.e2e.unusual import ENVIRONMENT, PROGRAM


@pytest.mark.parametrize("output", ["out.ndjson", "out.ndjson.gz", "out/"])
async def test_a_sweep_without_linux_only_calls_resumes_after_a_kill(
    command: Command, output: str
) -> None:
    given = arguments(output)
    journal = work_of(command.folder, output) / "journal"
    async with Simulator(small(), behaviour=SLOW) as simulator:
        await cut_short(command, simulator, *given, journal=journal, unusual="macos")
    async with Simulator(small()) as simulator:
        done = await run(command, simulator, *given, unusual="macos")

    assert done.code == 0, done.err
    assert "resuming the unfinished sweep" in done.err
    assert_same(command.found(output), truth(small()))
    assert not work_of(command.folder, output).exists()


async def test_a_sweep_to_stdout_needs_no_linux_only_call(command: Command) -> None:
    async with Simulator(small()) as simulator:
        done = await run(command, simulator, *arguments("-"), unusual="macos")

    assert done.code == 0, done.err
    assert_same(multiset(done.lines), truth(small()))


async def test_several_processes_need_no_linux_only_call(command: Command) -> None:
    given = arguments("out.ndjson", "--processes", "2")
    async with Simulator(small()) as simulator:
        done = await run(command, simulator, *given, unusual="macos")

    assert done.code == 0, done.err
    assert_same(command.found(), truth(small()))


@pytest.mark.parametrize("arguments", [("sweep", "-o", "out.ndjson"), ("--version",), ()])
async def test_windows_is_refused_with_one_line(
    command: Command, arguments: tuple[str, ...]
) -> None:
    done = await run(command, None, *arguments, unusual="windows")

    assert done.code == 2
    assert done.out == b""
    (line,) = done.err.splitlines()
    assert line.startswith("harvester: Windows is not supported: ")
    assert everything_below(command.folder) == set()


def test_the_library_says_that_windows_is_not_supported() -> None:
    program = "import sys; sys.platform = 'win32'; import harvester.output.workspace"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.stderr.splitlines()[-1].startswith("ImportError: Windows is not supported: ")


async def test_the_open_file_limit_is_raised_as_far_as_the_system_allows(command: Command) -> None:
    """macOS: no hard limit, and still values above `kern.maxfilesperproc` are refused."""
    shell = ("bash", "-c", 'ulimit -S -n 60; exec "$@"', "bash")
    async with (
        Simulator(small()) as simulator,
        command.start(
            simulator,
            *arguments("out.ndjson"),
            program=(*shell, *PROGRAM, "macos"),
            env=ENVIRONMENT,
        ) as process,
    ):
        done = await command.finish(process, 0.0)

    assert done.code == 0, done.err
    assert "requests in flight instead of" not in done.err
