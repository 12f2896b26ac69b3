"""An output whose run was killed, gone on with: each page once, and little of it read again."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest

from harvester.aws.bodies import page_of
from harvester.errors import OutputError
from harvester.model import Page, Query
from harvester.output.files import FileSink
from harvester.output.partitions import Partitions
from harvester.output.results import Results
from harvester.output.spool import NAME as SPOOL
from harvester.output.workspace import Workspace
from tests.spooled import (
    ONE,
    PAGES,
    QUERIES,
    TWO,
    Time,
    Watched,
    left_in,
    page,
    path_of,
    sink_of,
    text,
)


class KilledError(BaseException):
    """What ends a run without a word."""


@dataclass
class Sweeper:
    """Reads the queries' pages in random order; its runs are killed at random moments."""

    rng: random.Random
    out: Path
    time: Time = field(default_factory=Time)
    written: list[tuple[float, Query, int]] = field(default_factory=list)
    kills: int = 0
    lost: int = 0

    async def run(self, folder: Path, *, deadly: float) -> None:
        async with sink_of(folder, self.out, self.time) as sink:
            chains = self._begin(sink)
            while chains:
                await self._step(sink, chains, self.rng.choice(list(chains)))
                if self.rng.random() < deadly:
                    self.kills += 1
                    shutil.copytree(folder, folder.with_name(f"work {self.kills}"))
                    raise KilledError
            await sink.publish(Results(set(QUERIES)))

    def _begin(self, sink: FileSink) -> dict[Query, int]:
        """Return the queries that are not read to their end, each with its next page."""
        chains: dict[Query, int] = {}
        for target, queries in QUERIES.items():
            standing = sink.standing(target)
            if standing is not None and standing.complete:
                (whole,) = standing.cursors.values()
                assert whole.pages == PAGES * len(queries)
                continue
            cursors = standing.cursors if standing is not None else {}
            sink.begin(target, queries, 5)
            for query in queries:
                cursor = cursors.get(query)
                chains[query] = cursor.pages if cursor is not None else 0
                if cursor is not None and cursor.pages:
                    assert cursor.token == (None if cursor.done else f"{cursor.pages}")
        # What was written a second before the last page, or earlier, is not read again.
        durable = self.written[-1][0] - 1.0 if self.written else 0.0
        again = [one for one in self.written if one[2] >= chains.get(one[1], PAGES)]
        self.lost += len(again)
        assert all(time > durable for time, _, _ in again)
        self.written = [one for one in self.written if one not in again]
        return chains

    async def _step(self, sink: FileSink, chains: dict[Query, int], query: Query) -> None:
        number = chains[query]
        if number == PAGES:
            del chains[query]
            if all(other.target != query.target for other in chains):
                await sink.finished(query.target)
        elif self.rng.random() < 0.05:
            await sink.replace([query], query)
            self.written = [one for one in self.written if one[1] != query]
            chains[query] = 0
        else:
            self.time.seconds += self.rng.choice((0.0, 0.1, 0.6))
            await sink.write(query, page(query, number))
            self.written.append((self.time.seconds, query, number))
            chains[query] = number + 1


@pytest.mark.parametrize("seed", range(25))
async def test_however_often_it_is_killed_the_bytes_are_the_same(tmp_path: Path, seed: int) -> None:
    sweeper = Sweeper(random.Random(seed), tmp_path / "out.ndjson")
    while not sweeper.out.exists():
        folder = tmp_path / (f"work {sweeper.kills}" if sweeper.kills else "work")
        try:
            await sweeper.run(folder, deadly=0.1 if sweeper.kills < 12 else 0.0)
        except KilledError:
            assert not sweeper.out.exists()

    everything = [query for queries in QUERIES.values() for query in queries]
    assert sweeper.out.read_bytes() == b"".join(map(text, sorted(everything)))
    assert not folder.exists()


