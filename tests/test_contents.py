"""What the spool holds: whatever happens between two commits, a crash leads back to the last."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from harvester.model import Condition, Cursor, Facets, Page, Query, Standing, Target
from harvester.output.contents import Contents
from harvester.output.extents import SIZE, checksum, each_extent

TARGETS = [Target("111111111111", "eu-west-1"), Target("222222222222", "us-east-1")]
QUERIES = {
    target: [
        Query(target),
        Query(target, "severity", "HIGH"),
        Query(target, "severity", "LOW"),
        Query(target, "imagePipelineArn", "\ud800", (Condition("severity", ("HIGH", "LOW")),)),
    ]
    for target in TARGETS
}
_SEVERITIES = st.lists(st.sampled_from(["HIGH", "LOW", "", "\udfff"]), max_size=3)


def page(number: int, severities: Sequence[str], token: str | None) -> Page:
    """A page whose lines are like no other page's."""
    lines = [b'{"page":%d,"line":%d}\n' % (number, line) for line in range(len(severities))]
    return Page(b"".join(lines), [Facets(severity=one) for one in severities], token)


@dataclass
class Read:
    """What one query has given, and where it stands."""

    text: bytes = b""
    cursor: Cursor = field(default_factory=Cursor)
    since: float | None = None

    def add(self, one: Page, at: float) -> None:
        self.since = at if self.since is None else self.since
        self.text += one.text
        self.cursor = self.cursor.after(one)


@dataclass
class Known:
    """What is to be known of one target."""

    expected: int | None = None
    complete: bool = False
    queries: dict[Query, Read] = field(default_factory=dict)
    since: float = 0.0

    @property
    def read_at(self) -> float | None:
        """When the oldest of it was read."""
        if self.complete:
            return self.since
        times = [read.since for read in self.queries.values() if read.since is not None]
        return min([*times, *([self.since] if self.expected is not None else [])], default=None)

    @property
    def standing(self) -> Standing:
        reads = self.queries
        if not self.complete:
            cursors = {query: read.cursor for query, read in reads.items()}
            return Standing(complete=False, expected=self.expected, cursors=cursors)
        counts = Counter[str]()
        for read in reads.values():
            counts.update(read.cursor.severities)
        pages = sum(read.cursor.pages for read in reads.values())
        query = Query(next(iter(reads)).target)
        whole = {query: Cursor(None, done=True, pages=pages, severities=dict(counts))}
        return Standing(complete=True, expected=None, cursors=whole)


