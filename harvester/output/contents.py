"""What the spool holds, by target and query, and where each query stands: no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harvester.model import Condition, Cursor, Page, Query, Standing, Target
from harvester.output.extents import SIZE, Extents, append, no_extents

_NOTHING: Mapping[str, int] = {}


@dataclass(slots=True)
class _Held:
    """One query: where it stands, where its pages are, and when the first of them was read.

    `saved` is how many numbers of `places` the journal knows.
    """

    cursor: Cursor = field(default_factory=Cursor)
    places: Extents = field(default_factory=no_extents)
    saved: int = 0
    since: float | None = None


@dataclass(slots=True)
class _Mark:
    """One target: what a split of it should hold, and, once it is complete, what it gave.

    `since` is when the oldest part of this was read.
    """

    since: float
    expected: int | None = None
    complete: bool = False
    pages: int = 0
    severities: Mapping[str, int] = field(default_factory=dict)


class Contents:
    """The queries whose pages are in the spool.

    It changes with each page; `changes` and `apply` carry it from one run to the next.

    Attributes:
        end: how many bytes of the spool are in use.
    """

    def __init__(self) -> None:
        self.end = 0
        self._held: dict[Target, dict[Query, _Held]] = {}
        self._marks: dict[Target, _Mark] = {}
        self._changed: dict[Query, None] = {}
        self._dropped: dict[Query, None] = {}
        self._marked: dict[Target, None] = {}
        self._published: set[Target] = set()
        self._newly_published: dict[Target, None] = {}

    def standing(self, target: Target) -> Standing | None:
        """Return where a target stands, None where nothing of it is known."""
        mark = self._marks.get(target)
        if mark is None:
            return None
        if mark.complete:
            whole = Cursor(None, done=True, pages=mark.pages, severities=mark.severities)
            return Standing(complete=True, expected=None, cursors={Query(target): whole})
        cursors = {query: held.cursor for query, held in self._held.get(target, {}).items()}
        return Standing(complete=False, expected=mark.expected, cursors=cursors)

    def find(self, target: Target, at: float) -> None:
        """Note that a target is to be read."""
        if target not in self._marks:
            self._marks[target] = _Mark(at)
            self._marked[target] = None

    def begin(
        self, target: Target, queries: Sequence[Query], expected: int | None, at: float
    ) -> None:
        """Note by which queries a target is read; what others have written is dropped."""
        wanted = set(queries)
        self.drop([query for query in self._held.get(target, ()) if query not in wanted])
        held = self._held.setdefault(target, {})
        for query in queries:
            if query not in held:
                held[query] = _Held()
                self._changed[query] = None
        before = self._marks.get(target)
        same = before is not None and expected is not None and before.expected == expected
        self._marks[target] = _Mark(before.since if before and same else at, expected)
        self._marked[target] = None
        self.withdraw(target)

    def add(self, query: Query, page: Page, stored: bytes, at: float) -> None:
        """Note a page that was read at a time, and stored as these bytes at the spool's end."""
        held = self._held.setdefault(query.target, {}).setdefault(query, _Held())
        held.cursor = held.cursor.after(page)
        held.since = at if held.since is None else held.since
        append(held.places, self.end, stored, committed=held.saved)
        self.end += len(stored)
        self._changed[query] = None

    def replace(self, queries: Iterable[Query], by: Query) -> None:
        """Withdraw what was written for some queries; `by` begins (again)."""
        self.drop(queries)
        self._held.setdefault(by.target, {})[by] = _Held()
        self._changed[by] = None

    def drop(self, queries: Iterable[Query]) -> None:
        """Withdraw what was written for some queries."""
        for query in queries:
            if self._held.get(query.target, {}).pop(query, None) is not None:
                self._dropped[query] = None
                self._changed.pop(query, None)

    def finish(self, target: Target, at: float) -> None:
        """Note that a target was read whole, at this time."""
        before = self._marks.get(target)
        expected = before.expected if before else None
        since = self.read_at(target)
        mark = _Mark(at if since is None else since, expected, complete=True)
        severities = Counter[str]()
        held = self._held.get(target, {})
        for query, one in list(held.items()):
            mark.pages += one.cursor.pages
            severities.update(one.cursor.severities)
            if not one.places:
                del held[query]
                self._changed.pop(query, None)
        if not held:
            self._held.pop(target, None)
        mark.severities = dict(severities) or _NOTHING
        self._marks[target] = mark
        self._marked[target] = None

    def publish(self, targets: Iterable[Target]) -> None:
        """Note that complete targets were published."""
        for target in targets:
            self._published.add(target)
            self._newly_published[target] = None

    def withdraw(self, target: Target) -> None:
        """Note that a target has to be published (again)."""
        self._published.discard(target)
        self._newly_published.pop(target, None)

    def is_published(self, target: Target) -> bool:
        """Return whether a target was published."""
        return target in self._published

    def unpublished(self) -> list[Target]:
        """Return the complete targets that can be published.

        Targets of which no page was read, since no pipeline of theirs is selected, are among
        them once another target has pages: a selection that matches nothing replaces nothing.
        """
        whole = {one: mark for one, mark in self._marks.items() if mark.complete}
        matched = any(mark.pages for mark in whole.values())
        return [one for one in whole if matched and one not in self._published]

    @property
    def is_blank(self) -> bool:
        """Whether nothing was read yet: no target whole, and no page of another."""
        return not (
            any(mark.complete for mark in self._marks.values())
            or any(one.cursor.pages for held in self._held.values() for one in held.values())
        )

    def read_at(self, target: Target) -> float | None:
        """Return when the oldest part of a target was read, None where nothing of it was."""
        mark = self._marks.get(target)
        times = [one.since for one in self._held.get(target, {}).values() if one.since is not None]
        if mark is not None and (mark.complete or mark.expected is not None):
            times.append(mark.since)
        return min(times, default=None)

    def all_targets(self) -> list[Target]:
        """Return the targets of which anything is known."""
        return list({**self._marks, **self._held})

    def all_places(self) -> Iterator[tuple[Query, Extents]]:
        """Yield each query with pages, and where they are."""
        for held in self._held.values():
            for query, one in held.items():
                if one.places:
                    yield query, one.places

    def forget(self, target: Target) -> None:
        """Forget all of a target, which has to be read again."""
        self.drop(list(self._held.get(target, ())))
        self.withdraw(target)
        self._held.pop(target, None)
        self._marks.pop(target, None)
        self._marked.pop(target, None)

    def forget_query(self, query: Query) -> None:
        """Forget a query, which has to be read again; its target with it if that was split."""
        mark = self._marks.get(query.target)
        if mark is None or mark.expected is not None:
            self.forget(query.target)
            return
        self.drop([query])
        self.withdraw(query.target)
        self._marks[query.target] = _Mark(mark.since)

    def places(self, target: Target) -> dict[Query, Extents]:
        """Return where the pages of a target's queries are."""
        held = self._held.get(target, {})
        return {query: one.places for query, one in held.items() if one.places}

    def severities(self, target: Target) -> Counter[str]:
        """Return how many of a target's findings have each severity."""
        counts = Counter[str]()
        for one in self._held.get(target, {}).values():
            counts.update(one.cursor.severities)
        return counts

    def targets(self) -> list[Target]:
        """Return the targets that something was written for."""
        return [target for target, held in self._held.items() if held]

    def read_targets(self) -> list[Target]:
        """Return the targets that at least one page was read of."""
        return [
            target
            for target, held in self._held.items()
            if any(one.cursor.pages or one.places for one in held.values())
        ]

    def changes(self) -> dict[str, Any] | None:
        """Return what is new since the last time, as JSON, None where nothing is."""
        if not (self._changed or self._dropped or self._marked or self._newly_published):
            return None
        record = {
            "end": self.end,
            "dropped": [_query_as_json(query) for query in self._dropped],
            "targets": [_mark_as_json(target, self._marks[target]) for target in self._marked],
            "queries": [self._as_json(query) for query in self._changed],
            "published": [[one.account, one.region] for one in self._newly_published],
        }
        self._changed, self._dropped, self._marked, self._newly_published = {}, {}, {}, {}
        return record

    def everything(self) -> dict[str, Any]:
        """Return all of it, as JSON."""
        for held in self._held.values():
            for query, one in held.items():
                one.saved = 0
                self._changed[query] = None
        self._marked, self._dropped = dict.fromkeys(self._marks), {}
        self._newly_published = dict.fromkeys(self._published)
        return self.changes() or {"end": self.end, "dropped": [], "targets": [], "queries": []}

    def apply(self, record: Mapping[str, Any]) -> None:
        """Take over what `changes` returned in an earlier run.

        Raises:
            KeyError, TypeError, ValueError, IndexError, OverflowError: it is not such a record.
        """
        self.drop([_query_of(item) for item in record["dropped"]])
        for account, region, since, expected, complete, pages, severities in record["targets"]:
            target = Target(account, region)
            self._marks[target] = _Mark(float(since), expected, complete, pages, severities)
            self._published.discard(target)
            if complete:
                self._held[target] = {
                    query: one for query, one in self._held.get(target, {}).items() if one.places
                }
        for *query, token, done, pages, severities, since, places in record["queries"]:
            if len(places) % SIZE:
                raise ValueError("an extent is incomplete")
            held = self._held.setdefault(Target(*query[:2]), {}).setdefault(
                _query_of(query), _Held()
            )
            held.cursor = Cursor(token, done=done, pages=pages, severities=severities)
            held.since = None if since is None else float(since)
            held.places.extend(places)
            held.saved = len(held.places)
        self._published.update(Target(*one) for one in record.get("published", ()))
        self.end = record["end"]
        self._changed, self._dropped, self._marked, self._newly_published = {}, {}, {}, {}

    def _as_json(self, query: Query) -> list[Any]:
        held = self._held[query.target][query]
        cursor, new = held.cursor, held.places[held.saved :].tolist()
        held.saved = len(held.places)
        state = [cursor.token, cursor.done, cursor.pages, dict(cursor.severities), held.since, new]
        return [*_query_as_json(query), *state]


def _mark_as_json(target: Target, mark: _Mark) -> list[Any]:
    state = [mark.since, mark.expected, mark.complete, mark.pages, dict(mark.severities)]
    return [target.account, target.region, *state]


def _query_as_json(query: Query) -> list[Any]:
    conditions = [[one.name, list(one.values)] for one in query.conditions]
    return [query.target.account, query.target.region, query.name, query.value, conditions]


def _query_of(item: Sequence[Any]) -> Query:
    account, region, name, value, conditions = item
    return Query(
        Target(account, region),
        name,
        value,
        tuple(Condition(field, tuple(values)) for field, values in conditions),
    )
