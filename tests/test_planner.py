"""Which queries read a target: together all that is wanted, and nothing twice."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.aws.bodies import decode_line, page_of
from harvester.model import Condition, Finding, Query, Target
from harvester.paging.planner import belonging, match_pipelines, plan_queries

TARGET = Target("111122223333", "us-east-1")
_VALUES = ("a", "b", "c", "d")
_NAMES = ("imageBuildVersionArn", "vulnerabilityId", "imagePipelineArn", "severity")
_FILTERS = st.dictionaries(st.sampled_from(_NAMES), st.lists(st.sampled_from(_VALUES)))
_PIPELINES = st.none() | st.lists(st.sampled_from(_VALUES))


def _finding(values: dict[str, str]) -> dict[str, Any]:
    finding: dict[str, Any] = dict(values)
    vulnerability = finding.pop("vulnerabilityId", None)
    if vulnerability:
        finding["packageVulnerabilityDetails"] = {"vulnerabilityId": vulnerability}
    return finding


_FINDINGS = st.lists(
    st.dictionaries(st.sampled_from(_NAMES), st.sampled_from(_VALUES)).map(_finding), max_size=30
)


def _value(finding: dict[str, Any], name: str) -> Any:
    if name == "vulnerabilityId":
        return finding.get("packageVulnerabilityDetails", {}).get(name)
    return finding.get(name)


def _kept(query: Query, findings: list[Finding]) -> list[Finding]:
    """What is left of a page of findings, as lines and as what is looked at alike."""
    page = belonging(page_of(findings, "token"), query)
    kept = [decode_line(line) for line in page.lines]
    assert page == page_of(kept, "token")
    return kept


def _answered(query: Query, findings: list[Finding]) -> list[Finding]:
    """The findings that the service gives, and the conditions leave."""
    served = [one for one in findings if not query.name or _value(one, query.name) == query.value]
    return _kept(query, served)


@given(_FILTERS, _PIPELINES, _FINDINGS)
def test_the_queries_together_hold_what_is_wanted_once(
    filters: dict[str, list[str]], pipelines: list[str] | None, findings: list[dict[str, Any]]
) -> None:
    queries = plan_queries(TARGET, filters, pipelines)

    findings = [{**finding, "n": n} for n, finding in enumerate(findings)]
    wanted = [
        finding
        for finding in findings
        if all(_value(finding, name) in values for name, values in filters.items() if values)
        and (pipelines is None or finding.get("imagePipelineArn") in pipelines)
    ]
    answers = [_answered(query, findings) for query in queries]
    for answer in answers:
        assert answer == [finding for finding in wanted if finding in answer], "in their order"
    assert sorted((one for answer in answers for one in answer), key=itemgetter("n")) == wanted


@given(_FILTERS, _PIPELINES)
def test_each_query_has_one_filter_of_one_value_at_most(
    filters: dict[str, list[str]], pipelines: list[str] | None
) -> None:
    queries = plan_queries(TARGET, filters, pipelines)

    assert len(set(queries)) == len(queries)
    for query in queries:
        assert query.target == TARGET
        assert query.name in ("", *_NAMES)
        assert bool(query.name) == bool(query.value)
        assert query.name not in [condition.name for condition in query.conditions]
    assert len({query.name for query in queries}) <= 1
    if pipelines is not None:
        assert {query.name for query in queries} <= {"imagePipelineArn"}
        assert {query.value for query in queries} <= set(pipelines)


@pytest.mark.parametrize(
    ("filters", "pipelines", "expected"),
    [
        ({}, None, [Query(TARGET)]),
        ({"severity": []}, None, [Query(TARGET)]),
        ({"severity": ["HIGH"]}, None, [Query(TARGET, "severity", "HIGH")]),
        (
            {"severity": ["HIGH", "LOW", "HIGH"]},
            None,
            [Query(TARGET, "severity", "HIGH"), Query(TARGET, "severity", "LOW")],
        ),
        (
            {"severity": ["HIGH"], "vulnerabilityId": ["CVE-1"]},
            None,
            [Query(TARGET, "vulnerabilityId", "CVE-1", (Condition("severity", ("HIGH",)),))],
        ),
        ({}, [], []),
        ({"severity": ["HIGH"]}, [], []),
        ({}, ["one"], [Query(TARGET, "imagePipelineArn", "one")]),
        ({"imagePipelineArn": ["two"]}, ["one"], []),
        (
            {"imagePipelineArn": ["two", "one"], "severity": ["LOW"]},
            ["one", "two", "three"],
            [
                Query(TARGET, "imagePipelineArn", value, (Condition("severity", ("LOW",)),))
                for value in ("one", "two")
            ],
        ),
    ],
)
def test_plans(
    filters: dict[str, list[str]], pipelines: list[str] | None, expected: list[Query]
) -> None:
    assert list(plan_queries(TARGET, filters, pipelines)) == expected


@pytest.mark.parametrize(
    ("finding", "passing"),
    [
        ({"severity": "HIGH"}, True),
        ({"severity": "LOW"}, False),
        ({"severity": "high"}, False),
        ({"severity": None}, False),
        ({"severity": ["HIGH"]}, False),
        ({"severity": {"HIGH": 1}}, False),
        ({}, False),
    ],
)
def test_conditions_hold_for_the_very_value(finding: dict[str, Any], passing: bool) -> None:  # noqa: FBT001
    conditions = (Condition("severity", ("HIGH", "CRITICAL")),)
    others = [{"severity": "CRITICAL", "n": n} for n in range(2)]
    page = [others[0], finding, others[1]]

    assert _kept(Query(TARGET, conditions=conditions), page) == (page if passing else others)
    assert _kept(Query(TARGET), page) == page


@pytest.mark.parametrize("details", [None, [], "CVE-1", {"vulnerabilityId": None}, {}])
def test_a_finding_without_vulnerability_fulfils_no_condition_on_it(details: Any) -> None:
    finding = {"packageVulnerabilityDetails": details, "vulnerabilityId": "CVE-1"}

    conditions = (Condition("vulnerabilityId", ("CVE-1",)),)
    assert _kept(Query(TARGET, conditions=conditions), [finding]) == []


_ARN = "arn:aws:imagebuilder:us-east-1:111122223333:image-pipeline/"


@pytest.mark.parametrize(
    ("globs", "names"),
    [
        (["*"], ["web", "Web-2", "db[1]"]),
        (["web"], ["web"]),
        (["web*"], ["web"]),
        (["?eb*"], ["web", "Web-2"]),
        (["Web-?"], ["Web-2"]),
        (["db[[]1]"], ["db[1]"]),
        ([f"{_ARN}web"], ["web"]),
        (["*/web", "web"], ["web"]),
        (["eb"], []),
        ([], []),
    ],
)
def test_pipelines_match_by_name_and_arn(globs: list[str], names: list[str]) -> None:
    pipelines = [
        {"arn": f"{_ARN}{name.lower()}", "name": name} for name in ("web", "Web-2", "db[1]")
    ]

    found = match_pipelines(globs, [*pipelines, *pipelines])
    assert list(found) == [f"{_ARN}{name.lower()}" for name in names]


@pytest.mark.parametrize("pipeline", [{}, {"name": "a"}, {"arn": None}, {"arn": 1, "name": "a"}])
def test_a_pipeline_without_arn_cannot_be_asked_for(pipeline: dict[str, Any]) -> None:
    assert match_pipelines(["*"], [pipeline]) == ()


@pytest.mark.parametrize("name", [None, 7, ["a"]])
def test_a_pipeline_with_no_name_matches_by_its_arn(name: Any) -> None:
    assert match_pipelines(["*web"], [{"arn": f"{_ARN}web", "name": name}]) == (f"{_ARN}web",)
