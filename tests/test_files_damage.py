"""A spool whose bytes change on the disk, runs that a lock does not keep apart, and old pages."""

from __future__ import annotations

import errno
import fcntl
import gzip
import io
import os
import random
from pathlib import Path

import pytest
import zstandard

from harvester.errors import OutputBusyError, OutputError
from harvester.model import Query
from harvester.output.files import FileSink
from harvester.output.partitions import Partitions
from harvester.output.publish import PartWriter
from harvester.output.results import Results, Spooled
from harvester.output.workspace import Workspace
from tests.spooled import ONE, PAGES, QUERIES, TWO, YESTERDAY, Time, left_in, page, sink_of, text

_HOUR = 3600.0
_FIRST, _SECOND = QUERIES[ONE]
(_THIRD,) = QUERIES[TWO]


async def _write(sink: FileSink, query: Query, pages: range) -> None:
    for number in pages:
        await sink.write(query, page(query, number))


async def _read_some(work: Path, out: Path, *, expected: int | None = None, packed: bool) -> None:
    """Read all of one target, which has two queries, and half of another."""
    async with sink_of(work, out, packed=packed) as sink:
        sink.begin(ONE, QUERIES[ONE], expected)
        sink.begin(TWO, QUERIES[TWO], None)
        for number in range(PAGES):
            for query in (_FIRST, _SECOND):
                await sink.write(query, page(query, number))
            if number < PAGES // 2:
                await sink.write(_THIRD, page(_THIRD, number))
        await sink.finished(ONE)


def _places(work: Path, query: Query) -> tuple[int, int]:
    """The first and the last byte of a query in the spool."""
    left = left_in(work)
    assert left is not None
    places = left.contents.places(query.target)[query]
    return places[0], places[-3] + places[-2] - 1


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _change(work: Path, at: int, bit: int = 1) -> None:
    spool = bytearray((work / "spool").read_bytes())
    spool[at] ^= bit
    (work / "spool").write_bytes(spool)


