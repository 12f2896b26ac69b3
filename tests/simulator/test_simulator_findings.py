from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from harvester.simulator import (
    Behaviour,
    Organization,
    OrganizationSpec,
    Rate,
    Simulator,
    make_findings,
    with_iso_timestamps,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]

_ACCOUNT, _REGION = "111122223333", "us-east-1"
_FINDINGS = make_findings(230, account=_ACCOUNT, region=_REGION, seed=9)
_SINGLE = Organization.single(_ACCOUNT, _REGION, _FINDINGS)
_MEMBERS = {
    "severity": lambda finding: finding["severity"],
    "imagePipelineArn": lambda finding: finding.get("imagePipelineArn"),
    "imageBuildVersionArn": lambda finding: finding["imageBuildVersionArn"],
    "vulnerabilityId": lambda finding: finding["packageVulnerabilityDetails"]["vulnerabilityId"],
}


def _iso(page: dict[str, Any]) -> list[dict[str, Any]]:
    """The findings of a parsed page, their datetimes as seconds and those as ISO."""

    def seconds(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: seconds(item) for key, item in value.items()}
        if isinstance(value, list):
            return [seconds(item) for item in value]
        return value.timestamp() if hasattr(value, "timestamp") else value

    return [with_iso_timestamps(seconds(finding)) for finding in page["findings"]]


async def _chain(client: Any, **parameters: Any) -> list[dict[str, Any]]:
    """All pages of a query."""
    pages: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    while True:
        page = await client.list_image_scan_findings(**parameters, **token)
        pages.append(page)
        if "nextToken" not in page:
            return pages
        token = {"nextToken": page["nextToken"]}


async def _code(call: Awaitable[Any]) -> str:
    with pytest.raises(ClientError) as caught:
        await call
    return str(caught.value.response["Error"]["Code"])


