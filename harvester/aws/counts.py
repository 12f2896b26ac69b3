"""The service's own counts: how many findings there are, in all or by image or pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from harvester.aws.bodies import decode_list
from harvester.aws.listings import list_all
from harvester.concurrency import each
from harvester.errors import DamagedAnswerError
from harvester.paging.channel import Channel

_OPERATION = "ListImageScanFindingAggregations"
VALUES_AT_ONCE = 10
"""How many values of its filter one aggregation call takes (the service model's maximum)."""

_CALLS_AT_ONCE = 8
MEMBERS = {
    "imageBuildVersionArn": "imageAggregation",
    "imagePipelineArn": "imagePipelineAggregation",
    "vulnerabilityId": "vulnerabilityIdAggregation",
}
"""The filters that counts can be asked by, and where an answer holds them."""


async def count_severities(channel: Channel) -> dict[str, int]:
    """Return the counts `all`, `critical`, `high` and `medium` of an account and region.

    Raises a `ServiceError` where they cannot be had.
    """
    answered = await _aggregate(channel, {}, "accountAggregation")
    if len(answered) != 1:
        raise _damaged(f"the answer holds {len(answered)} account aggregations, not one")
    counts = answered[0].get("severityCounts")
    if not isinstance(counts, dict):
        raise _damaged("the account aggregation has no severityCounts")
    known = {key: value for key, value in counts.items() if type(value) is int and value >= 0}
    if "all" not in known:
        raise _damaged("the severityCounts have no number of all findings")
    return known


async def count_by(channel: Channel, name: str, values: Sequence[str]) -> dict[str, int]:
    """Return how many findings there are for each of the `values` of an API filter.

    `name` is one of `MEMBERS`. A value that the service does not
    answer has none.
    """
    found = dict.fromkeys(values, 0)

    async def count(batch: Sequence[str]) -> None:
        parameters = {"filter": {"name": name, "values": list(batch)}}
        for one in await _aggregate(channel, parameters, MEMBERS[name]):
            if one.get(name) in found:
                found[one[name]] = _all_of(one)

    batches = [
        values[start : start + VALUES_AT_ONCE] for start in range(0, len(values), VALUES_AT_ONCE)
    ]
    await each(batches, _CALLS_AT_ONCE, count)
    return found


async def _aggregate(
    channel: Channel, parameters: dict[str, Any], member: str
) -> list[Mapping[str, Any]]:
    read = partial(
        decode_list,
        key="responses",
        operation=_OPERATION,
        account=channel.account or "",
        region=channel.region,
    )
    responses = await list_all(
        channel, "list_image_scan_finding_aggregations", parameters, read, "nextToken"
    )
    return [one[member] for one in responses if isinstance(one.get(member), dict)]


def _all_of(aggregation: Mapping[str, Any]) -> int:
    counts = aggregation.get("severityCounts")
    number = counts.get("all") if isinstance(counts, dict) else None
    if type(number) is not int or number < 0:
        raise _damaged("an aggregation has no number of all findings")
    return number


def _damaged(message: str) -> DamagedAnswerError:
    return DamagedAnswerError("DamagedAnswer", message, operation=_OPERATION)