async def test_a_file_is_durable_before_it_has_its_name_and_its_work_is_removed_after_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, str]] = []
    out = tmp_path / "new" / "out"

    def note(name: str) -> None:
        real = getattr(os, name)

        def wrapper(place: int | Path, *rest: object) -> object:
            path = path_of(place) if isinstance(place, int) else Path(place)
            result = real(place, *rest)
            events.append((name, str(path.relative_to(tmp_path))))
            return result

        monkeypatch.setattr(os, name, wrapper)

    for name in ("fsync", "replace", "unlink", "rmdir"):
        note(name)
    layout = Partitions(out, ".ndjson")
    async with FileSink(Workspace(out / ".harvester"), layout) as sink:
        for query in QUERIES[ONE]:
            await sink.write(query, page(query, 3))
        del events[:]
        await sink.publish(Results({ONE}))
    monkeypatch.undo()

    account = "new/out/account=111111111111"
    synced, rest = events[2:5], events[5:]
    (_, synced_part), (_, moved_part) = events[:2]
    assert [name for name, _ in events[:2]] == ["fsync", "replace"]
    assert synced_part == moved_part
    assert synced_part.startswith("new/out/.harvester/part.")
    folders = ("new/out", account, f"{account}/region=eu-west-1")
    assert sorted(synced) == [("fsync", name) for name in folders]
    removed = [name.removeprefix("new/out/.harvester").lstrip("/") for _, name in rest]
    assert removed[0] == "journal", "a run that dies now leaves nothing to go on with"
    assert removed[-2:] == ["lock", ""]
    assert "spool" in removed


async def test_the_folders_made_for_an_output_are_durable_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, real = set[Path](), os.fsync

    def fsync(file: int) -> None:
        synced.add(path_of(file))
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    out = tmp_path / "a" / "b" / "out.ndjson"
    async with sink_of(out.with_name(".work"), out):
        monkeypatch.undo()
        assert synced >= {tmp_path, tmp_path / "a", tmp_path / "a" / "b"}


@pytest.mark.parametrize("failing", ["spool", "journal"])
async def test_nothing_is_committed_after_a_commit_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    work, time, query = tmp_path / "work", Time(), QUERIES[TWO][0]
    real = os.fdatasync

    def fdatasync(file: int) -> None:
        if path_of(file).name == failing:
            monkeypatch.undo()  # the next one would be well
            raise OSError(errno.EIO, "Input/output error")
        real(file)

    async with sink_of(work, tmp_path / "out.ndjson", time) as sink:
        sink.begin(TWO, [query], None)
        for number in range(6):
            time.seconds += 0.5
            if number == 5:
                monkeypatch.setattr(os, "fdatasync", fdatasync)
                with pytest.raises(OutputError, match="Input/output error"):
                    await sink.write(query, page(query, number))
                shutil.copytree(work, tmp_path / "at once")
                # Another task may come that far before it is cancelled.
                await sink.write(query, page(query, 6))
            else:
                await sink.write(query, page(query, number))
    for folder in (work, tmp_path / "at once"):
        left = left_in(folder)
        assert left is not None
        # The record is in the journal where only its sync failed, and what it says is true.
        assert left.held[query] == text(query, 6 if failing == "journal" else 4)


async def test_a_journal_that_grew_large_is_written_anew(tmp_path: Path) -> None:
    work, time, query = tmp_path / "work", Time(), QUERIES[TWO][0]
    sizes, pages = list[int](), 300
    async with sink_of(work, tmp_path / "out.ndjson", time) as sink:
        sink.begin(TWO, [query], None)
        for number in range(pages):
            time.seconds += 1.0
            one = page(query, number, last=pages)
            await sink.write(query, Page(one.text, one.facets, f"{number + 1}" * 30_000))
            sizes.append((work / "journal").stat().st_size)
            if sizes[-1] < sizes[-2:][0]:
                shutil.copytree(work, tmp_path / "anew")
    assert (tmp_path / "anew").exists()
    assert max(sizes) < 20 << 20
    # Killed while it was written anew: the old one is the journal, or the new one.
    read = []
    for folder in (tmp_path / "anew", work):
        (folder / "journal.new").write_bytes(b"half of a reco")
        left = left_in(folder)
        assert left is not None
        read.append(left.pages(query))
        assert left.held[query] == text(query, read[-1])
    assert 0 < read[0] < read[1] == pages


