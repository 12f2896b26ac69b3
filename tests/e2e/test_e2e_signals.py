"""Sweeps that are stopped: by a signal, by a deadline, by a reader that goes away."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from harvester.simulator import Behaviour, Simulator
from tests.e2e.support import (
    EVERYTHING,
    LEVEL,
    SLOW,
    Command,
    Done,
    assert_same,
    everything_below,
    multiset,
    organization,
    pages_asked,
    stop,
    truth,
    until,
)

_STOPS_WITHIN = 3.0


def _assert_interrupted(done: Done, simulator: Simulator) -> None:
    summary = done.summary
    targets = summary["targets"]
    assert summary["status"] == "interrupted"
    assert 0 < summary["findings"] < 1000
    answered = [one for one in pages_asked(simulator) if one.code is None]
    assert 0 < summary["pages"] <= len(answered)
    # What was sent in the moment of the end may have been counted and not have arrived.
    assert summary["requests"] >= summary["pages"]
    assert abs(summary["requests"] - len(simulator.requests)) <= 64
    assert targets["total"] == sum(targets.values()) - targets["total"]
    assert targets["incomplete"] > 0
    left = [one for one in summary["problems"] if one["status"] == "incomplete"]
    assert len(left) == targets["incomplete"]
    assert {one["code"] for one in left} == {"Interrupted"}


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
async def test_a_signal_ends_a_sweep_soon_and_truly(
    command: Command, number: signal.Signals, code: int
) -> None:
    one = organization(**LEVEL)
    options = ("-o", "out.ndjson", "--summary", "summary.json", "--page-size", "20")
    async with Simulator(one, behaviour=SLOW) as simulator:
        async with command.start(simulator, "sweep", *EVERYTHING, *options) as process:
            await until(lambda: len(pages_asked(simulator)) > 20)
            sent = stop(process, number)
            done = await command.finish(process, sent)
        assert done.code == code
        assert done.seconds < _STOPS_WITHIN
        _assert_interrupted(done, simulator)
        assert number.name in done.summary["problems"][-1]["message"]
        assert "out.ndjson" not in everything_below(command.folder)
    async with Simulator(one) as simulator:
        again = await command.sweep(simulator, *EVERYTHING)
    assert again.code == 0
    assert_same(command.found(), truth(one))
    assert everything_below(command.folder) == {"out.ndjson", "summary.json"}


async def test_what_a_signal_cuts_short_on_stdout_are_whole_lines_and_counted(
    command: Command,
) -> None:
    one = organization(accounts=1, suspended=0, regions=("us-east-1",))
    async with Simulator(one, behaviour=SLOW) as simulator:
        options = ("--summary", "summary.json", "--page-size", "20")
        async with command.start(simulator, "sweep", *options) as process:
            reading = asyncio.create_task(command.finish(process, 0.0))
            await until(lambda: len(pages_asked(simulator)) > 12)
            stop(process, signal.SIGTERM)
            done = await reading
        assert done.code == 143
        _assert_interrupted(done, simulator)
    found = multiset(done.lines)
    assert found.total() == done.summary["findings"]
    assert not found - truth(one)


async def test_a_reader_that_stands_still_does_not_keep_a_signal_from_ending_it(
    command: Command,
) -> None:
    one = organization(accounts=1, suspended=0, regions=("us-east-1",))
    reader, writer = os.pipe()  # nobody reads it
    options = ("sweep", "--summary", "summary.json", "--page-size", "20")
    try:
        async with (
            Simulator(one) as simulator,
            command.start(simulator, *options, stdout=writer) as process,
        ):
            await until(lambda: pages_asked(simulator))
            stood = -1
            while stood != (stood := len(pages_asked(simulator))):  # noqa: ASYNC110
                await asyncio.sleep(0.09)
            assert stood < 50, "back-pressure should reach the service"
            done = await command.finish(process, stop(process, signal.SIGINT))
    finally:
        os.close(writer)
        os.close(reader)
    assert done.code == 130
    assert done.seconds < _STOPS_WITHIN
    assert done.summary["status"] == "interrupted"


async def test_a_deadline_stops_a_sweep_as_interrupted(command: Command) -> None:
    one = organization(**LEVEL)
    async with Simulator(one, behaviour=Behaviour(latency=0.15)) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, "--page-size", "5", "--deadline", "3s")
        _assert_interrupted(done, simulator)
    assert done.code != 0
    assert "deadline" in done.summary["problems"][-1]["message"]
    assert not (command.folder / "out.ndjson").exists()


async def test_a_second_signal_ends_it_at_once(command: Command) -> None:
    async with (
        Simulator(organization(**LEVEL), behaviour=Behaviour(latency=0.5)) as simulator,
        command.start(simulator, "sweep", *EVERYTHING) as process,
    ):
        await until(lambda: pages_asked(simulator))
        process.send_signal(signal.SIGINT)
        done = await command.finish(process, stop(process, signal.SIGINT))
    assert done.code in (130, -signal.SIGINT)
    assert done.seconds < _STOPS_WITHIN


async def test_a_reader_that_goes_away_is_141_without_a_word_of_alarm(command: Command) -> None:
    one = organization(accounts=1, suspended=0, regions=("us-east-1",))
    script = '"$0" -m harvester sweep "$@" | head -n 1; exit "${PIPESTATUS[0]}"'
    options = ("--summary", "summary.json", "--page-size", "20")
    async with Simulator(one) as simulator:
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", script, sys.executable, *options,
            cwd=command.folder, env=command.environment(simulator),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        done = await command.finish(process, 0.0)
        assert len(pages_asked(simulator)) < 50, "it should not read on for nobody"
    assert done.code == 141
    assert not multiset(done.lines) - truth(one)
    assert len(done.lines) == 1
    assert done.summary["status"] != "complete"


async def test_a_killed_run_is_not_in_the_way_of_the_next(command: Command) -> None:
    one = organization()
    async with Simulator(one, behaviour=SLOW) as simulator:
        options = ("sweep", *EVERYTHING, "-o", "out/", "--page-size", "20")
        async with command.start(simulator, *options) as process:
            await until(lambda: len(pages_asked(simulator)) > 10)
            process.kill()
        assert "out/.harvester" in everything_below(command.folder)
    async with Simulator(one) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, "-o", "out/")
    assert done.code == 0
    assert_same(command.found("out"), truth(one))
    assert "out/.harvester" not in everything_below(command.folder)
