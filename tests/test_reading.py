"""A target that another process reads: what it says is written, counted, and withdrawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import anyio.lowlevel
import pytest

from harvester.errors import DamagedAnswerError, HarvesterError
from harvester.model import Condition, Cursor, Page, Query, Standing, Target
from harvester.output.quarantine import Quarantine
from harvester.paging.learned import Learned
from harvester.processes.messages import Begun, Failure, Over, Replaced, Wrote
from harvester.processes.reading import Afresh, Place, Reading
from harvester.tally import Tally
from harvester.visit import Ended, Visit

_TARGET = Target("111122223333", "us-east-1")
_WHOLE = Query(_TARGET)
_HIGH, _LOW = (Query(_TARGET, "severity", value) for value in ("HIGH", "LOW"))
_PAGE = b'{"severity":"HIGH"}\n{"severity":"LOW"}\n'
_SEVERITIES = {"HIGH": 1, "LOW": 1}


class Sink:
    """Keeps what is written, by query."""

    def __init__(self, standing: Standing | None = None, *, withdraws: bool = True) -> None:
        self.withdraws = withdraws
        self.left = standing
        self.held: dict[Query, list[bytes]] = {}
        self.begun: list[tuple[tuple[Query, ...], int | None]] = []
        self.replaced: list[tuple[tuple[Query, ...], Query]] = []
        self.done = False

    def standing(self, target: Target) -> Standing | None:
        assert target == _TARGET
        return self.left

    def begin(self, target: Target, queries: Sequence[Query], expected: int | None) -> None:
        assert target == _TARGET
        self.begun.append((tuple(queries), expected))

    async def write(self, query: Query, page: Page) -> None:
        assert page.severities == Counter(_SEVERITIES)
        await anyio.lowlevel.checkpoint()
        self.held.setdefault(query, []).append(page.text)

    async def replace(self, queries: Sequence[Query], by: Query) -> None:
        self.replaced.append((tuple(queries), by))
        for query in queries:
            self.held.pop(query, None)

    async def finished(self, target: Target) -> None:
        assert target == _TARGET
        self.done = True

    @property
    def findings(self) -> int:
        return sum(text.count(b"\n") for texts in self.held.values() for text in texts)


class Bench:
    """A reading with its sink and tally, which must always agree."""

    def __init__(
        self,
        standing: Standing | None = None,
        *,
        withdraws: bool = True,
        folder: Path | None = None,
        filtered: bool = False,
    ) -> None:
        self.sink = Sink(standing, withdraws=withdraws)
        self.tally = Tally(lambda: 0.0)
        self.tally.found(_TARGET)
        place = Place(self.sink, Quarantine(folder), self.tally, filtered)
        self.reading = Reading(place, Visit(_TARGET, cast("Any", None), Learned(2.5)))

    async def write(self, query: Query, token: str | None) -> None:
        await self.reading.wrote(Wrote(query, token, _SEVERITIES), _PAGE)
        self.check()

    def check(self, before: int = 0) -> None:
        findings = self.sink.findings + before
        assert self.tally.findings == self.tally.open[_TARGET].findings == findings
        assert sum(self.tally.severities.values()) == findings

    async def end(self, failure: Failure | None = None, body: bytes = b"") -> Ended | None:
        self.reading.over(Over(_TARGET, failure, Learned(4.0, 3.0), None), body)
        return await self.reading.ended()


async def test_pages_are_written_and_counted() -> None:
    bench = Bench()
    order = bench.reading.order()
    assert (order.target, order.learned, order.standing) == (_TARGET, Learned(2.5), None)
    bench.reading.begun(Begun(_TARGET, (_WHOLE,), None))
    await bench.write(_WHOLE, "a")
    await bench.write(_WHOLE, None)
    await bench.reading.finished()
    ended = await bench.end()
    assert bench.sink.begun == [((_WHOLE,), None)]
    assert bench.sink.held == {_WHOLE: [_PAGE, _PAGE]}
    assert bench.sink.done
    assert (bench.tally.pages, bench.tally.findings) == (2, 4)
    assert ended == Ended(None, Learned(4.0, 3.0), None)


@pytest.mark.parametrize("token", [None, "b"])
async def test_what_a_reader_held_back_is_no_page_of_its_own(token: str | None) -> None:
    bench = Bench()
    bench.reading.begun(Begun(_TARGET, (_WHOLE,), None))
    await bench.write(_WHOLE, "a")
    await bench.write(_WHOLE, token)
    await bench.write(_WHOLE, token)  # released, where the chain stands
    assert bench.tally.pages == bench.tally.open[_TARGET].pages == 2
    assert bench.tally.findings == 6


async def test_what_starts_over_is_taken_back() -> None:
    bench = Bench()
    bench.reading.begun(Begun(_TARGET, (_HIGH, _LOW), 9))
    await bench.write(_HIGH, "a")
    await bench.write(_LOW, None)
    await bench.reading.replaced(Replaced((_HIGH,), _HIGH))
    bench.check()
    await bench.write(_HIGH, None)
    await bench.reading.replaced(Replaced((_HIGH, _LOW), _WHOLE))
    bench.check()
    assert bench.tally.findings == 0
    assert bench.tally.pages == 3, "they came all the same"


async def test_a_cut_that_was_not_all_is_taken_back_however_that_is_said() -> None:
    """A reader begins the whole before it withdraws the parts."""
    bench = Bench()
    bench.reading.begun(Begun(_TARGET, (_HIGH, _LOW), 9))
    await bench.write(_HIGH, None)
    bench.reading.begun(Begun(_TARGET, (_WHOLE,), None))
    await bench.reading.replaced(Replaced((_HIGH, _LOW), _WHOLE))
    bench.check()
    await bench.write(_WHOLE, None)
    assert bench.tally.findings == 2


async def test_what_an_earlier_run_read_counts_once_it_is_gone_on_with() -> None:
    cursors = {_HIGH: Cursor("t", pages=3, severities={"HIGH": 50}), _LOW: Cursor("u", pages=1)}
    standing = Standing(complete=False, expected=99, cursors=cursors)
    bench = Bench(standing)
    assert bench.reading.order().standing == standing
    assert bench.tally.pages == 0
    bench.reading.begun(Begun(_TARGET, (_HIGH,), None))
    assert (bench.tally.pages, bench.tally.findings) == (3, 50)
    await bench.reading.wrote(Wrote(_HIGH, None, _SEVERITIES), _PAGE)
    assert (bench.tally.pages, bench.tally.findings) == (4, 52)
    await bench.reading.replaced(Replaced((_HIGH,), _HIGH))
    assert bench.tally.findings == 0


async def test_what_an_earlier_run_read_counts_where_nothing_is_added() -> None:
    cursors = {_WHOLE: Cursor("t", pages=3, severities={"HIGH": 50})}
    bench = Bench(Standing(complete=False, expected=None, cursors=cursors))
    ended = await bench.end(Failure("HarvesterError", "no"))
    assert (bench.tally.pages, bench.tally.findings) == (3, 50)
    assert ended is not None
    assert str(ended.error) == "no"


async def test_a_reading_whose_process_died_can_be_done_anew() -> None:
    bench = Bench()
    bench.reading.order()
    bench.reading.begun(Begun(_TARGET, (_HIGH, _LOW), 9))
    await bench.write(_HIGH, "a")
    bench.reading.lost()
    assert await bench.reading.ended() is None
    assert await bench.reading.withdraw()
    bench.check()
    assert bench.sink.replaced == [((_HIGH, _LOW), _WHOLE)]
    assert bench.sink.findings == 0
    assert (bench.tally.findings, bench.tally.pages) == (0, 1)
    assert Afresh(bench.sink).standing(_TARGET) is None


@pytest.mark.parametrize("parts_replaced", [True, False])
async def test_what_cannot_be_withdrawn_is_remembered_for_one_chain(
    *, parts_replaced: bool
) -> None:
    bench = Bench(withdraws=False)
    bench.reading.begun(Begun(_TARGET, (_HIGH, _LOW), 9))
    await bench.write(_HIGH, "a")
    bench.reading.begun(Begun(_TARGET, (_WHOLE,), None))
    if parts_replaced:
        await bench.reading.replaced(Replaced((_HIGH, _LOW), _WHOLE))
    bench.reading.lost()
    assert await bench.reading.withdraw()
    (queries, by) = bench.sink.replaced[-1]
    assert by == _WHOLE
    assert set(queries) == {_WHOLE} if parts_replaced else {_HIGH, _WHOLE}


@pytest.mark.parametrize("conditions", [(), (Condition("vulnerabilityId", ("CVE-1",)),)])
async def test_queries_of_a_filter_begin_again_each(conditions: tuple[Condition, ...]) -> None:
    queries = tuple(Query(_TARGET, "severity", value, conditions) for value in ("HIGH", "LOW"))
    bench = Bench()
    bench.reading.begun(Begun(_TARGET, queries, None))
    await bench.write(queries[1], "a")
    bench.reading.lost()
    await bench.reading.withdraw()
    assert bench.sink.replaced == [((query,), query) for query in queries]
    bench.check()


async def test_a_filtered_chain_whose_count_is_known_is_no_split() -> None:
    bench = Bench(filtered=True)
    bench.reading.begun(Begun(_TARGET, (_HIGH,), 9))
    await bench.write(_HIGH, "a")
    assert await bench.reading.withdraw()
    assert bench.sink.replaced == [((_HIGH,), _HIGH)]
    bench.check()


async def test_what_an_earlier_run_read_is_not_withdrawn_before_anything_was_said() -> None:
    cursors = {_WHOLE: Cursor("t", pages=3, severities={"HIGH": 50})}
    standing = Standing(complete=False, expected=None, cursors=cursors)
    bench = Bench(standing)
    bench.reading.lost()
    assert not await bench.reading.withdraw()
    assert bench.sink.replaced == []
    assert bench.reading.order().standing == standing


async def test_what_died_after_the_last_word_is_done() -> None:
    bench = Bench()
    bench.reading.begun(Begun(_TARGET, (_WHOLE,), None))
    await bench.write(_WHOLE, None)
    await bench.reading.finished()
    bench.reading.lost()
    assert await bench.reading.ended() == Ended()


async def test_a_damaged_page_is_set_aside_here(tmp_path: Path) -> None:
    folder = tmp_path / "out.damaged"
    bench = Bench(folder=folder)
    error = DamagedAnswerError("DamagedAnswer", "what is this", operation="ListImageScanFindings")
    ended = await bench.end(Failure.of(error), b"<html>")
    (kept,) = folder.iterdir()
    assert kept.read_bytes() == b"<html>"
    assert ended is not None
    assert isinstance(ended.error, DamagedAnswerError)
    assert str(kept) in ended.error.message


async def test_an_error_without_a_body_stays_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "out.damaged"
    bench = Bench(folder=folder)
    error = DamagedAnswerError("DamagedAnswer", "what is this", operation="ListImagePipelines")
    ended = await bench.end(Failure.of(error))
    assert ended is not None
    assert isinstance(ended.error, HarvesterError)
    assert str(ended.error) == str(error)
    assert not folder.exists()
