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

    def add(self, one: Page) -> None:
        self.text += one.text
        self.cursor = self.cursor.after(one)


@dataclass
class Known:
    """What is to be known of one target."""

    expected: int | None = None
    complete: bool = False
    queries: dict[Query, Read] = field(default_factory=dict)

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
        self.contents.begin(target, queries, expected)
        before = self.known.get(target, Known()).queries
        kept = {query: read for query, read in before.items() if query in queries}
        more = {query: Read() for query in queries if query not in kept}
        self.known[target] = Known(expected, complete=False, queries={**kept, **more})

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
        self.contents.add(query, one)
        self.known[query.target].queries[query].add(one)

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
        self.contents.finish(target)
        self.known[target].complete = True

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

    def _texts(self, target: Target) -> dict[Query, bytes]:
        return {
            query: b"".join(
                self.spool[start : start + length]
                for start, length in zip(places[::2], places[1::2], strict=True)
            )
            for query, places in self.contents.places(target).items()
        }


TestCrashes = Crashes.TestCase
TestCrashes.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def _some() -> Contents:
    contents = Contents()
    target = TARGETS[0]
    contents.begin(target, QUERIES[target][1:3], 7)
    contents.add(QUERIES[target][1], page(1, ["HIGH"], "a"))
    return contents


def test_pages_that_follow_each_other_are_one_place() -> None:
    contents, query = _some(), QUERIES[TARGETS[0]][1]
    contents.add(query, page(2, ["HIGH", "HIGH"], "b"))
    (places,) = contents.places(TARGETS[0]).values()
    assert places.tolist() == [0, contents.end]

    contents.changes()
    contents.add(query, page(3, ["HIGH"], "c"))
    (places,) = contents.places(TARGETS[0]).values()
    assert len(places) == 4, "what the journal knows is not changed any more"


def test_nothing_new_is_no_record() -> None:
    contents = _some()
    assert contents.changes()
    assert contents.changes() is None


@pytest.mark.parametrize(
    "changes",
    [
        {"queries": [["1", "r", "", "", []]]},
        {"queries": [["1", "r", "", "", [["severity", 1]], None, False, 1, {}, []]]},
        {"queries": [["1", "r", "", "", [], None, False, 1, {}, ["x", 1]]]},
        {"targets": [["1"]]},
        {"dropped": [[]]},
        {"dropped": None},
    ],
)
def test_what_is_no_record_is_an_error(changes: dict[str, Any]) -> None:
    record = {"end": 0, "dropped": [], "targets": [], "queries": [], **changes}
    with pytest.raises((KeyError, TypeError, ValueError, IndexError)):
        Contents().apply(record)


def test_an_empty_target_that_is_complete_needs_no_file() -> None:
    contents, target = Contents(), TARGETS[0]
    contents.begin(target, QUERIES[target][:1], None)
    records = [contents.changes()]
    contents.add(QUERIES[target][0], page(1, [], None))
    contents.finish(target)
    records.append(contents.changes())
    restored = Contents()
    for record in records:
        assert record is not None
        restored.apply(record)

    assert contents.targets() == restored.targets() == []
    assert restored.standing(target) == contents.standing(target)
