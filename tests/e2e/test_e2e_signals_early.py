"""Signals at any moment, also before there is a sweep and for the first process of a container."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import orjson
import pytest

from harvester.simulator import Behaviour, Simulator
from tests.e2e.support import (
    EVERYTHING,
    Command,
    assert_same,
    organization,
    pages_asked,
    truth,
    until,
)

_NUMBERS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_UNSHARE = ("unshare", "--pid", "--fork", "--kill-child")


@cache
def _prefix() -> tuple[str, ...]:
    """What makes a command the first process of a namespace; nothing where that is not allowed."""
    done = subprocess.run([*_UNSHARE, "true"], check=False, capture_output=True)
    return _UNSHARE if done.returncode == 0 else ()


def _first_process(process: asyncio.subprocess.Process) -> int:
    """The command itself: `unshare` starts it as its only child."""
    if not _prefix():
        return process.pid
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return int(path.read_text().split()[0])


async def _interrupted(
    command: Command, simulator: Simulator, arguments: tuple[str, ...], ready: Callable[[], object]
) -> tuple[int, str]:
    async with command.start(simulator, *arguments) as process:
        await until(ready)
        process.send_signal(signal.SIGTERM)
        done = await command.finish(process, 0.0)
    return done.code, done.err


@pytest.mark.parametrize("number", _NUMBERS)
@pytest.mark.parametrize("style", ["text", "json"])
async def test_a_signal_before_the_sweep_begins_is_one_line(
    command: Command, number: signal.Signals, style: str
) -> None:
    # The config file is a pipe: the command waits for it, before it has its settings.
    os.mkfifo(command.folder / "config")
    options = ("sweep", "--log-format", style, "--summary", "summary.json", "-c", "config")
    # A file that was just opened is closed by nobody but Python, which warns of that.
    env = {"PYTHONWARNINGS": "error,ignore::ResourceWarning"}
    async with command.start(None, *options, env=env) as process:
        writer = await asyncio.to_thread(os.open, command.folder / "config", os.O_WRONLY)
        process.send_signal(number)
        os.close(writer)
        done = await command.finish(process, 0.0)
    assert done.code == 128 + number
    (line,) = done.err.splitlines()
    assert number.name in line
    assert done.summary["status"] == "interrupted"
    if style == "json":
        record = orjson.loads(line)
        assert (record["event"], record["run_id"]) == ("interrupted", done.summary["run_id"])


async def test_a_signal_stops_a_plan(command: Command) -> None:
    async with Simulator(organization(), behaviour=Behaviour(latency=2.0)) as simulator:
        code, err = await _interrupted(
            command, simulator, ("plan", *EVERYTHING), lambda: simulator.requests
        )
    assert code == 143
    assert "SIGTERM: stopped" in err


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
async def test_signals_that_the_parent_ignores_stay_ignored(
    command: Command, number: signal.Signals
) -> None:
    one = organization()
    script = f'trap \'\' {number.name[3:]}; exec "$0" -m harvester "$@"'
    arguments = (sys.executable, "sweep", *EVERYTHING, "-o", "out.ndjson", "--page-size", "20")
    async with (
        Simulator(one, behaviour=Behaviour(latency=0.05)) as simulator,
        command.start(simulator, *arguments, program=("sh", "-c", script)) as process,
    ):
        for count in (1, 10):
            await until(lambda count=count: len(pages_asked(simulator)) > count)  # type: ignore[misc]
            process.send_signal(number)
        done = await command.finish(process, 0.0)
    assert done.code == 0
    assert_same(command.found(), truth(one))


async def test_a_hangup_after_another_signal_is_no_second_signal(command: Command) -> None:
    one = organization(empty_share=0.0)
    options = ("-o", "out.ndjson", "--summary", "summary.json", "--page-size", "5")
    async with (
        Simulator(one, behaviour=Behaviour(latency=0.2)) as simulator,
        command.start(simulator, "sweep", *EVERYTHING, *options) as process,
    ):
        await until(lambda: len(pages_asked(simulator)) > 5)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGHUP):
            process.send_signal(number)
        done = await command.finish(process, 0.0)
    assert done.code in (129, 143), "signals that come together have no order"
    assert done.summary["status"] == "interrupted"


@pytest.mark.parametrize("arguments", [("sweep", *EVERYTHING), ("plan", *EVERYTHING)])
@pytest.mark.parametrize("number", _NUMBERS)
async def test_the_first_process_of_a_container_is_stopped_by_one_signal(
    command: Command, arguments: tuple[str, ...], number: signal.Signals
) -> None:
    program = (*_prefix(), sys.executable, "-m", "harvester")
    async with (
        Simulator(organization(), behaviour=Behaviour(latency=1.0)) as simulator,
        command.start(simulator, *arguments, program=program) as process,
    ):
        await until(lambda: simulator.requests)
        os.kill(_first_process(process), number)
        done = await command.finish(process, 0.0)
    assert done.code == 128 + number


async def test_the_first_process_of_a_container_is_ended_by_the_second_signal(
    command: Command,
) -> None:
    program = (*_prefix(), sys.executable, "-m", "harvester")
    one = organization(empty_share=0.0, skew=0.0)
    options = ("-o", "out.ndjson", "--summary", "summary.json", "--page-size", "2")
    async with (
        Simulator(one, behaviour=Behaviour(latency=2.5)) as simulator,
        command.start(simulator, "sweep", *EVERYTHING, *options, program=program) as process,
    ):
        await until(lambda: len(pages_asked(simulator)) > 3)
        child = _first_process(process)
        os.kill(child, signal.SIGINT)
        assert process.stderr is not None
        while b"second signal" not in await asyncio.wait_for(process.stderr.readline(), 20):
            pass
        os.kill(child, signal.SIGTERM)
        done = await command.finish(process, 0.0)
    assert done.code == (143 if _prefix() else -signal.SIGTERM)
    assert done.summary["status"] == "running", "it had no time to say more"