class Crashes(RuleBasedStateMachine):
    """Contents beside a plain model of what they should be, and a spool and journal in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.contents = Contents()
        self.spool = bytearray()
        self.known: dict[Target, Known] = {}
        self.journal: list[str] = []
        self.committed: tuple[dict[Target, Known], int] = ({}, 0)
        self.pages = 0
        self.time = 100.0

    def _now(self) -> float:
        self.time += 1.0
        return self.time

    def _open(self) -> list[Query]:
        return [
            query
            for known in self.known.values()
            for query, read in known.queries.items()
            if not known.complete and not read.cursor.done
        ]

    @rule(data=st.data(), expected=st.none() | st.integers(0, 99))
    def begin(self, data: st.DataObject, expected: int | None) -> None:
        closed = [target for target, known in self.known.items() if known.complete]
        target = data.draw(st.sampled_from(TARGETS))
        if target in closed:
            return
        queries = data.draw(st.lists(st.sampled_from(QUERIES[target]), min_size=1, unique=True))
        at = self._now()
        self.contents.begin(target, queries, expected, at)
        before = self.known.get(target, Known())
        kept = {query: read for query, read in before.queries.items() if query in queries}
        more = {query: Read() for query in queries if query not in kept}
        since = before.since if before.expected == expected is not None else at
        self.known[target] = Known(expected, complete=False, queries={**kept, **more}, since=since)

    @precondition(lambda self: self._open())
    @rule(data=st.data(), pages=st.lists(_SEVERITIES, min_size=1, max_size=6), last=st.booleans())
    def add(self, data: st.DataObject, pages: list[list[str]], *, last: bool) -> None:
        for severities in pages:
            query = data.draw(st.sampled_from(self._open()))
            self.pages += 1
            one = page(self.pages, severities, f"token {self.pages} \udc00")
            self._add(query, one)
        if last:
            self._add(query, page(self.pages, [], None))

    def _add(self, query: Query, one: Page) -> None:
        self.spool[self.contents.end :] = one.text
        at = self._now()
        self.contents.add(query, one, one.text, at)
        self.known[query.target].queries[query].add(one, at)

    @precondition(lambda self: self._open())
    @rule(data=st.data())
    def replace(self, data: st.DataObject) -> None:
        by = data.draw(st.sampled_from(self._open()))
        queries = self.known[by.target].queries
        others = data.draw(st.lists(st.sampled_from(list(queries)), unique=True))
        self.contents.replace([*others, by], by)
        for query in others:
            queries.pop(query)
        queries[by] = Read()

    @precondition(lambda self: self._open())
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        target = data.draw(st.sampled_from(self._open())).target
        known, at = self.known[target], self._now()
        self.contents.finish(target, at)
        since = known.read_at
        known.complete, known.since = True, at if since is None else since

    @rule()
    def commit(self) -> None:
        record = self.contents.changes()
        if record is not None:
            self.journal.append(json.dumps(record))
        self._note()

    @rule()
    def compact(self) -> None:
        self.journal = [json.dumps(self.contents.everything())]
        self._note()

    def _note(self) -> None:
        self.committed = deepcopy(self.known), self.contents.end

    @rule(garbage=st.binary(max_size=10), lost=st.booleans())
    def crash(self, garbage: bytes, *, lost: bool) -> None:
        if lost:
            self.contents.changes()  # a record that did not reach the disk
        self.contents = Contents()
        for line in self.journal:
            self.contents.apply(json.loads(line))
        self.known, end = deepcopy(self.committed[0]), self.committed[1]
        assert self.contents.end == end <= len(self.spool)
        self.spool[end:] = garbage  # overwritten by what comes next
        assert self.contents.changes() is None, "what was restored is not new"

    @invariant()
    def it_says_where_each_target_stands(self) -> None:
        for target in TARGETS:
            known = self.known.get(target)
            assert self.contents.standing(target) == (known.standing if known else None)
            assert self.contents.read_at(target) == (known.read_at if known else None)

    @invariant()
    def the_places_are_those_of_the_pages(self) -> None:
        found = {target: self._texts(target) for target in TARGETS}
        assert found == {
            target: {query: read.text for query, read in known.queries.items() if read.text}
            for target in TARGETS
            for known in [self.known.get(target, Known())]
        }
        read = {target for target, known in self.known.items() if known.complete or found[target]}
        assert read & set(self.contents.targets()) == {one for one in read if found[one]}

    @invariant()
    def the_checksums_are_those_of_the_pages(self) -> None:
        for _, places in self.contents.all_places():
            for start, length, wanted in each_extent(places):
                assert checksum(bytes(self.spool[start : start + length])) == wanted

    def _texts(self, target: Target) -> dict[Query, bytes]:
        return {
            query: b"".join(
                self.spool[start : start + length] for start, length, _ in each_extent(places)
            )
            for query, places in self.contents.places(target).items()
        }


TestCrashes = Crashes.TestCase
TestCrashes.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def _add(contents: Contents, query: Query, one: Page, at: float = 1.0) -> None:
    contents.add(query, one, one.text, at)


def _some() -> Contents:
    contents = Contents()
    target = TARGETS[0]
    contents.begin(target, QUERIES[target][1:3], 7, 1.0)
    _add(contents, QUERIES[target][1], page(1, ["HIGH"], "a"))
    return contents


def test_pages_that_follow_each_other_are_one_place() -> None:
    contents, query = _some(), QUERIES[TARGETS[0]][1]
    _add(contents, query, page(2, ["HIGH", "HIGH"], "b"))
    (places,) = contents.places(TARGETS[0]).values()
    assert places[:2].tolist() == [0, contents.end]

    contents.changes()
    _add(contents, query, page(3, ["HIGH"], "c"))
    (places,) = contents.places(TARGETS[0]).values()
    assert len(places) == 2 * SIZE, "what the journal knows is not changed any more"


def test_nothing_new_is_no_record() -> None:
    contents = _some()
    assert contents.changes()
    assert contents.changes() is None


@pytest.mark.parametrize(
    "changes",
    [
        {"queries": [["1", "r", "", "", []]]},
        {"queries": [["1", "r", "", "", [["severity", 1]], None, False, 1, {}, []]]},
        {"queries": [["1", "r", "", "", [], None, False, 1, {}, 1.0, ["x", 1, 1]]]},
        {"queries": [["1", "r", "", "", [], None, False, 1, {}, 1.0, [0, 1]]]},
        {"queries": [["1", "r", "", "", [], None, False, 1, {}, 1.0, [-1, 1, 1]]]},
        {"queries": [["1", "r", "", "", [], None, False, 1, {}, "now", []]]},
        {"targets": [["1"]]},
        {"dropped": [[]]},
        {"dropped": None},
    ],
)
def test_what_is_no_record_is_an_error(changes: dict[str, Any]) -> None:
    record = {"end": 0, "dropped": [], "targets": [], "queries": [], **changes}
    with pytest.raises((KeyError, TypeError, ValueError, IndexError, OverflowError)):
        Contents().apply(record)


def test_an_empty_target_that_is_complete_needs_no_file() -> None:
    contents, target = Contents(), TARGETS[0]
    contents.begin(target, QUERIES[target][:1], None, 1.0)
    records = [contents.changes()]
    _add(contents, QUERIES[target][0], page(1, [], None))
    contents.finish(target, 2.0)
    records.append(contents.changes())
    restored = Contents()
    for record in records:
        assert record is not None
        restored.apply(record)

    assert contents.targets() == restored.targets() == []
    assert restored.standing(target) == contents.standing(target)


def _read(queries: Sequence[Query], expected: int | None) -> Contents:
    contents = Contents()
    contents.begin(queries[0].target, queries, expected, 1.0)
    for number, query in enumerate(queries):
        _add(contents, query, page(number, ["HIGH"], None), at=10.0 + number)
    contents.finish(queries[0].target, 20.0)
    return contents


def test_forgetting_a_query_of_a_complete_target_keeps_the_others() -> None:
    target = TARGETS[0]
    _, first, second, _ = QUERIES[target]
    contents = _read([first, second], None)
    contents.forget_query(first)

    standing = contents.standing(target)
    assert standing is not None
    assert not standing.complete
    assert set(standing.cursors) == {second}
    assert standing.cursors[second].done
    assert contents.read_at(target) == 11.0
    assert list(contents.places(target)) == [second]


def test_forgetting_a_query_of_a_split_forgets_the_target() -> None:
    target = TARGETS[0]
    _, first, second, _ = QUERIES[target]
    contents = _read([first, second], 2)
    contents.forget_query(first)

    assert contents.standing(target) is None
    assert contents.read_at(target) is None
    assert contents.is_blank


def test_a_restored_target_knows_whether_it_was_split() -> None:
    target = TARGETS[0]
    _, first, second, _ = QUERIES[target]
    restored = Contents()
    restored.apply(json.loads(json.dumps(_read([first, second], 2).everything())))
    restored.forget_query(first)

    assert restored.standing(target) is None


def test_the_oldest_page_decides_when_a_target_was_read() -> None:
    target = TARGETS[0]
    _, first, second, _ = QUERIES[target]
    contents = Contents()
    contents.begin(target, [first, second], None, 1.0)
    assert contents.read_at(target) is None, "nothing of it was read"
    _add(contents, second, page(1, ["HIGH"], "a"), at=5.0)
    _add(contents, first, page(2, ["HIGH"], None), at=7.0)
    contents.begin(target, [first, second], None, 100.0)
    _add(contents, second, page(3, ["HIGH"], None), at=101.0)
    assert contents.read_at(target) == 5.0
    contents.replace([second], second)
    _add(contents, second, page(4, ["HIGH"], None), at=102.0)
    assert contents.read_at(target) == 7.0
    contents.finish(target, 103.0)
    assert contents.read_at(target) == 7.0
