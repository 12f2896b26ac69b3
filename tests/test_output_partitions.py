"""A partitioned folder: a part appears when its target is complete, and only then."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from harvester.aws.bodies import page_of
from harvester.errors import OutputError
from harvester.model import Finding, Query, Target
from harvester.output.ages import Ages
from harvester.output.files import FileSink
from harvester.output.partitions import Partitions
from harvester.output.results import Aside, Published, Results
from harvester.output.workspace import Workspace
from tests.spooled import YESTERDAY, Time

A1, A2 = Target("111111111111", "eu-west-1"), Target("111111111111", "us-east-1")
B1 = Target("222222222222", "eu-west-1")
OLD = b"old\n"


def sink_of(folder: Path, time: Time | None = None, suffix: str = ".ndjson") -> FileSink:
    layout = Partitions(folder, suffix)
    return FileSink(Workspace(folder / ".harvester"), layout, clock=(time or Time()).clock)


def part(folder: Path, target: Target, suffix: str = ".ndjson") -> Path:
    return folder / f"account={target.account}" / f"region={target.region}" / f"findings{suffix}"


def put(folder: Path, *targets: Target) -> None:
    for target in targets:
        path = part(folder, target)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(OLD)


def files(folder: Path) -> Mapping[str, bytes]:
    """The files of the output and those set aside, by path, without the workspace."""
    return {
        f"{path.relative_to(folder)}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".harvester" not in path.parts
    }


def name(target: Target) -> str:
    return f"account={target.account}/region={target.region}/findings.ndjson"


async def read(sink: FileSink, target: Target, *findings: Finding, last: bool = True) -> None:
    sink.found(target)
    sink.begin(target, [Query(target)], None)
    await sink.write(Query(target), page_of(list(findings), None if last else "2"))
    if last:
        await sink.finished(target)


async def test_part_appears_while_other_targets_are_read(tmp_path: Path) -> None:
    time = Time()
    put(tmp_path, A1, A2, B1)
    async with sink_of(tmp_path, time) as sink:
        await read(sink, A1, {"n": 1})
        await read(sink, A2)
        assert part(tmp_path, A1).read_bytes() == OLD
        time.seconds = 1.5
        await read(sink, B1, {"n": 3}, last=False)
        assert files(tmp_path) == {name(A1): b'{"n":1}\n', name(B1): OLD}
        await sink.publish(Results({A1, A2}, {B1}))


@pytest.mark.parametrize("ended", ["cancelled", "failed", "killed"])
async def test_complete_targets_are_published_however_the_run_ends(
    tmp_path: Path, ended: str
) -> None:
    folder, copy, time = tmp_path / "out", tmp_path / "copy", Time()
    put(folder, A1, B1)
    with anyio.CancelScope() as scope, suppress(OutputError):
        async with sink_of(folder, time) as sink:
            await read(sink, A1, {"n": 1})
            time.seconds = 1.5
            await read(sink, B1, {"n": 3}, last=False)
            shutil.copytree(folder, copy)
            if ended == "cancelled":
                scope.cancel()
                await anyio.lowlevel.checkpoint()
            raise OutputError("it failed")
    left = copy if ended == "killed" else folder
    assert files(left) == {name(A1): b'{"n":1}\n', name(B1): OLD}

    before = part(left, A1).stat().st_ino
    async with sink_of(left) as sink:
        for target in (A1, B1):
            standing = sink.standing(target)
            assert standing is not None
            assert standing.complete == (target == A1)
        await sink.write(Query(B1), page_of([{"n": 4}], None))
        await sink.finished(B1)
        await sink.publish(Results({A1, B1}))
    assert files(left) == {name(A1): b'{"n":1}\n', name(B1): b'{"n":3}\n{"n":4}\n'}
    if ended != "killed":  # before the journal noted it: the same bytes were written again
        assert part(left, A1).stat().st_ino == before, "it was published already"


async def test_published_part_that_was_removed_is_written_again(tmp_path: Path) -> None:
    async with sink_of(tmp_path) as sink:
        await read(sink, A1, {"n": 1})
    shutil.rmtree(tmp_path / "account=111111111111")
    async with sink_of(tmp_path) as sink:
        sink.standing(A1)
        await sink.publish(Results({A1}))
    assert files(tmp_path) == {name(A1): b'{"n":1}\n'}


async def test_incomplete_target_is_set_aside_and_its_older_part_stands(tmp_path: Path) -> None:
    put(tmp_path, A1)
    aside = tmp_path / ".incomplete" / name(A1), tmp_path / ".incomplete" / name(B1)
    for _ in range(2):
        async with sink_of(tmp_path) as sink:
            await read(sink, A1, {"n": 1}, last=False)
            await read(sink, B1, {"n": 2}, last=False)
            published = await sink.publish(Results({A2}, {A1, B1}))
        assert published == Published(
            stale=[A1], aside={A1: Aside(aside[0], {"": 1}), B1: Aside(aside[1], {"": 1})}
        )
        assert files(tmp_path) == {
            name(A1): OLD,
            f".incomplete/{name(A1)}": b'{"n":1}\n',
            f".incomplete/{name(B1)}": b'{"n":2}\n',
        }
    async with sink_of(tmp_path) as sink:
        await read(sink, A1, {"n": 3})
        await sink.publish(Results({A1}, {B1}))
    assert files(tmp_path) == {name(A1): b'{"n":3}\n', f".incomplete/{name(B1)}": b'{"n":2}\n'}
    async with sink_of(tmp_path) as sink:
        await read(sink, B1)
        await sink.publish(Results({B1}))
    assert files(tmp_path) == {name(A1): b'{"n":3}\n'}
    assert not aside[0].parents[2].exists()


async def test_failed_targets_are_stale_where_a_part_stands(tmp_path: Path) -> None:
    put(tmp_path, A1)
    part(tmp_path, B1, ".ndjson.zst").parent.mkdir(parents=True)
    part(tmp_path, B1, ".ndjson.zst").write_bytes(OLD)
    results = Results(broken={A1, A2, B1, Target("../..", "x")}, accounts={A1.account, "3" * 12})
    async with sink_of(tmp_path) as sink:
        published = await sink.publish(results)
    assert not published.written
    assert {*published.stale} == {A1, B1, A1.account}

    for regions, stale in (({"eu-west-1"}, [A1.account]), ({"us-east-1"}, [])):
        async with sink_of(tmp_path) as sink:
            results = Results(accounts={A1.account}, regions=regions)
            assert (await sink.publish(results)).stale == stale


async def test_targets_without_a_selected_pipeline_lose_no_part_until_another_has_one(
    tmp_path: Path,
) -> None:
    time = Time()
    put(tmp_path, A1, A2)
    async with sink_of(tmp_path, time) as sink:
        for target in (A1, A2):
            sink.found(target)
            sink.begin(target, [], None)
            time.seconds += 1.5
            await sink.finished(target)
        sink.discard()
    assert files(tmp_path) == {name(A1): OLD, name(A2): OLD}
    assert not (tmp_path / ".harvester").exists(), "the next sweep may select others"

    async with sink_of(tmp_path, time) as sink:
        sink.found(A1)
        sink.begin(A1, [], None)
        await sink.finished(A1)
        await read(sink, A2, {"n": 1})
    assert files(tmp_path) == {name(A2): b'{"n":1}\n'}


async def test_part_that_cannot_be_written_at_the_end_of_a_stopped_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = os.fsync

    def fsync(file: int) -> None:
        if Path(f"/proc/self/fd/{file}").readlink().name.startswith("part"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    with caplog.at_level(logging.WARNING):
        async with sink_of(tmp_path) as sink:
            await read(sink, A1, {"n": 1})
    assert "complete targets could not be published" in caplog.text
    assert files(tmp_path) == {}

    monkeypatch.undo()
    async with sink_of(tmp_path) as sink:
        sink.standing(A1)
    assert files(tmp_path) == {name(A1): b'{"n":1}\n'}


async def test_ages_outlive_sweeps_that_are_too_old_and_end_with_a_finished_one(
    tmp_path: Path,
) -> None:
    day, time = 86_400.0, Time()
    async with sink_of(tmp_path, time) as sink:
        assert sink.ages == Ages()
        await read(sink, A1, {"n": 1})
        sink.found(A2)
    time.seconds += day
    async with sink_of(tmp_path, time) as sink:
        standing = sink.standing(A1)
        assert standing is None or not standing.complete, "it is too old to resume"
        assert sink.ages.read_at == {A1: YESTERDAY, A2: 0.0}
        assert sink.ages.of_account(A1.account) == 0.0
        await read(sink, A2, {"n": 2})
    time.seconds += day
    async with sink_of(tmp_path, time) as sink:
        assert sink.ages.read_at == {A1: YESTERDAY, A2: YESTERDAY + day}
        assert sink.ages.of_account(A1.account) == YESTERDAY
        assert sink.ages.of(B1) == sink.ages.of_account(B1.account) == 0.0
    left = {path.name for path in (tmp_path / ".harvester").iterdir()}
    assert left == {"ages", "lock", "owner"}
    async with sink_of(tmp_path, time) as sink:
        assert sink.ages.of(A1), "a run that read nothing forgets nothing"
        await read(sink, A1)
        await sink.publish(Results({A1}))
    async with sink_of(tmp_path, time) as sink:
        assert sink.ages == Ages()
