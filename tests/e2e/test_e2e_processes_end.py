"""Several processes that end: by death, by a signal, by an output that fails."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from functools import partial

import pytest

import harvester
from harvester.simulator import Behaviour, Simulator
from tests.e2e.support import (
    EVERYTHING,
    LEVEL,
    SLOW,
    TWO,
    Command,
    assert_same,
    children,
    everything_below,
    multiset,
    organization,
    pages_asked,
    runs,
    stop,
    truth,
    until,
)


def _asked(simulator: Simulator, pages: int) -> bool:
    return len(pages_asked(simulator)) > pages


@pytest.mark.parametrize("split", ["none", "severity"])
@pytest.mark.parametrize("output", ["out.ndjson", "-"])
async def test_what_a_killed_process_was_reading_is_read_again(
    command: Command, output: str, split: str
) -> None:
    one = organization(**LEVEL)
    options = (*TWO, "-o", output, "--summary", "summary.json", "--page-size", "5")
    async with (
        Simulator(one, behaviour=SLOW) as simulator,
        command.start(simulator, "sweep", *EVERYTHING, *options, "--split", split) as process,
    ):
        await until(lambda: len(pages_asked(simulator)) > 40)
        os.kill(children(process.pid)[0], signal.SIGKILL)
        done = await command.finish(process, 0.0)
    assert done.code == 0, done.err
    assert "SIGKILL" in done.err
    found = multiset(done.lines) if output == "-" else command.found()
    assert_same(found, truth(one))
    assert done.summary["findings"] == found.total()


async def test_where_all_others_are_killed_the_first_one_reads_it_all(command: Command) -> None:
    one = organization(**LEVEL)
    options = ("-o", "out.ndjson", "--summary", "summary.json", "--page-size", "5")
    async with (
        Simulator(one, behaviour=SLOW) as simulator,
        command.start(simulator, "sweep", *EVERYTHING, *options, "--processes", "4") as process,
    ):
        await until(lambda: len(pages_asked(simulator)) > 40)
        for worker in (workers := children(process.pid)):
            os.kill(worker, signal.SIGKILL)
        done = await command.finish(process, 0.0)
    assert len(workers) == 3
    assert done.code == 0, done.err
    assert_same(command.found(), truth(one))
    assert done.summary["findings"] == command.found().total()


async def test_a_killed_command_leaves_no_process_and_is_gone_on_with(command: Command) -> None:
    one = organization(**LEVEL)
    options = ("sweep", *EVERYTHING, *TWO, "-o", "out.ndjson", "--page-size", "5")
    async with Simulator(one, behaviour=SLOW) as simulator:
        async with command.start(simulator, *options) as process:
            await until(lambda: len(pages_asked(simulator)) > 40)
            workers = children(process.pid)
            process.kill()
            await process.wait()
            await until(lambda: not any(map(runs, workers)))
        asked = len(simulator.requests)
        done = await command.sweep(simulator, *EVERYTHING, *TWO, "--page-size", "5")
        assert len(simulator.requests) > asked
    assert len(workers) == 1
    assert done.code == 0
    assert_same(command.found(), truth(one))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
async def test_a_signal_ends_all_processes_and_loses_nothing(
    command: Command, number: signal.Signals
) -> None:
    one = organization(**LEVEL)
    options = (*EVERYTHING, *TWO, "-o", "out.ndjson", "--summary", "summary.json")
    async with Simulator(one, behaviour=SLOW) as simulator:
        async with command.start(simulator, "sweep", *options, "--page-size", "5") as process:
            await until(lambda: len(pages_asked(simulator)) > 40)
            workers = children(process.pid)
            done = await command.finish(process, stop(process, number))
        assert not any(map(runs, workers))
        assert done.code == 128 + number
        assert done.seconds < 5.0
        summary = done.summary
        assert summary["status"] == "interrupted"
        assert 0 < summary["findings"] < 1000
        # Calls under way were let finish, and what they gave was kept.
        # One that was just to be sent may have been counted, and not have arrived.
        assert 0 <= summary["requests"] - len(simulator.requests) <= 4
        answered = [each for each in pages_asked(simulator) if each.code is None]
        assert 0 <= len(answered) - summary["pages"] <= len(one.accounts) * 2
        again = await command.sweep(simulator, *options, "--page-size", "5")
        assert_same(command.found(), truth(one))
    assert again.code == 0
    assert again.summary["pages"] >= summary["pages"]
    assert everything_below(command.folder) == {"out.ndjson", "summary.json"}


async def test_signals_to_those_that_read_are_for_the_first_process(command: Command) -> None:
    one = organization(**LEVEL)
    options = ("sweep", *EVERYTHING, *TWO, "-o", "out.ndjson", "--page-size", "10")
    async with (
        Simulator(one, behaviour=SLOW) as simulator,
        command.start(simulator, *options) as process,
    ):
        await until(lambda: len(pages_asked(simulator)) > 20)
        for worker in children(process.pid):
            assert os.getpgid(worker) != os.getpgid(process.pid), "nor do they get a Ctrl-C"
            os.kill(worker, signal.SIGINT)
            os.kill(worker, signal.SIGTERM)
        done = await command.finish(process, 0.0)
    assert done.code == 0
    assert_same(command.found(), truth(one))


async def test_what_a_signal_cuts_short_on_stdout_are_whole_lines_and_counted(
    command: Command,
) -> None:
    one = organization(**LEVEL)
    options = (*EVERYTHING, *TWO, "--summary", "summary.json", "--page-size", "10")
    async with (
        Simulator(one, behaviour=SLOW) as simulator,
        command.start(simulator, "sweep", *options) as process,
    ):
        reading = asyncio.create_task(command.finish(process, 0.0))
        await until(partial(_asked, simulator, 20))
        stop(process, signal.SIGTERM)
        done = await reading
    found = multiset(done.lines)
    assert done.code == 143
    assert 0 < found.total() == done.summary["findings"] < 1000
    assert not found - truth(one)


async def test_a_reader_that_stands_still_does_not_keep_a_signal_from_ending_them(
    command: Command,
) -> None:
    one = organization(**LEVEL)
    reader, writer = os.pipe()  # nobody reads it
    options = ("sweep", *EVERYTHING, *TWO, "--summary", "summary.json", "--page-size", "10")
    try:
        async with (
            Simulator(one) as simulator,
            command.start(simulator, *options, stdout=writer) as process,
        ):
            await until(partial(_asked, simulator, 20))
            workers = children(process.pid)
            done = await command.finish(process, stop(process, signal.SIGINT))
            assert not any(map(runs, workers))
    finally:
        os.close(writer)
        os.close(reader)
    assert done.code == 130
    assert done.summary["status"] == "interrupted"


async def test_a_deadline_ends_all_processes_and_loses_nothing(command: Command) -> None:
    one = organization(**LEVEL)
    options = (*EVERYTHING, *TWO, "--page-size", "5")
    async with Simulator(one, behaviour=Behaviour(latency=0.15)) as simulator:
        done = await command.sweep(simulator, *options, "--deadline", "3s")
    assert done.code == 3
    assert done.summary["status"] == "interrupted"
    assert "deadline" in done.summary["problems"][-1]["message"]
    assert 0 < done.summary["findings"] < 1000
    assert done.summary["requests"] == len(simulator.requests)
    async with Simulator(one) as simulator:
        again = await command.sweep(simulator, *options)
    assert again.code == 0
    assert_same(command.found(), truth(one))


async def test_a_second_signal_ends_all_at_once(command: Command) -> None:
    async with (
        Simulator(organization(**LEVEL), behaviour=Behaviour(latency=0.5)) as simulator,
        command.start(simulator, "sweep", *EVERYTHING, *TWO) as process,
    ):
        await until(lambda: pages_asked(simulator))
        workers = children(process.pid)
        process.send_signal(signal.SIGINT)
        done = await command.finish(process, stop(process, signal.SIGINT))
        await until(lambda: not any(map(runs, workers)), seconds=2.0)
    assert len(workers) == 1
    assert done.code in (130, -signal.SIGINT)


async def test_a_signal_before_anything_is_read_ends_them_too(command: Command) -> None:
    async with (
        Simulator(organization(**LEVEL), behaviour=SLOW) as simulator,
        command.start(simulator, "sweep", *EVERYTHING, *TWO) as process,
    ):
        await until(lambda: children(process.pid))
        workers = children(process.pid)
        done = await command.finish(process, stop(process, signal.SIGTERM))
        assert not any(map(runs, workers))
    assert done.code == 143


async def test_one_that_stands_still_does_not_keep_a_signal_from_ending_it(
    command: Command,
) -> None:
    one = organization(**LEVEL)
    options = (*EVERYTHING, *TWO, "-o", "out.ndjson", "--summary", "summary.json")
    async with Simulator(one, behaviour=SLOW) as simulator:
        async with command.start(simulator, "sweep", *options, "--page-size", "5") as process:
            await until(lambda: len(pages_asked(simulator)) > 40)
            workers = children(process.pid)
            os.kill(workers[0], signal.SIGSTOP)
            done = await command.finish(process, stop(process, signal.SIGINT))
        assert not any(map(runs, workers))
        assert done.code == 130
        assert done.summary["status"] == "interrupted"
        assert 0 < done.summary["findings"] < 1000
        again = await command.sweep(simulator, *options)
    assert again.code == 0
    assert_same(command.found(), truth(one))


async def test_another_number_of_processes_goes_on_with_what_is_left(command: Command) -> None:
    one = organization(**LEVEL)
    options = (*EVERYTHING, "-o", "out.ndjson", "--summary", "summary.json", "--split", "severity")
    async with Simulator(one, behaviour=SLOW) as simulator:
        for turn, number in enumerate(("1", "2", "3")):
            enough = partial(_asked, simulator, 50 * (turn + 1))
            more = ("--page-size", "5", "--processes", number)
            async with command.start(simulator, "sweep", *options, *more) as process:
                await until(enough)
                stopped = await command.finish(process, stop(process, signal.SIGTERM))
                assert stopped.code == 143
        done = await command.sweep(simulator, *options, "--page-size", "5")
        answered = [each for each in pages_asked(simulator) if each.code is None]
    assert done.code == 0
    assert_same(command.found(), truth(one))
    assert done.summary["findings"] == truth(one).total()
    assert len(answered) < 1.2 * done.summary["pages"], "what was read is not read again"


async def test_a_full_disk_ends_them_all(command: Command) -> None:
    one = organization(**LEVEL)
    script = 'ulimit -f 100; trap "" XFSZ; exec "$0" -m harvester sweep "$@"'
    options = (*EVERYTHING, *TWO, "-o", "out.ndjson", "--summary", "summary.json")
    async with Simulator(one) as simulator:
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", script, sys.executable, *options, "--page-size", "5",
            cwd=command.folder, env=command.environment(simulator),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        done = await command.finish(process, 0.0)
        assert done.code == 5, done.err
        assert "out.ndjson" in done.err
        assert done.summary["status"] == "failed"
        assert "out.ndjson" not in everything_below(command.folder)
        again = await command.sweep(simulator, *options)
    assert again.code == 0
    assert_same(command.found(), truth(one))


@pytest.mark.parametrize("closed", ["<&-", "<&- 2>&-", "<&- >&- 2>&-"])
async def test_closed_standard_streams_are_no_place_for_what_they_say(
    command: Command, closed: str
) -> None:
    one = organization(**LEVEL)
    script = f'exec "$0" -m harvester sweep "$@" {closed}'
    options = (*EVERYTHING, *TWO, "-o", "out.ndjson", "-vv", "--page-size", "20")
    async with Simulator(one) as simulator:
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", script, sys.executable, *options,
            cwd=command.folder, env=command.environment(simulator),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        done = await command.finish(process, 0.0)
    assert (done.code, done.out) == (0, b"")
    assert_same(command.found(), truth(one))


async def test_a_reader_that_goes_away_ends_them_all(command: Command) -> None:
    one = organization(**LEVEL)
    script = '"$0" -m harvester sweep "$@" | head -n 1; exit "${PIPESTATUS[0]}"'
    async with Simulator(one) as simulator:
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", script, sys.executable, *EVERYTHING, *TWO, "--page-size", "5",
            cwd=command.folder, env=command.environment(simulator),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        done = await command.finish(process, 0.0)
    assert done.code == 141
    assert len(done.lines) == 1


async def test_processes_that_cannot_be_started_are_a_clear_word(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = organization(accounts=3, suspended=0)
    settings = harvester.Settings(
        accounts={"organization": True, "role_name": "Harvester"},
        regions={"include": ["all"]},
        limits={"processes": 2},
        output={"path": str(command.folder / "out.ndjson")},
    )
    monkeypatch.setattr(sys, "executable", str(command.folder / "no-python"))
    async with Simulator(one) as simulator:
        for name, value in simulator.environment().items():
            monkeypatch.setenv(name, value)
        with pytest.raises(harvester.StartError, match="no process can be started"):
            await harvester.run_sweep(settings)
    assert not (command.folder / "out.ndjson").exists()
