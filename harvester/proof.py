"""The proof that a target is complete: what was read against what the service counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

from harvester.aws.counts import MEMBERS, VALUES_AT_ONCE, count_by, count_severities
from harvester.errors import CountMismatchError
from harvester.model import Query
from harvester.paging.channel import Channel
from harvester.paging.pager import Pager

_COUNTED_SEVERITIES = ("CRITICAL", "HIGH", "MEDIUM")


def can_be_counted(query: Query) -> bool:
    """Return whether the service counts what a query asks for."""
    if query.conditions:
        return False
    if query.name == "severity":
        return query.value in _COUNTED_SEVERITIES
    return query.name in MEMBERS or not query.name


def calls_to_count(queries: Sequence[Query]) -> int:
    """Return how many calls it takes to count what some queries ask for."""
    names = [query.name for query in queries if can_be_counted(query)]
    by_value = sum(ceil(names.count(name) / VALUES_AT_ONCE) for name in MEMBERS)
    return by_value + any(name not in MEMBERS for name in names)


async def count_queries(channel: Channel, queries: Sequence[Query]) -> dict[Query, int]:
    """Return what the service counts for those queries that it can count.

    Raises a `ServiceError` where the counts cannot be had.
    """
    counts: dict[Query, int] = {}
    countable = [query for query in queries if can_be_counted(query)]
    for name in MEMBERS:
        values = {query.value: query for query in countable if query.name == name}
        if values:
            counted = await count_by(channel, name, list(values))
            counts |= {query: counted[value] for value, query in values.items()}
    of_account = [query for query in countable if query.name not in MEMBERS]
    if of_account:
        severities = await count_severities(channel)
        for query in of_account:
            number = severities.get(query.value.lower() or "all")
            if number is not None:
                counts[query] = number
    return counts


def doubtful(
    pagers: Sequence[Pager], before: Mapping[Query, int], after: Mapping[Query, int]
) -> list[Pager]:
    """Return those that read another number of findings than the service counts.

    Findings may come and go while they are read: any number from the count before to the count
    after is what it should be.
    """
    return [
        pager
        for pager in pagers
        if pager.query in after
        and not _between(before.get(pager.query, after[pager.query]), pager, after[pager.query])
    ]


def _between(before: int, pager: Pager, after: int) -> bool:
    return min(before, after) <= pager.written <= max(before, after)


def mismatch(pager: Pager, counts: Mapping[Query, int]) -> CountMismatchError:
    """Return the error of a query that twice gave another number than the service counts."""
    target = pager.query.target
    return CountMismatchError(
        "CountMismatch",
        f"{pager.written:,} findings were read, and the service counts {counts[pager.query]:,} "
        f"({pager.query})",
        operation="ListImageScanFindingAggregations",
        account=target.account,
        region=target.region,
    )
