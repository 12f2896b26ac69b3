"""Regions that exist and that do not, and places that go dark."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, HTTPClientError

from harvester.simulator import (
    EVERYWHERE,
    Dark,
    Faults,
    Organization,
    OrganizationSpec,
    Simulator,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]

_REGIONS = ("us-east-1", "eu-west-1")
_ONE = Organization.generate(
    OrganizationSpec(accounts=3, regions=_REGIONS, findings=90, empty_share=0.0, restricted=1)
)
_MANAGEMENT, _OTHER, _THIRD = (account.id for account in _ONE.accounts)


async def _code(call: Awaitable[Any]) -> str:
    with pytest.raises(ClientError) as caught:
        await call
    return str(caught.value.response["Error"]["Code"])


@pytest.mark.parametrize("region", ["us-esat-1", "us-west-2", "af-south-1"])
async def test_image_builder_knows_no_key_where_the_region_is_not_enabled(
    connect: Connect, region: str
) -> None:
    async with Simulator(_ONE) as simulator:
        client = await connect(simulator, "imagebuilder", region=region)
        assert await _code(client.list_image_scan_findings()) == "UnrecognizedClientException"


async def test_image_builder_knows_no_key_in_a_region_that_the_account_lacks(
    connect: Connect,
) -> None:
    async with Simulator(_ONE) as simulator:
        lacking = await connect(simulator, "imagebuilder", account=_OTHER, region="eu-west-1")
        assert await _code(lacking.list_image_scan_findings()) == "UnrecognizedClientException"
        having = await connect(simulator, "imagebuilder", account=_THIRD, region="eu-west-1")
        assert (await having.list_image_scan_findings())["findings"]


@pytest.mark.parametrize(
    ("service", "operation", "code"),
    [
        ("sts", "get_caller_identity", "InvalidClientTokenId"),
        ("ec2", "describe_regions", "AuthFailure"),
        ("organizations", "list_roots", "UnrecognizedClientException"),
    ],
)
async def test_other_services_answer_in_all_regions_that_exist(
    connect: Connect, service: str, operation: str, code: str
) -> None:
    async with Simulator(_ONE) as simulator:
        for region in ("us-east-1", "us-west-2", "ap-southeast-7"):
            await getattr(await connect(simulator, service, region=region), operation)()
        for region in ("us-esat-1", "cn-north-1"):
            call = getattr(await connect(simulator, service, region=region), operation)()
            assert await _code(call) == code


async def test_a_region_of_the_organization_exists_though_the_sdk_does_not_know_it(
    connect: Connect,
) -> None:
    one = Organization.generate(OrganizationSpec(accounts=1, regions=("mars-north-1",)))
    async with Simulator(one) as simulator:
        client = await connect(simulator, "imagebuilder", region="mars-north-1")
        assert (await client.list_image_scan_findings())["findings"]


async def test_all_regions_lists_those_that_are_not_enabled(connect: Connect) -> None:
    async with Simulator(_ONE) as simulator:
        client = await connect(simulator, "ec2", account=_OTHER)
        rows = (await client.describe_regions(AllRegions=True))["Regions"]
    states = {row["RegionName"]: row["OptInStatus"] for row in rows}
    assert states["us-east-1"] == "opt-in-not-required"
    assert states["eu-west-1"] == states["af-south-1"] == "not-opted-in"
    assert "us-esat-1" not in states


async def _ask(connect: Connect, simulator: Simulator, region: str, account: str) -> Any:
    client = await connect(simulator, "imagebuilder", region=region, account=account)
    return await client.list_image_scan_findings()


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("error", "ServiceException"),
        ("throttle", "CallRateLimitExceededException"),
        ("close", "Connection was closed|ConnectionClosedError|connect"),
    ],
)
async def test_every_call_to_a_dark_region_fails_in_the_same_way(
    connect: Connect, kind: Any, error: str
) -> None:
    faults = Faults(dark=(Dark(kind, "eu-west-1"),))
    async with Simulator(_ONE, faults=faults) as simulator:
        for account in (_MANAGEMENT, _THIRD, _MANAGEMENT):
            with pytest.raises((ClientError, HTTPClientError), match=error):
                await _ask(connect, simulator, "eu-west-1", account)
            assert (await _ask(connect, simulator, "us-east-1", account))["findings"]
        assert simulator.count(fault=f"dark {kind}") == 3
        assert simulator.count(region="eu-west-1") == 3
        simulator.faults = Faults()
        assert (await _ask(connect, simulator, "eu-west-1", _MANAGEMENT))["findings"]


async def test_a_hanging_account_holds_its_connections_open(connect: Connect) -> None:
    faults = Faults(dark=(Dark("hang", _THIRD),))
    async with Simulator(_ONE, faults=faults) as simulator:
        pending = asyncio.create_task(_ask(connect, simulator, "us-east-1", _THIRD))
        while not simulator.count(fault="dark hang"):  # noqa: ASYNC110  # nobody else tells
            await asyncio.sleep(0.001)
        assert (await _ask(connect, simulator, "us-east-1", _MANAGEMENT))["findings"]
        assert not pending.done()
    with pytest.raises((HTTPClientError, EndpointConnectionError)):
        await pending


async def test_assuming_a_role_is_slow_for_the_account_of_the_role(connect: Connect) -> None:
    faults = Faults(dark=(Dark("slow", _THIRD, "sts"),), dark_seconds=0.2)
    async with Simulator(_ONE, faults=faults) as simulator:
        client = await connect(simulator, "sts")
        for account, slow in ((_OTHER, False), (_THIRD, True)):
            start = time.monotonic()
            role = f"arn:aws:iam::{account}:role/Harvester"
            assert await client.assume_role(RoleArn=role, RoleSessionName="test")
            assert not slow or time.monotonic() - start >= 0.2
            assert len([one for one in simulator.requests if one.fault]) == 0


async def test_a_dark_place_of_all_services(connect: Connect) -> None:
    faults = Faults(dark=(Dark("error", (_MANAGEMENT, "us-east-1"), EVERYWHERE),))
    async with Simulator(_ONE, faults=faults) as simulator:
        for service, operation in (
            ("sts", "get_caller_identity"),
            ("ec2", "describe_regions"),
            ("organizations", "list_roots"),
            ("imagebuilder", "list_images"),
        ):
            client = await connect(simulator, service)
            assert await _code(getattr(client, operation)()) == "ServiceException"
        simulator.faults = Faults(dark=(Dark("error", EVERYWHERE, "ec2"),))
        assert await _code((await connect(simulator, "ec2")).describe_regions())
        assert await (await connect(simulator, "sts")).get_caller_identity()


async def test_the_refusing_address_accepts_no_connection() -> None:
    async with Simulator(_ONE) as simulator, aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.get(simulator.refused_url)
    with pytest.raises(RuntimeError):
        _ = simulator.refused_url


@pytest.mark.parametrize(("kind", "service"), [("broken", "sts"), ("hang", "s3")])
def test_a_dark_place_of_an_unknown_kind_or_service_is_an_error(kind: Any, service: str) -> None:
    with pytest.raises(ValueError, match="known"):
        Dark(kind, EVERYWHERE, service)


async def test_the_first_answer_of_a_region_is_odd_once(connect: Connect) -> None:
    faults = Faults(odd_first_answers=frozenset({"eu-west-1", _OTHER}))
    async with Simulator(_ONE, faults=faults) as simulator:
        for account, region, odd in (
            (_MANAGEMENT, "us-east-1", False),
            (_MANAGEMENT, "eu-west-1", True),
            (_THIRD, "eu-west-1", False),
            (_MANAGEMENT, "eu-west-1", False),
            (_OTHER, "us-east-1", True),
            (_OTHER, "us-east-1", False),
        ):
            call = _ask(connect, simulator, region, account)
            if odd:
                assert await _code(call) == "InvalidRequestException"
            else:
                assert (await call)["findings"]