@pytest.mark.parametrize("size", [7, 25, 99, 100])
@pytest.mark.parametrize("count", [0, 1, 99, 100, 200])
async def test_paging_gives_exactly_the_data(connect: Connect, size: int, count: int) -> None:
    organization = _SINGLE.with_findings(_ACCOUNT, _REGION, _FINDINGS[:count])
    async with Simulator(organization) as simulator:
        pages = await _chain(await connect(simulator, "imagebuilder"), maxResults=size)
        assert [finding for page in pages for finding in _iso(page)] == organization.expected()
        assert len(pages) == max(1, -(-count // size))
        assert all(len(page["findings"]) == size for page in pages[:-1])


@pytest.mark.parametrize("name", sorted(_MEMBERS))
async def test_a_filter_gives_those_with_the_value(connect: Connect, name: str) -> None:
    values = sorted({_MEMBERS[name](finding) for finding in _FINDINGS} - {None})[:5]
    async with Simulator(_SINGLE) as simulator:
        client = await connect(simulator, "imagebuilder")
        for value in [*values, "none-such"]:
            one = {"name": name, "values": [value]}
            pages = await _chain(client, filters=[one], maxResults=10)
            wanted = [one for one in _SINGLE.expected() if _MEMBERS[name](one) == value]
            assert [finding for page in pages for finding in _iso(page)] == wanted


@pytest.mark.parametrize(
    "filters",
    [
        [{"name": "severity", "values": ["HIGH", "LOW"]}],
        [{"name": "severity", "values": ["HIGH"]}, {"name": "vulnerabilityId", "values": ["x"]}],
        [{"name": "Severity", "values": ["HIGH"]}],
        [{"name": "severity"}],
        [{"values": ["HIGH"]}],
    ],
)
async def test_one_filter_with_one_value(connect: Connect, filters: list[dict[str, Any]]) -> None:
    async with Simulator(_SINGLE) as simulator:
        client = await connect(simulator, "imagebuilder")
        call = client.list_image_scan_findings(filters=filters)
        assert await _code(call) == "InvalidRequestException"


async def test_page_limits(connect: Connect) -> None:
    async with Simulator(_SINGLE, behaviour=Behaviour(page_limit=25)) as simulator:
        client = await connect(simulator, "imagebuilder")
        assert len((await client.list_image_scan_findings())["findings"]) == 25
        assert len((await client.list_image_scan_findings(maxResults=25))["findings"]) == 25
        call = client.list_image_scan_findings(maxResults=26)
        assert await _code(call) == "InvalidRequestException"
    async with Simulator(_SINGLE) as simulator:
        client = await connect(simulator, "imagebuilder")
        assert len((await client.list_image_scan_findings())["findings"]) == 25
        assert len((await client.list_image_scan_findings(maxResults=100))["findings"]) == 100
        call = client.list_image_scan_findings(maxResults=101)
        assert await _code(call) == "InvalidRequestException"


async def test_a_token_belongs_to_its_query(connect: Connect) -> None:
    organization = Organization.generate(
        OrganizationSpec(accounts=2, regions=("us-east-1", "eu-west-1"), findings=900, skew=0)
    )
    high = [{"name": "severity", "values": ["HIGH"]}]
    async with Simulator(organization) as simulator:
        own = await connect(simulator, "imagebuilder")
        other_region = await connect(simulator, "imagebuilder", region="eu-west-1")
        other_account = await connect(
            simulator, "imagebuilder", account=organization.accounts[1].id
        )
        token = (await own.list_image_scan_findings())["nextToken"]
        again = await own.list_image_scan_findings(nextToken=token)
        assert (await own.list_image_scan_findings(nextToken=token))["findings"] == again[
            "findings"
        ]
        damaged = token[:-3] + ("A" if token[-3] != "A" else "B") + token[-2:]
        for call in (
            other_region.list_image_scan_findings(nextToken=token),
            other_account.list_image_scan_findings(nextToken=token),
            own.list_image_scan_findings(nextToken=token, filters=high),
            own.list_image_pipelines(nextToken=token),
            own.list_image_scan_findings(nextToken=damaged),
            own.list_image_scan_findings(nextToken="é"),
        ):
            assert await _code(call) == "InvalidPaginationTokenException"


async def test_a_token_grows_old(connect: Connect) -> None:
    now = [1_000.0]
    from time import time  # noqa: PLC0415

    behaviour = Behaviour(token_lifetime=60)
    async with Simulator(_SINGLE, behaviour=behaviour, clock=lambda: time() + now[0]) as simulator:
        now[0] = 0
        client = await connect(simulator, "imagebuilder")
        token = (await client.list_image_scan_findings())["nextToken"]
        now[0] = 59
        assert "findings" in await client.list_image_scan_findings(nextToken=token)
        now[0] = 61
        call = client.list_image_scan_findings(nextToken=token)
        assert await _code(call) == "InvalidPaginationTokenException"


async def test_a_token_outlives_the_simulator(connect: Connect) -> None:
    async with Simulator(_SINGLE) as first:
        page = await (await connect(first, "imagebuilder")).list_image_scan_findings()
    async with Simulator(_SINGLE) as second:
        client = await connect(second, "imagebuilder")
        following = await client.list_image_scan_findings(nextToken=page["nextToken"])
        assert _iso(following) == _SINGLE.expected()[25:50]


async def test_a_trailing_page(connect: Connect) -> None:
    organization = _SINGLE.with_findings(_ACCOUNT, _REGION, _FINDINGS[:50])
    async with Simulator(organization, behaviour=Behaviour(trailing_page=True)) as simulator:
        pages = await _chain(await connect(simulator, "imagebuilder"))
        assert [len(page["findings"]) for page in pages] == [25, 25, 0]


async def test_aggregations_equal_a_recount(connect: Connect) -> None:
    def counts(findings: list[dict[str, Any]]) -> dict[str, int]:
        found = Counter(finding["severity"] for finding in findings)
        named = {name.lower(): found[name] for name in ("CRITICAL", "HIGH", "MEDIUM")}
        return {"all": len(findings), **named}

    async with Simulator(_SINGLE) as simulator:
        client = await connect(simulator, "imagebuilder")
        answer = await client.list_image_scan_finding_aggregations()
        assert answer["responses"] == [
            {"accountAggregation": {"accountId": _ACCOUNT, "severityCounts": counts(_FINDINGS)}}
        ]
        for name, member in (
            ("imageBuildVersionArn", "imageAggregation"),
            ("imagePipelineArn", "imagePipelineAggregation"),
            ("vulnerabilityId", "vulnerabilityIdAggregation"),
        ):
            values = sorted({_MEMBERS[name](finding) for finding in _FINDINGS} - {None})[:10]
            answer = await client.list_image_scan_finding_aggregations(
                filter={"name": name, "values": values}
            )
            assert answer["responses"] == [
                {
                    member: {
                        name: value,
                        "severityCounts": counts(
                            [one for one in _FINDINGS if _MEMBERS[name](one) == value]
                        ),
                    }
                }
                for value in values
            ]
        for bad in (
            {"name": "severity", "values": ["HIGH"]},
            {"name": "vulnerabilityId", "values": [str(number) for number in range(11)]},
        ):
            call = client.list_image_scan_finding_aggregations(filter=bad)
            assert await _code(call) == "InvalidRequestException"


async def test_the_rate_of_each_account_and_region(connect: Connect) -> None:
    now = [0.0]
    organization = Organization.generate(
        OrganizationSpec(accounts=2, regions=("us-east-1", "eu-west-1"), findings=90)
    )
    behaviour = Behaviour(
        rate=2,
        burst=3,
        rates={"eu-west-1": None, (organization.accounts[1].id, "us-east-1"): Rate(1, 1)},
    )
    async with Simulator(organization, behaviour=behaviour, monotonic=lambda: now[0]) as simulator:
        own = await connect(simulator, "imagebuilder")
        free = await connect(simulator, "imagebuilder", region="eu-west-1")
        slow = await connect(simulator, "imagebuilder", account=organization.accounts[1].id)
        for _ in range(3):
            await own.list_image_scan_findings()
        for _ in range(5):
            await free.list_image_scan_findings()
        assert await _code(own.list_image_pipelines()) == "CallRateLimitExceededException"
        now[0] = 0.5
        await own.list_image_pipelines()
        assert await _code(own.list_image_pipelines()) == "CallRateLimitExceededException"
        await slow.list_image_scan_findings()
        assert await _code(slow.list_image_scan_findings()) == "CallRateLimitExceededException"
        now[0] = 100
        for _ in range(3):
            await own.list_image_scan_findings()
        assert await _code(own.list_image_scan_findings()) == "CallRateLimitExceededException"
        assert simulator.count(code="CallRateLimitExceededException", region="us-east-1") == 4
        assert simulator.count(code="CallRateLimitExceededException", region="eu-west-1") == 0


async def test_requests_are_noted(connect: Connect) -> None:
    async with Simulator(_SINGLE) as simulator:
        client = await connect(simulator, "imagebuilder")
        await client.list_image_scan_findings(maxResults=5)
        await _code(client.list_image_scan_findings(maxResults=500))
        good, bad = simulator.requests
        assert (good.service, good.operation) == ("imagebuilder", "ListImageScanFindings")
        assert (good.account, good.region, good.status, good.code) == (_ACCOUNT, _REGION, 200, None)
        assert good.parameters == {"maxResults": 5}
        assert (bad.status, bad.code) == (400, "InvalidRequestException")
        assert simulator.count() == 2
        assert simulator.count(operation="ListImageScanFindings", code=None) == 1
    async with Simulator(_SINGLE, keep_requests=False) as simulator:
        await (await connect(simulator, "imagebuilder")).list_image_scan_findings()
        assert (simulator.requests, simulator.count()) == ([], 1)
