"""Sweeps that are resumed after their spool was damaged, or when its pages are old."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from harvester.simulator import Behaviour, Simulator
from tests.e2e.interrupted import SLOW, arguments, cut_short, records, run, small, work_of
from tests.e2e.support import Command, assert_same, pages_asked, truth

_WARNING = "findings of the unfinished sweep are damaged on the disk: reading them again"


def _damage(spool: Path, kind: str) -> None:
    content = bytearray(spool.read_bytes())
    if kind == "a bit at the beginning":
        content[0] ^= 1
    elif kind == "zeros at the beginning":
        content[:100] = bytes(100)
    elif kind == "cut short":
        del content[10:]
    elif kind == "another file":
        content[:] = random.Random(1).randbytes(len(content))
    spool.write_bytes(content)
    if kind == "gone":
        spool.unlink()


@pytest.mark.parametrize(
    ("kind", "output"),
    [
        ("a bit at the beginning", "out.ndjson"),
        ("a bit at the beginning", "out.ndjson.gz"),
        ("zeros at the beginning", "out/"),
        ("cut short", "out.ndjson.zst"),
        ("another file", "out.ndjson"),
        ("gone", "out/"),
    ],
)
async def test_a_damaged_spool_is_read_again_and_never_published(
    command: Command, kind: str, output: str
) -> None:
    given, work = arguments(output), work_of(command.folder, output)
    async with Simulator(small(), behaviour=SLOW) as simulator:
        await cut_short(command, simulator, *given, journal=work / "journal")
    _damage(work / "spool", kind)
    async with Simulator(small()) as simulator:
        done = await run(command, simulator, *given)

    assert done.code == 0, done.err
    assert _WARNING in done.err
    assert done.summary["status"] == "complete"
    assert done.summary["findings"] == truth(small()).total()
    assert_same(command.found(output), truth(small()))


async def test_damage_to_one_account_costs_the_others_nothing(command: Command) -> None:
    given, work = arguments("out.ndjson"), work_of(command.folder, "out.ndjson")
    journal, counts = work / "journal", list[int]()

    def all_are_committed() -> bool:
        follow = [one for one in pages_asked(simulator) if "nextToken" in one.parameters]
        if len({one.account for one in follow}) == 3:
            counts.append(records(journal))
        return counts != [] and counts[-1] >= counts[0] + 2

    async with Simulator(small(), behaviour=Behaviour(latency=0.3)) as simulator:
        await cut_short(command, simulator, *given, journal=journal, when=all_are_committed)
    _damage(work / "spool", "a bit at the beginning")
    async with Simulator(small()) as simulator:
        done = await run(command, simulator, *given)
        begun = [one for one in pages_asked(simulator) if "nextToken" not in one.parameters]

    assert done.code == 0, done.err
    assert len({one.account for one in begun}) == 1
    assert done.err.count(_WARNING) == 1
    assert_same(command.found(), truth(small()))


async def test_pages_older_than_the_limit_are_read_again(command: Command) -> None:
    given, work = arguments("out.ndjson"), work_of(command.folder, "out.ndjson")
    async with Simulator(small(), behaviour=SLOW) as simulator:
        await cut_short(command, simulator, *given, journal=work / "journal")
    async with Simulator(small()) as simulator:
        done = await run(command, simulator, *given, "--max-resume-age", "0.001s")
        begun = [one for one in pages_asked(simulator) if "nextToken" not in one.parameters]

    assert done.code == 0, done.err
    assert "is too old: starting over" in done.err
    assert len(begun) == 3
    assert_same(command.found(), truth(small()))


async def test_an_interrupted_run_says_how_long_it_can_be_resumed(command: Command) -> None:
    given = arguments("out.ndjson", "--deadline", "1s", "--max-resume-age", "90m")
    async with Simulator(small(), behaviour=SLOW) as simulator:
        done = await run(command, simulator, *given)

    assert done.code == 3
    assert "the same command resumes this sweep within 90m; --fresh starts over" in done.err
