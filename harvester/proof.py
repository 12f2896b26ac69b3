"""The proof that a target is complete: what was read against what the service counts."""

from __future__ import annotations

from collections import Counter
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


def why_not_counted(query: Query) -> str:
    """Return why the service has no count for a query that `can_be_counted` denies."""
    if query.conditions:
        names = " and ".join(sorted({query.name, *(one.name for one in query.conditions)}))
        return f"the service counts by one filter at a time, not by {names} together"
    return f"the service has no count of findings with {query.name} {query.value}"


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


def agree(
    pager: Pager, other: Mapping[str, int], before: Mapping[Query, int], after: Mapping[Query, int]
) -> bool:
    """Return whether two readings of a query agree, and differ from the count by the same number.

    Where findings look like repetitions, a count below what was read is no evidence against the
    count: some of them may be repetitions.

    Args:
        pager: the second reading.
        other: the severities of the first.
        before: the counts that the first was compared with.
        after: the counts that the second was compared with.
    """
    query = pager.query
    if pager.released and after[query] < pager.written:
        return False
    same = +Counter(other) == +Counter(pager.cursor.severities)
    return same and before[query] - sum(other.values()) == after[query] - pager.written


def is_what_was_counted(severities: Mapping[str, int], counts: Mapping[str, int]) -> bool:
    """Return whether findings by severity are what the service counts, as far as it tells."""
    by_severity = all(
        counts.get(name.lower(), severities.get(name, 0)) == severities.get(name, 0)
        for name in _COUNTED_SEVERITIES
    )
    return by_severity and sum(severities.values()) == counts["all"]


def mismatch_text(pager: Pager, counts: Mapping[Query, int]) -> str:
    """Return both numbers of a query that gave another number than the service counts."""
    return (
        f"{pager.written:,} findings were read, and the service counts {counts[pager.query]:,} "
        f"({pager.query})"
    )


def mismatch(pager: Pager, counts: Mapping[Query, int]) -> CountMismatchError:
    """Return the error of a query that twice gave another number than the service counts."""
    target = pager.query.target
    return CountMismatchError(
        "CountMismatch",
        mismatch_text(pager, counts),
        operation="ListImageScanFindingAggregations",
        account=target.account,
        region=target.region,
    )
