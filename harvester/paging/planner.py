"""Which queries read a target: pure decisions, no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from harvester.model import Condition, Facets, Page, Query, Target

# The most selective first. A finding has one value of each, so the queries of one name never
# overlap, and together they hold what the condition holds.
_BY_SELECTIVITY = ("imageBuildVersionArn", "vulnerabilityId", "imagePipelineArn", "severity")


def match_pipelines(
    globs: Sequence[str], pipelines: Sequence[Mapping[str, Any]]
) -> tuple[str, ...]:
    """Return the ARNs of the pipelines whose name or ARN matches one of `globs`.

    Globs are case-sensitive and match the whole name or ARN: `*`, `?`, `[abc]`.
    """
    matched = {
        arn: None
        for pipeline in pipelines
        if isinstance(arn := pipeline.get("arn"), str)
        for text in (arn, pipeline.get("name"))
        if isinstance(text, str) and any(fnmatchcase(text, glob) for glob in globs)
    }
    return tuple(matched)


def matching_globs(globs: Sequence[str], pipelines: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return those of `globs` that match one of the pipelines."""
    return tuple(glob for glob in globs if match_pipelines([glob], pipelines))


def plan_queries(
    target: Target,
    filters: Mapping[str, Sequence[str]],
    pipelines: Sequence[str] | None = None,
) -> tuple[Query, ...]:
    """Return the queries that together hold each wanted finding of a target once.

    The service takes one filter with one value a request: one name becomes the queries, one
    for each of its values, and the other names become conditions applied to the answers.

    Args:
        target: what to read.
        filters: API filter names and their alternatives.
        pipelines: the ARNs of the chosen pipelines, one query each; None for no such choice.
    """
    conditions = {name: tuple(dict.fromkeys(values)) for name, values in filters.items() if values}
    if pipelines is not None:
        chosen = conditions.get("imagePipelineArn")
        conditions["imagePipelineArn"] = tuple(
            arn for arn in dict.fromkeys(pipelines) if chosen is None or arn in chosen
        )
    if not conditions:
        return (Query(target),)
    if pipelines is not None:
        name = "imagePipelineArn"
    else:
        name = min(conditions, key=_BY_SELECTIVITY.index)
    rest = tuple(Condition(*item) for item in sorted(conditions.items()) if item[0] != name)
    return tuple(Query(target, name, value, rest) for value in conditions[name])


def belonging(page: Page, query: Query) -> Page:
    """Return a page that the service answered to a query, with what belongs to the query only.

    The service has applied the query's own filter; should it ever not, a finding that plainly
    has another value is another query's. One without the field is kept: it was asked for by it.
    """
    values = [facets.value(query.name) for facets in page.facets] if query.name else []
    if not query.conditions and values.count(query.value) == len(values):
        return page
    kept = [index for index, facets in enumerate(page.facets) if _belongs(facets, query)]
    if len(kept) == len(page.facets):
        return page
    lines = page.lines
    return replace(
        page,
        text=b"".join([lines[index] for index in kept]),
        facets=[page.facets[index] for index in kept],
    )


def _belongs(facets: Facets, query: Query) -> bool:
    if query.name and facets.value(query.name) not in (query.value, None):
        return False
    return all(facets.value(one.name) in one.values for one in query.conditions)
