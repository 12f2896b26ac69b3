"""The splits that a target allows, and the best of them: asked of its listings and counts."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from math import ceil
from typing import Literal

from harvester.aws.counts import VALUES_AT_ONCE, count_by
from harvester.aws.listings import (
    list_builds,
    list_image_versions,
    list_pipeline_builds,
    list_pipelines,
)
from harvester.errors import ServiceError
from harvester.model import Facets
from harvester.paging.channel import Channel
from harvester.paging.splitter import (
    Cut,
    affords_listing,
    affords_search,
    best_of,
    by_severity,
    is_enough,
    is_long,
)

Split = Literal["auto", "none", "severity", "pipeline", "image"]

_log = logging.getLogger("harvester")
_PIPELINE = "imagePipelineArn"
_IMAGE = "imageBuildVersionArn"


async def choose_cut(
    channel: Channel,
    split: Split,
    counts: Mapping[str, int],
    first: Sequence[Facets],
    *,
    page_size: int,
    width: float,
    rest: float,
) -> Cut | None:
    """Return how to split a target, None for one chain.

    A cut that does not hold each finding of the `first` page, or less than the service counts in
    all, is none: an unknown severity, a finding outside any pipeline.

    Args:
        channel: asks for the target.
        split: `auto` splits where that gains something.
        counts: what the service counts, with `all`.
        first: the findings of the first page.
        page_size: findings a call.
        width: how many calls fill the target's pace.
        rest: how many calls the rest of the sweep takes, one after the other.
    """
    findings = counts["all"]
    if split == "auto" and not is_long(findings, page_size, width, rest):
        return None
    cuts: list[Cut] = []
    try:
        async for cut in possible_cuts(channel, split, counts, page_size):
            if cut.findings >= findings and cut.holds(first):
                cuts.append(cut)
            best = best_of(cuts, findings, page_size, width)
            if is_enough(best, findings, page_size, width):
                break
    except ServiceError as error:
        _log.debug("no finer split: %s", error, extra={"event": "not_split"})
    if split != "auto":
        return cuts[0] if cuts else None
    return best_of(cuts, findings, page_size, width)


async def possible_cuts(
    channel: Channel, split: Split, counts: Mapping[str, int], page_size: int
) -> AsyncIterator[Cut]:
    """Yield the cuts of a target, those that cost the fewest calls to find first.

    Args:
        channel: asks for the target.
        split: `auto` yields cuts of every kind, as long as finding them out is affordable;
            another mode yields its own alone.
        counts: what the service counts, with `all`.
        page_size: findings a call.

    Raises a `ServiceError` where a listing or count cannot be had.
    """
    if split in ("auto", "severity"):
        yield by_severity(counts)
    if split == "auto" and not affords_search(counts["all"], page_size):
        return
    if split in ("auto", "pipeline"):
        arns = [
            arn for one in await list_pipelines(channel) if isinstance(arn := one.get("arn"), str)
        ]
        cut = await _cut(channel, _PIPELINE, arns, listing=1)
        if split == "pipeline" and cut.findings < counts["all"]:
            cut += await _outside(channel, arns)
        yield cut
    if split in ("auto", "image"):
        versions = await list_image_versions(channel)
        if split == "image" or affords_listing(len(versions), counts["all"], page_size):
            builds = await list_builds(channel, versions)
            yield await _cut(channel, _IMAGE, builds, listing=1 + len(versions))


async def _outside(channel: Channel, pipelines: Sequence[str]) -> Cut:
    """Return the cut of what lies outside any pipeline: by image, since no filter says so."""
    versions = await list_image_versions(channel)
    inside = set(await list_pipeline_builds(channel, pipelines))
    builds = [arn for arn in await list_builds(channel, versions) if arn not in inside]
    return await _cut(channel, _IMAGE, builds, listing=1 + len(versions) + len(pipelines))


async def _cut(channel: Channel, name: str, values: Sequence[str], *, listing: int) -> Cut:
    counts = await count_by(channel, name, values)
    return Cut.by(name, counts, listing + ceil(len(values) / VALUES_AT_ONCE))
