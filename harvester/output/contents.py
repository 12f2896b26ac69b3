"""What the spool holds, by target and query, and where each query stands: no I/O."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harvester.model import Condition, Cursor, Page, Query, Standing, Target

_NOTHING: Mapping[str, int] = {}


@dataclass(slots=True)
class _Held:
    """One query: where it stands, and where its pages are, as pairs of offset and length.

    `saved` is how many items of `places` the journal knows.
    """

    cursor: Cursor = field(default_factory=Cursor)
    places: array[int] = field(default_factory=lambda: array("q"))
    saved: int = 0


@dataclass(slots=True)
class _Mark:
    """One target: what a cut of it should hold, or, once it is complete, what it gave."""

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

    def begin(self, target: Target, queries: Sequence[Query], expected: int | None) -> None:
        """Note by which queries a target is read; what others have written is dropped."""
        wanted = set(queries)
        self.drop([query for query in self._held.get(target, ()) if query not in wanted])
        held = self._held.setdefault(target, {})
        for query in queries:
            if query not in held:
                held[query] = _Held()
                self._changed[query] = None
        self._marks[target] = _Mark(expected)
        self._marked[target] = None

    def add(self, query: Query, page: Page) -> None:
        """Note a page that was written at the end of the spool."""
        held = self._held.setdefault(query.target, {}).setdefault(query, _Held())
        held.cursor = held.cursor.after(page)
        places, size = held.places, len(page.text)
        if len(places) > held.saved and places[-2] + places[-1] == self.end:
            places[-1] += size
        elif size:
            places.extend((self.end, size))
        self.end += size
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

    def finish(self, target: Target) -> None:
        """Note that a target was read whole: no cursor of it is needed any more."""
        mark, severities = _Mark(complete=True), Counter[str]()
        held = self._held.get(target, {})
        for query, one in list(held.items()):
            mark.pages += one.cursor.pages
            severities.update(one.cursor.severities)
            one.cursor = _DONE
            if not one.places:
                del held[query]
                self._changed.pop(query, None)
        if not held:
            self._held.pop(target, None)
        mark.severities = dict(severities) or _NOTHING
        self._marks[target] = mark
        self._marked[target] = None

    @property
    def is_blank(self) -> bool:
        """Whether nothing was read yet: no target whole, and no page of another."""
        return not (
            any(mark.complete for mark in self._marks.values())
            or any(one.cursor.pages for held in self._held.values() for one in held.values())
        )

    def places(self, target: Target) -> dict[Query, array[int]]:
        """Return where the pages of a target's queries are: pairs of offset and length."""
        held = self._held.get(target, {})
        return {query: one.places for query, one in held.items() if one.places}

    def targets(self) -> list[Target]:
        """Return the targets that something was written for."""
        return [target for target, held in self._held.items() if held]

    def changes(self) -> dict[str, Any] | None:
        """Return what is new since the last time, as JSON, None where nothing is."""
        if not (self._changed or self._dropped or self._marked):
            return None
        record = {
            "end": self.end,
            "dropped": [_query_as_json(query) for query in self._dropped],
            "targets": [_mark_as_json(target, self._marks[target]) for target in self._marked],
            "queries": [self._as_json(query) for query in self._changed],
        }
        self._changed, self._dropped, self._marked = {}, {}, {}
        return record

    def everything(self) -> dict[str, Any]:
        """Return all of it, as JSON."""
        for held in self._held.values():
            for query, one in held.items():
                one.saved = 0
                self._changed[query] = None
        self._marked, self._dropped = dict.fromkeys(self._marks), {}
        return self.changes() or {"end": self.end, "dropped": [], "targets": [], "queries": []}

    def apply(self, record: Mapping[str, Any]) -> None:
        """Take over what `changes` returned in an earlier run.

        Raises:
            KeyError, TypeError, ValueError, IndexError: it is none of that.
        """
        self.drop([_query_of(item) for item in record["dropped"]])
        for account, region, expected, complete, pages, severities in record["targets"]:
            target = Target(account, region)
            self._marks[target] = _Mark(expected, complete, pages, severities)
            if complete:
                self._held[target] = {
                    query: one for query, one in self._held.get(target, {}).items() if one.places
                }
        for *query, token, done, pages, severities, places in record["queries"]:
            held = self._held.setdefault(Target(*query[:2]), {}).setdefault(
                _query_of(query), _Held()
            )
            held.cursor = Cursor(token, done=done, pages=pages, severities=severities)
            held.places.extend(places)
            held.saved = len(held.places)
        self.end = record["end"]
        self._changed, self._dropped, self._marked = {}, {}, {}

    def _as_json(self, query: Query) -> list[Any]:
        held = self._held[query.target][query]
        cursor, new = held.cursor, held.places[held.saved :].tolist()
        held.saved = len(held.places)
        state = [cursor.token, cursor.done, cursor.pages, dict(cursor.severities), new]
        return [*_query_as_json(query), *state]


_DONE = Cursor(None, done=True)


def _mark_as_json(target: Target, mark: _Mark) -> list[Any]:
    state = [mark.expected, mark.complete, mark.pages, dict(mark.severities)]
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
