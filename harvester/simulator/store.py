"""What is kept of an organization while it is served: targets in use, indexes, encoded pages.

All of it is bounded and can be made anew, so that memory does not follow the organization's size.
"""

from __future__ import annotations

from array import array
from collections import Counter, OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from harvester.simulator.target import FILTER_NAMES, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harvester.simulator.organization import Organization

_TARGETS: Final = 512
_INDEXES: Final = 512


class Query(NamedTuple):
    """A target with one filter, or with none where `name` is None."""

    account: str
    region: str
    name: str | None = None
    value: str = ""


class FindingIndex:
    """Which findings of a target have which value of a filter."""

    def __init__(self, target: Target) -> None:
        self._rows: dict[tuple[str, str], array[int]] = {}
        self._severities: list[str | None] = []
        for number in range(len(target.findings)):
            facets = target.facets(number)
            self._severities.append(facets.severity)
            for name, value in zip(FILTER_NAMES, facets, strict=True):
                if value is not None:
                    self._rows.setdefault((name, value), array("L")).append(number)

    def rows(self, name: str, value: str) -> Sequence[int]:
        """The numbers of the findings that have this value, in their order."""
        return self._rows.get((name, value), ())

    def severities(
        self, name: str | None = None, value: str = "", *, lag: int = 0
    ) -> Counter[str | None]:
        """How many findings there are of each severity, of all or of those with a value.

        The last `lag` findings of the target are not counted.
        """
        counted = max(0, len(self._severities) - lag)
        if name is None:
            return Counter(self._severities[:counted])
        rows = self.rows(name, value)
        return Counter(self._severities[number] for number in rows if number < counted)


class Store:
    """Reads an organization; `page_cache_bytes` bounds the encoded pages that are kept."""

    def __init__(self, organization: Organization, page_cache_bytes: int) -> None:
        self._budget = page_cache_bytes
        self._pages: OrderedDict[tuple[Query, int, int], bytes] = OrderedDict()
        self._held = 0
        self._organization = organization
        self.target = lru_cache(_TARGETS)(self._target)
        self.index = lru_cache(_INDEXES)(self._index)

    def exchange(self, organization: Organization) -> None:
        """Serve another organization from now on: the same one with other findings."""
        self._organization = organization
        self.target.cache_clear()
        self.index.cache_clear()
        self._pages.clear()
        self._held = 0

    def _target(self, account: str, region: str) -> Target:
        return self._organization.target(account, region)

    def _index(self, account: str, region: str) -> FindingIndex:
        return FindingIndex(self.target(account, region))

    def rows(self, query: Query) -> Sequence[int]:
        """The numbers of the findings that a query is about."""
        if query.name is None:
            return range(len(self.target(query.account, query.region).findings))
        return self.index(query.account, query.region).rows(query.name, query.value)

    def page(self, query: Query, start: int, size: int) -> bytes:
        """The findings of a query from row `start` on, at most `size`, as a JSON list."""
        key = (query, start, size)
        page = self._pages.get(key)
        if page is not None:
            self._pages.move_to_end(key)
            return page
        findings = self.target(query.account, query.region).findings
        rows = self.rows(query)[start : start + size]
        page = orjson.dumps([findings[number] for number in rows])
        self._keep(key, page)
        return page

    def _keep(self, key: tuple[Query, int, int], page: bytes) -> None:
        self._pages[key] = page
        self._held += len(page)
        while self._held > self._budget:
            self._held -= len(self._pages.popitem(last=False)[1])
