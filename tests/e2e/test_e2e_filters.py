from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from harvester.simulator import Organization, Simulator
from tests.e2e.support import (
    Command,
    Finding,
    assert_same,
    by_two,
    multiset,
    organization,
    pages_asked,
    truth,
)

_REGION = "us-east-1"
_EMPTY = ("a value of nobody",)


def _place() -> Organization:
    return organization(accounts=1, suspended=0, findings=600, regions=(_REGION,))


def _vulnerability(finding: Finding) -> str:
    return str(finding["packageVulnerabilityDetails"]["vulnerabilityId"])


def _most(read: Callable[[Finding], str | None], rank: int = 0) -> str:
    seen = Counter(value for one in _place().expected() if (value := read(one)) is not None)
    return seen.most_common()[rank][0]


def _pipeline(rank: int = 0) -> str:
    return _most(lambda one: one.get("imagePipelineArn"), rank)


@dataclass(frozen=True)
class Case:
    """Options, which findings pass, and how many queries the service is asked."""

    options: tuple[str, ...]
    passes: Callable[[Finding], bool]
    queries: int


def _filtered(**filters: str) -> tuple[str, ...]:
    return tuple(
        text for name, value in filters.items() for text in ("--filter", f"{name}={value}")
    )


def _cases() -> dict[str, Case]:
    cve = _most(_vulnerability)
    pipeline, other = _pipeline(0), _pipeline(1)
    built = Counter(
        one["imageBuildVersionArn"]
        for one in _place().expected()
        if one.get("imagePipelineArn") == pipeline and one["severity"] == "HIGH"
    )
    image = built.most_common()[0][0]
    name = pipeline.rpartition("/")[2]
    return {
        "severity": Case(_filtered(severity="HIGH"), lambda f: f["severity"] == "HIGH", 1),
        "vulnerability": Case(
            _filtered(vulnerabilityId=cve), lambda f: _vulnerability(f) == cve, 1
        ),
        "pipeline ARN": Case(
            _filtered(imagePipelineArn=pipeline), lambda f: f.get("imagePipelineArn") == pipeline, 1
        ),
        "image": Case(
            _filtered(imageBuildVersionArn=image), lambda f: f["imageBuildVersionArn"] == image, 1
        ),
        "two values": Case(
            (*_filtered(severity="HIGH"), *_filtered(severity="MEDIUM")),
            lambda f: f["severity"] in ("HIGH", "MEDIUM"),
            2,
        ),
        "a value twice": Case(_filtered(severity="LOW") * 2, lambda f: f["severity"] == "LOW", 1),
        "two names": Case(
            (*_filtered(severity="HIGH", imagePipelineArn=pipeline), *_filtered(severity="LOW")),
            lambda f: f.get("imagePipelineArn") == pipeline and f["severity"] in ("HIGH", "LOW"),
            1,
        ),
        "three names": Case(
            _filtered(severity="HIGH", imagePipelineArn=pipeline, imageBuildVersionArn=image),
            lambda f: (
                (f["severity"], f.get("imagePipelineArn"), f["imageBuildVersionArn"])
                == ("HIGH", pipeline, image)
            ),
            1,
        ),
        "glob on the name": Case(
            ("--pipeline", f"{name[:-2]}??"), lambda f: f.get("imagePipelineArn") == pipeline, 1
        ),
        "globs on the ARN": Case(
            ("--pipeline", f"arn:*/{name}", "--pipeline", other, "--pipeline", name),
            lambda f: f.get("imagePipelineArn") in (pipeline, other),
            2,
        ),
        "glob and severity": Case(
            ("--pipeline", name, *_filtered(severity="HIGH")),
            lambda f: f.get("imagePipelineArn") == pipeline and f["severity"] == "HIGH",
            1,
        ),
        "a value of nobody": Case(_filtered(vulnerabilityId="CVE-1999-0001"), lambda _: False, 1),
    }


async def test_filters(command: Command) -> None:
    one, cases = _place(), _cases()

    async def run(name: str) -> None:
        case, place = cases[name], command.place(name)
        wanted = [finding for finding in one.expected() if case.passes(finding)]
        assert bool(wanted) != (name in _EMPTY), f"{name}: a vacuous case"
        async with Simulator(one) as simulator:
            done = await place.sweep(simulator, *case.options, "--page-size", "20")
            asked = [record.parameters.get("filters", []) for record in pages_asked(simulator)]
        assert done.code == 0, (name, done.err)
        assert_same(place.found(), multiset(wanted))
        assert done.summary["findings"] == len(wanted), name
        single = all(len(filters) == 1 and len(filters[0]["values"]) == 1 for filters in asked)
        assert single, name
        assert len({(each["name"], *each["values"]) for (each,) in asked}) == case.queries, name

    await by_two(run, cases)


async def test_without_a_filter_none_is_sent(command: Command) -> None:
    async with Simulator(_place()) as simulator:
        await command.sweep(simulator)
        assert all("filters" not in record.parameters for record in pages_asked(simulator))
        assert simulator.count(operation="ListImagePipelines") == 0
    assert_same(command.found(), truth(_place()))


async def test_each_target_has_the_pipelines_that_match_there(command: Command) -> None:
    one = organization(seed=4, empty_share=0.0)
    counts = Counter(
        (place, pipeline.name)
        for place in one.places()
        for pipeline in one.target(*place).pipelines
    )
    letter = Counter(name[0] for _, name in counts).most_common(1)[0][0]
    wanted = [
        finding
        for finding in one.expected()
        if str(finding.get("imagePipelineArn")).rpartition("/")[2].startswith(letter)
    ]
    with_match = {place for place, name in counts if name.startswith(letter)}
    async with Simulator(one) as simulator:
        done = await command.sweep(
            simulator, "--organization", "--role-name", "H", "--region", "all",
            "--pipeline", f"{letter}*",
        )  # fmt: skip
        asked = {(record.account, record.region) for record in pages_asked(simulator)}
    assert done.code == 0
    assert asked == with_match
    assert asked < set(one.places())
    assert_same(command.found(), multiset(wanted))
    assert done.summary["targets"]["complete"] == len(list(one.places()))


async def test_an_unknown_severity_is_a_warning_in_log_and_summary(command: Command) -> None:
    one = organization(accounts=1, suspended=0, findings=30)
    options = ("--region", "us-east-1", "--filter", "severity=WORST")
    async with Simulator(one) as simulator:
        swept = await command.sweep(simulator, *options)
        planned = await command(simulator, "plan", *options)
    for done in (swept, planned):
        assert "unknown severity WORST; documented: UNTRIAGED, INFORMATIONAL" in done.err
    assert [warning["code"] for warning in swept.summary["warnings"]] == ["UnknownSeverity"]
    assert planned.code == 0
