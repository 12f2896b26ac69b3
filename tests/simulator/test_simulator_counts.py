"""Counts that differ from the lists, findings that are added, last tokens, small buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from harvester.simulator import (
    EVERYWHERE,
    Behaviour,
    Faults,
    Organization,
    OrganizationSpec,
    Rate,
    Simulator,
    make_findings,
)
from harvester.simulator.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    Connect = Callable[..., Awaitable[Any]]

_ACCOUNT, _REGION = "111122223333", "us-east-1"
_FINDINGS = make_findings(60, account=_ACCOUNT, region=_REGION, seed=9)
_SINGLE = Organization.single(_ACCOUNT, _REGION, _FINDINGS)


async def _counts(client: Any) -> dict[str, int]:
    answer = await client.list_image_scan_finding_aggregations()
    return dict(answer["responses"][0]["accountAggregation"]["severityCounts"])


@pytest.mark.parametrize(
    ("offsets", "offset"),
    [
        ({EVERYWHERE: 3}, 3),
        ({EVERYWHERE: 3, _REGION: -2}, -2),
        ({_ACCOUNT: 5, "eu-west-1": 1}, 5),
        ({_ACCOUNT: 5, (_ACCOUNT, _REGION): 1}, 1),
        ({_REGION: -1000}, -60),
        ({"eu-west-1": 7}, 0),
    ],
)
async def test_counts_differ_by_a_fixed_number(
    connect: Connect, offsets: Mapping[Any, int], offset: int
) -> None:
    async with Simulator(_SINGLE) as simulator:
        client = await connect(simulator, "imagebuilder")
        true = await _counts(client)
        simulator.faults = Faults(count_offsets=offsets)
        off = await _counts(client)
    assert off["all"] == true["all"] + offset
    parts = ("critical", "high", "medium")
    if offset >= -true["medium"]:
        assert off == {**true, "all": off["all"], "medium": true["medium"] + offset}
    assert 0 <= sum(off[name] for name in parts) <= off["all"]


async def test_filtered_counts_differ_too(connect: Connect) -> None:
    images = sorted({one["imageBuildVersionArn"] for one in _FINDINGS})[:2]
    given = {"name": "imageBuildVersionArn", "values": images}
    async with Simulator(_SINGLE, faults=Faults(count_offsets={_REGION: 4})) as simulator:
        client = await connect(simulator, "imagebuilder")
        answer = await client.list_image_scan_finding_aggregations(filter=given)
    for row in answer["responses"]:
        found = row["imageAggregation"]
        listed = [
            one for one in _FINDINGS if one["imageBuildVersionArn"] == found["imageBuildVersionArn"]
        ]
        assert found["severityCounts"]["all"] == len(listed) + 4


async def test_findings_are_added_while_it_runs_and_counts_lag_behind(connect: Connect) -> None:
    new = make_findings(5, account=_ACCOUNT, region=_REGION, seed=10)
    async with Simulator(_SINGLE) as simulator:
        client = await connect(simulator, "imagebuilder")
        first = await client.list_image_scan_findings(maxResults=50)
        before = await _counts(client)
        simulator.add_findings(_ACCOUNT, _REGION, new)
        rest = await client.list_image_scan_findings(maxResults=50, nextToken=first["nextToken"])
        assert len(rest["findings"]) == 15
        assert simulator.organization.findings(_ACCOUNT, _REGION) == [*_FINDINGS, *new]
        assert (await _counts(client))["all"] == 65
        simulator.faults = Faults(count_lag=5)
        assert await _counts(client) == before
        image = {"name": "imageBuildVersionArn", "values": [new[-1]["imageBuildVersionArn"]]}
        assert (await client.list_image_scan_findings(filters=[image]))["findings"]
        built = await client.list_image_build_versions()
        assert len(built["imageSummaryList"]) == len(
            {one["imageBuildVersionArn"] for one in (*_FINDINGS, *new)}
        )


async def test_findings_are_added_to_a_place_that_held_none(connect: Connect) -> None:
    one = Organization.generate(OrganizationSpec(accounts=1, regions=(_REGION,), findings=0))
    new = make_findings(3, account=one.management, region=_REGION)
    async with Simulator(one) as simulator:
        client = await connect(simulator, "imagebuilder")
        assert (await client.list_image_scan_findings())["findings"] == []
        simulator.add_findings(one.management, _REGION, new)
        assert len((await client.list_image_scan_findings())["findings"]) == 3


@pytest.mark.parametrize(
    ("last", "member"), [("absent", {}), ("empty", {"": ""}), ("null", {"": None})]
)
async def test_the_last_token_of_a_chain(connect: Connect, last: Any, member: Any) -> None:
    bodies: list[bytes] = []
    async with Simulator(_SINGLE, behaviour=Behaviour(last_token=last)) as simulator:
        for service, operation, name in (
            ("imagebuilder", "list_image_scan_findings", b'"nextToken":'),
            ("imagebuilder", "list_image_pipelines", b'"nextToken":'),
            ("organizations", "list_accounts", b'"NextToken":'),
        ):
            client = await connect(simulator, service)
            client.meta.events.register(
                "before-parse.*", lambda response_dict, **_: bodies.append(response_dict["body"])
            )
            size = {"maxResults": 40} if operation == "list_image_scan_findings" else {}
            page = await getattr(client, operation)(**size)
            if size:
                assert page["nextToken"]
                await client.list_image_scan_findings(nextToken=page["nextToken"], **size)
            wanted = {"": b'""', None: b"null"}
            for value in ("", None):
                ended = name + wanted[value] in bodies[-1]
                assert ended == (member.get("", "none") == value)


def _granted(rate: Rate, *moments: float) -> list[bool]:
    now = iter(moments)
    throttle = Throttle(Behaviour(rates={_REGION: rate}), lambda: next(now))
    return [throttle.grant(_ACCOUNT, _REGION) for _ in moments]


@pytest.mark.parametrize("burst", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0, 3.0])
def test_a_small_bucket_grants_its_burst_and_then_its_rate(burst: int, rate: float) -> None:
    assert _granted(Rate(rate, burst), *[7.0] * (burst + 1)) == [True] * burst + [False]
    # Empty, one call per refill is granted, for as long as one likes: no rounding adds up.
    steps = [step / rate for step in range(2000)]
    assert all(_granted(Rate(rate, burst), *steps))
    early = [step * 0.5 / rate for step in range(2 * burst + 40)]
    late = _granted(Rate(rate, burst), *early)[2 * burst :]
    assert late.count(True) == 20
    assert late[:4] in ([True, False] * 2, [False, True] * 2)


def test_a_full_bucket_holds_no_more_than_its_burst() -> None:
    assert _granted(Rate(1.0, 2), 0.0, *[1000.0] * 3) == [True, True, True, False]
    assert _granted(Rate(1.0, 1), *[0.0] * 2, *[1000.0] * 2) == [True, False, True, False]


@pytest.mark.parametrize("make", [lambda: Rate(1.0, 0), lambda: Behaviour(burst=0)])
def test_a_burst_of_none_is_an_error(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        make()


async def test_a_burst_of_one_over_the_wire(connect: Connect) -> None:
    moments = [0.0]
    behaviour = Behaviour(rate=0.5, burst=1)
    async with Simulator(_SINGLE, behaviour=behaviour, monotonic=lambda: moments[0]) as simulator:
        client = await connect(simulator, "imagebuilder")
        assert await client.list_image_scan_findings()
        moments[0] = 1.9
        with pytest.raises(ClientError, match="CallRateLimitExceeded"):
            await client.list_image_scan_findings()
        moments[0] = 2.0
        assert await client.list_image_scan_findings()