async def test_what_was_read_of_empty_targets_is_kept(tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "out.ndjson"
    async with sink_of(work, out) as sink:
        sink.begin(ONE, QUERIES[ONE], None)
    assert not work.exists(), "nothing was read"

    async with sink_of(work, out) as sink:
        sink.begin(ONE, QUERIES[ONE], None)
        await sink.write(QUERIES[ONE][0], page_of([], "2"))
    async with sink_of(work, out) as sink:
        standing = sink.standing(ONE)
        assert standing is not None
        assert standing.cursors[QUERIES[ONE][0]].token == "2"
        for query in QUERIES[ONE]:
            await sink.write(query, page_of([], None))
        await sink.finished(ONE)
    async with sink_of(work, out) as sink:
        standing = sink.standing(ONE)
        assert standing is not None
        assert standing.complete


async def test_a_target_that_is_no_longer_wanted_is_not_published(tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "out.ndjson"
    async with sink_of(work, out) as sink:
        for query in (*QUERIES[ONE], *QUERIES[TWO]):
            sink.begin(query.target, QUERIES[query.target], None)
            await sink.write(query, page(query, 3))
    async with sink_of(work, out) as sink:
        assert sink.standing(TWO) is not None
        await sink.publish(Results())

    assert out.read_bytes() == page(QUERIES[TWO][0], 3).text


async def test_what_cannot_be_removed_is_no_reason_to_fail_and_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    work, out = tmp_path / "work", tmp_path / "out.ndjson"
    real = os.unlink

    def unlink(path: str, **options: int) -> None:
        if Path(path).name == SPOOL:
            raise OSError(errno.EIO, "Input/output error")
        real(path, **options)

    monkeypatch.setattr(os, "unlink", unlink)
    async with sink_of(work, out) as sink:
        await sink.write(QUERIES[TWO][0], page(QUERIES[TWO][0], 3))
        await sink.publish(Results({TWO}))
    monkeypatch.undo()

    assert out.exists()
    assert "cannot be removed: Input/output error" in caplog.text
    assert sorted(path.name for path in work.iterdir()) == ["lock", "owner", SPOOL]
    assert left_in(work) is None
    async with sink_of(work, out) as sink:
        assert sink.standing(TWO) is None
    assert not work.exists()


async def test_a_timeout_of_asyncio_waits_for_the_thread_that_publishes(tmp_path: Path) -> None:
    """A thread that went on would read from a descriptor that is another file's by then."""
    work, out, query = tmp_path / "work", tmp_path / "out.ndjson", QUERIES[TWO][0]
    open_then = list[bool]()

    def look() -> None:
        anyio.from_thread.run_sync(task.cancel)
        threading.Event().wait(0.2)  # time enough for a caller that does not wait
        open_then.append(sink._spool._own is not None)

    async def sweep() -> None:
        async with sink:
            await sink.write(query, page(query, 3))
            await sink.publish(Results({TWO}))

    sink = FileSink(Workspace(work), Watched(out, before=look), clock=Time().clock)
    task = asyncio.create_task(sweep())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert open_then == [True]
    assert left_in(work) is not None
    assert not out.exists() or out.read_bytes() == page(query, 3).text


async def test_a_timeout_of_asyncio_waits_for_the_thread_that_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, query, time = tmp_path / "work", QUERIES[TWO][0], Time()
    real, open_then = os.fdatasync, list[bool]()

    def fdatasync(file: int) -> None:
        monkeypatch.undo()
        loop.call_soon_threadsafe(task.cancel)
        threading.Event().wait(0.2)
        open_then.append(sink._spool._own is not None)
        real(file)

    async def sweep() -> None:
        async with sink:
            sink.begin(TWO, [query], None)
            await sink.write(query, page(query, 0))
            monkeypatch.setattr(os, "fdatasync", fdatasync)
            time.seconds = 2.0
            await sink.write(query, page(query, 1))

    sink, loop = sink_of(work, tmp_path / "out.ndjson", time), asyncio.get_running_loop()
    task = asyncio.create_task(sweep())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert open_then == [True]
    left = left_in(work)
    assert left is not None
    assert left.held[query] == text(query, 2)