def _unpacked(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(content)
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content)).read()
    return content


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("query", [_FIRST, _SECOND])
async def test_a_changed_byte_costs_the_query_of_a_complete_target_and_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, query: Query, *, packed: bool
) -> None:
    work, out = tmp_path / "work", tmp_path / "out.ndjson"
    await _read_some(work, out, packed=packed)
    _change(work, _places(work, query)[1])
    async with sink_of(work, out) as sink:
        standing, other = sink.standing(ONE), sink.standing(TWO)
        assert standing is not None
        assert not standing.complete
        assert set(standing.cursors) == {_FIRST, _SECOND} - {query}
        assert all(one.done for one in standing.cursors.values())
        assert other is not None
        assert other.cursors[_THIRD].pages == PAGES // 2
        sink.begin(ONE, QUERIES[ONE], None)
        await _write(sink, query, range(PAGES))
        await sink.finished(ONE)
        await _write(sink, _THIRD, range(PAGES // 2, PAGES))
        await sink.publish(Results({ONE, TWO}))

    assert out.read_bytes() == b"".join(map(text, sorted([_FIRST, _SECOND, _THIRD])))
    warnings = [one.message for one in caplog.records if one.levelname == "WARNING"]
    assert warnings == [
        f"{ONE}: findings of the unfinished sweep are damaged on the disk: reading them again"
    ]


async def test_a_changed_byte_costs_all_queries_of_a_split(tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "out.ndjson"
    await _read_some(work, out, expected=50, packed=False)
    _change(work, _places(work, _FIRST)[0])
    async with sink_of(work, out) as sink:
        assert sink.standing(ONE) is None
        assert sink.standing(TWO) is not None


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("seed", range(8))
async def test_whatever_happens_to_the_spool_nothing_damaged_is_published(
    tmp_path: Path, seed: int, *, packed: bool
) -> None:
    work, out, rng = tmp_path / "work", tmp_path / "out.ndjson.zst", random.Random(seed)
    await _read_some(work, out, packed=packed)
    spool = bytearray((work / "spool").read_bytes())
    start, end = sorted(rng.choices(range(len(spool) + 1), k=2))
    spool[start:end] = rng.choice([b"", bytes(end - start), rng.randbytes(end - start), b"x"])
    (work / "spool").write_bytes(spool)
    async with sink_of(work, out, packed=packed) as sink:
        for target, queries in QUERIES.items():
            standing = sink.standing(target)
            if standing is not None and standing.complete:
                continue
            sink.begin(target, queries, None)
            for query in queries:
                cursor = standing.cursors.get(query) if standing else None
                await _write(sink, query, range(cursor.pages if cursor else 0, PAGES))
            await sink.finished(target)
        await sink.publish(Results(set(QUERIES)))

    everything = sorted([_FIRST, _SECOND, _THIRD])
    assert _unpacked(out) == b"".join(map(text, everything))


async def test_pages_are_spread_over_the_files_of_several_runs(tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "out.ndjson"
    for start in range(0, PAGES, 3):
        async with sink_of(work, out) as sink:
            for target, queries in QUERIES.items():
                sink.begin(target, queries, None)
                for query in queries:
                    await _write(sink, query, range(start, start + 3))
    assert _names(work) == ["journal", "lock", "owner", "spool", "spool-2", "spool-3", "spool-4"]

    (work / "spool-2").unlink()
    async with sink_of(work, out) as sink:
        assert not any(sink.standing(target) for target in QUERIES), "a part of each is lost"
        for target, queries in QUERIES.items():
            sink.begin(target, queries, None)
            for query in queries:
                await _write(sink, query, range(PAGES))
        await sink.publish(Results(set(QUERIES)))
    assert out.read_bytes() == b"".join(map(text, sorted([_FIRST, _SECOND, _THIRD])))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["out.ndjson", "out.ndjson.gz", "out.ndjson.zst"])
async def test_damage_since_it_was_written_is_not_published_and_read_again_by_the_next_run(
    tmp_path: Path, name: str, *, packed: bool
) -> None:
    work, out = tmp_path / "work", tmp_path / name
    out.write_bytes(b"of the night before")
    async with sink_of(work, out, packed=packed) as sink:
        sink.begin(ONE, QUERIES[ONE], None)
        sink.begin(TWO, QUERIES[TWO], None)
        for query in (_FIRST, _SECOND, _THIRD):
            await _write(sink, query, range(PAGES))
        await sink.finished(ONE)
        await sink.finished(TWO)
        _change(work, 10)
        with pytest.raises(OutputError, match="damaged on the disk") as caught:
            await sink.publish(Results({ONE, TWO}))

    assert caught.value.exit_code == 5
    assert out.read_bytes() == b"of the night before"
    assert sink.resumable
    async with sink_of(work, out) as sink:
        standing, other = sink.standing(ONE), sink.standing(TWO)
        assert standing is not None
        assert list(standing.cursors) == [_SECOND]
        assert other is not None
        assert other.complete


async def test_a_disk_that_cannot_read_a_page_costs_that_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, out = tmp_path / "work", tmp_path / "out.ndjson"
    await _read_some(work, out, packed=False)
    bad, real = _places(work, _THIRD)[0], os.pread

    def pread(file: int, size: int, offset: int) -> bytes:
        if offset <= bad < offset + size:
            raise OSError(errno.EIO, "Input/output error")
        return real(file, size, offset)

    monkeypatch.setattr(os, "pread", pread)
    async with sink_of(work, out) as sink:
        standing, other = sink.standing(ONE), sink.standing(TWO)
    assert standing is not None
    assert standing.complete
    assert other is not None
    assert not other.cursors


@pytest.fixture
def lockless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks that exclude nobody, as on some network file systems."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)


@pytest.mark.usefixtures("lockless")
@pytest.mark.parametrize("packed", [False, True])
async def test_of_two_runs_that_are_not_kept_apart_the_later_one_goes_on(
    tmp_path: Path, *, packed: bool
) -> None:
    work, out, time = tmp_path / "work", tmp_path / "out.ndjson", Time()
    earlier, later = (sink_of(work, out, time, packed=packed) for _ in range(2))

    async def interleave() -> None:
        async with earlier:
            earlier.begin(TWO, QUERIES[TWO], None)
            await _write(earlier, _THIRD, range(3))
            time.seconds += 1.0
            await _write(earlier, _THIRD, range(3, 4))  # and commits
            async with later:
                standing = later.standing(TWO)
                assert standing is not None
                assert standing.cursors[_THIRD].pages == 4
                for number in range(4, PAGES):
                    # Both write at the same offset, each to a file of its own.
                    await later.write(_THIRD, page(_THIRD, number))
                    await earlier.write(_THIRD, page(_THIRD, PAGES - number))
                await later.finished(TWO)
                time.seconds += 1.0
                try:
                    await _write(earlier, _THIRD, range(1))
                finally:
                    await later.publish(Results({TWO}))

    with pytest.raises(OutputBusyError, match="another run has taken over") as caught:
        await interleave()
    assert caught.value.exit_code == 5
    assert caught.value.hint
    assert out.read_bytes() == text(_THIRD)
    assert not earlier.resumable
    assert _names(tmp_path) == [out.name]


@pytest.mark.usefixtures("lockless")
async def test_a_run_that_was_taken_over_publishes_and_removes_nothing(tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "out.ndjson"
    earlier, later = (sink_of(work, out) for _ in range(2))

    async def publish() -> None:
        async with earlier:
            await _write(earlier, _THIRD, range(PAGES))
            await later.__aenter__()
            await earlier.publish(Results({TWO}))

    with pytest.raises(OutputBusyError):
        await publish()
    assert not out.exists()
    assert _names(work) == ["journal", "lock", "owner", "spool"]
    await _write(later, _THIRD, range(PAGES))
    await later.publish(Results({TWO}))
    await later.__aexit__(None, None, None)
    assert out.read_bytes() == text(_THIRD)
    assert not work.exists()


@pytest.mark.usefixtures("lockless")
async def test_a_run_that_is_taken_over_between_two_parts_stops(tmp_path: Path) -> None:
    out = tmp_path / "out"
    later = Workspace(tmp_path / "work")

    class Interrupted(Partitions):
        def publish(self, writer: PartWriter, complete: Spooled) -> None:
            super().publish(writer, {ONE: complete[ONE]})
            later.open()
            later.claim()
            super().publish(writer, {TWO: complete[TWO]})

    layout = Interrupted(out, ".ndjson")
    earlier = FileSink(Workspace(tmp_path / "work"), layout, clock=Time().clock)

    async def publish() -> None:
        async with earlier:
            for query in (_FIRST, _SECOND, _THIRD):
                await _write(earlier, query, range(PAGES))
            await earlier.publish(Results({ONE, TWO}))

    with pytest.raises(OutputBusyError):
        await publish()
    later.close()

    (only,) = out.rglob("findings.ndjson")
    assert only.read_bytes() == text(_FIRST) + text(_SECOND)
    assert (tmp_path / "work" / "journal").exists()


async def test_only_targets_that_were_read_too_long_ago_are_read_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    work, out, time = tmp_path / "work", tmp_path / "out.ndjson", Time()
    async with sink_of(work, out, time, run_id="first") as sink:
        sink.begin(ONE, QUERIES[ONE], None)
        await _write(sink, _FIRST, range(PAGES))
        await _write(sink, _SECOND, range(PAGES))
        await sink.finished(ONE)
        time.seconds = 4 * _HOUR
        sink.begin(TWO, QUERIES[TWO], None)
        await _write(sink, _THIRD, range(3))
    assert sink.resumed is None
    assert sink.resumable

    time.seconds = 6.5 * _HOUR
    async with sink_of(work, out, time, run_id="second") as sink:
        assert sink.standing(ONE) is None
        standing = sink.standing(TWO)
        assert standing is not None
        assert standing.cursors[_THIRD].pages == 3
        resumed = sink.resumed
        assert resumed is not None
        assert (resumed.run_id, resumed.begun) == ("first", YESTERDAY)
        assert resumed.oldest == YESTERDAY + 4 * _HOUR
    assert "1 of the targets that the unfinished sweep has read are too old" in caplog.text

    async with sink_of(work, out, time, max_age=_HOUR) as sink:
        assert sink.standing(TWO) is None
        assert sink.resumed is None
    assert "is too old: starting over" in caplog.text


async def test_pages_of_a_clock_that_was_set_back_are_read_again(tmp_path: Path) -> None:
    work, out, time = tmp_path / "work", tmp_path / "out.ndjson", Time(_HOUR)
    async with sink_of(work, out, time) as sink:
        sink.begin(TWO, QUERIES[TWO], None)
        await _write(sink, _THIRD, range(3))
    time.seconds -= 10.0
    async with sink_of(work, out, time) as sink:
        assert sink.standing(TWO) is not None, "clocks are set back a little all the time"
    time.seconds -= _HOUR
    async with sink_of(work, out, time) as sink:
        assert sink.standing(TWO) is None


async def test_nothing_is_resumable_before_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    work, out, time = tmp_path / "work", tmp_path / "out.ndjson", Time()
    sinks = [sink_of(work, out, time) for _ in range(2)]

    async def read(sink: FileSink) -> None:
        async with sink:
            sink.begin(TWO, QUERIES[TWO], None)
            await _write(sink, _THIRD, range(2))
            if sink is sinks[1]:
                time.seconds += 1.0
                await _write(sink, _THIRD, range(2, 3))  # and commits
            monkeypatch.setattr(os, "fdatasync", fail)
            time.seconds += 1.0
            await _write(sink, _THIRD, range(3, 4))

    for sink in sinks:
        with pytest.raises(OutputError):
            await read(sink)
        monkeypatch.undo()
    assert [sink.resumable for sink in sinks] == [False, True]
