"""File systems without folder syncs, locks, owners or modes; and locks that exclude nobody."""

from __future__ import annotations

import asyncio
import signal

import pytest

from harvester.simulator import Behaviour, Simulator
from tests.e2e.interrupted import SLOW, arguments, cut_short, records, run, small, start, work_of
from tests.e2e.support import (
    Command,
    Done,
    assert_same,
    everything_below,
    pages_asked,
    truth,
    until,
)

_OUTPUTS = ["out.ndjson", "out/"]


def _warnings(text: str, work: str) -> list[str]:
    return [line for line in text.splitlines() if work in line and "the file system" in line]


@pytest.mark.parametrize(
    "missing", ["no folder sync=EINVAL", "no folder sync=ENOTSUP", "no sync=EINVAL"]
)
async def test_a_file_system_without_syncs_is_warned_of_once(
    command: Command, missing: str
) -> None:
    given = arguments("out.ndjson")
    journal = work_of(command.folder, "out.ndjson") / "journal"
    async with Simulator(small(), behaviour=SLOW) as simulator:
        killed = await cut_short(command, simulator, *given, journal=journal, unusual=missing)
    async with Simulator(small()) as simulator:
        done = await run(command, simulator, *given, unusual=missing)

    assert done.code == 0, done.err
    for one in (killed, done):
        (line,) = _warnings(one.err, ".out.ndjson.harvester")
        assert "cannot make files durable (fsync)" in line
    assert "resuming the unfinished sweep" in done.err
    assert_same(command.found(), truth(small()))


@pytest.mark.parametrize("code", ["ENOLCK", "EOPNOTSUPP"])
async def test_a_file_system_without_locks_is_refused_and_named(
    command: Command, code: str
) -> None:
    async with Simulator(small()) as simulator:
        done = await run(command, simulator, *arguments("out.ndjson"), unusual=f"no locks={code}")
        assert not simulator.requests

    assert done.code == 5
    assert "does not support file locks (flock: " in done.err
    assert "give an --output on a file system with locks" in done.err
    assert not (command.folder / "out.ndjson").exists()


@pytest.mark.parametrize(
    ("mount", "output"),
    [
        ("one owner", "out.ndjson"),
        ("one owner", "out/"),
        ("mode 777", "out.ndjson"),
        ("mode 777=EPERM", "out/"),
        ("mode 755=ENOTSUP", "out.ndjson"),
    ],
)
async def test_a_mount_without_owners_or_modes_still_resumes(
    command: Command, mount: str, output: str
) -> None:
    given, work = arguments(output), work_of(command.folder, output)
    async with Simulator(small(), behaviour=SLOW) as simulator:
        stopped = await cut_short(
            command,
            simulator,
            *given,
            journal=work / "journal",
            unusual=mount,
            by=signal.SIGTERM,
        )
        before = {(one.account, one.parameters.get("nextToken")) for one in pages_asked(simulator)}
    async with Simulator(small()) as simulator:
        done = await run(command, simulator, *given, unusual=mount)
        after = {(one.account, one.parameters.get("nextToken")) for one in pages_asked(simulator)}

    assert "the same command resumes this sweep" in stopped.err
    assert done.code == 0, done.err
    for one in (stopped, done):
        (line,) = _warnings(one.err, work.name)
        assert "keeps no owners or modes" in line
    assert "resuming the unfinished sweep" in done.err
    assert not before & after, "a page was read twice"
    assert_same(command.found(output), truth(small()))


@pytest.mark.parametrize("output", _OUTPUTS)
async def test_the_later_of_two_runs_goes_on_where_the_lock_excludes_nobody(
    command: Command, output: str
) -> None:
    journal = work_of(command.folder, output) / "journal"
    unusual = "locks of nobody"
    slower = Behaviour(latency=0.4)
    async with (
        Simulator(small(), behaviour=slower) as slow,
        Simulator(small()) as simulator,
        start(command, slow, *arguments(output), unusual=unusual) as process,
    ):
        await until(lambda: process.returncode is not None or records(journal) >= 4)
        assert process.returncode is None
        second = await run(command, simulator, *arguments(output), unusual=unusual)
        first = await command.finish(process, 0.0)

    _check_one_of_two(command, output, first, second)


async def test_of_two_runs_that_start_together_one_goes_on(command: Command) -> None:
    async with Simulator(small(), behaviour=Behaviour(latency=0.3)) as simulator:
        both = [
            asyncio.create_task(
                run(command, simulator, *arguments("out.ndjson"), unusual="locks of nobody")
            )
            for _ in range(2)
        ]
        second, first = sorted(await asyncio.gather(*both), key=lambda one: one.code)

    _check_one_of_two(command, "out.ndjson", first, second)


def _check_one_of_two(command: Command, output: str, first: Done, second: Done) -> None:
    assert first.code == 5
    assert "another run has taken over this output" in first.err
    assert "resumes this sweep" not in first.err, "the other run does"
    assert second.code == 0, second.err
    assert_same(command.found(output), truth(small()))
    assert not [name for name in everything_below(command.folder) if "harvester" in name]
