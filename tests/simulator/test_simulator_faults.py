from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import AbstractAsyncContextManager, suppress
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, HTTPClientError

from harvester.simulator import Behaviour, Faults, Organization, Simulator, make_findings
from harvester.simulator.faults import draw

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]

_ACCOUNT, _REGION = "111122223333", "us-east-1"
_FINDINGS = make_findings(60, account=_ACCOUNT, region=_REGION, seed=9)
_SINGLE = Organization.single(_ACCOUNT, _REGION, _FINDINGS)
_HERE = frozenset({(_ACCOUNT, _REGION)})


def _send(
    simulator: Simulator, session: aiohttp.ClientSession, token: str | None = None
) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    """A signed request for a page of ten; its answer, to be read within the block."""
    parameters: dict[str, Any] = {"maxResults": 10} | ({"nextToken": token} if token else {})
    body = orjson.dumps(parameters)
    url = f"{simulator.url}/ListImageScanFindings"
    request = AWSRequest("POST", url, data=body, headers={"Content-Type": "application/json"})
    caller = simulator.credentials()
    keys = Credentials(caller.access_key_id, caller.secret_key)
    SigV4Auth(keys, "imagebuilder", _REGION).add_auth(request)
    return session.post(url, data=body, headers=dict(request.headers.items()))


async def _ask(
    simulator: Simulator, session: aiohttp.ClientSession, token: str | None = None
) -> tuple[int, bytes]:
    """A signed request for a page of ten; the raw answer."""
    async with _send(simulator, session, token) as response:
        return response.status, await response.read()


async def _page(
    simulator: Simulator, session: aiohttp.ClientSession, token: str | None = None
) -> dict[str, Any]:
    status, body = await _ask(simulator, session, token)
    assert status == 200
    page = orjson.loads(body)
    del page["requestId"]
    return dict(page)


def test_each_fault_strikes_at_its_rate() -> None:
    faults, rng = Faults.everywhere(0.03), random.Random(1)
    drawn = Counter(
        draw(
            faults,
            rng,
            service="imagebuilder",
            operation="ListImageScanFindings",
            has_token=True,
        )
        for _ in range(20_000)
    )
    assert set(drawn) == {None, *Faults.transient()}
    for name in Faults.transient():
        assert 0.025 < drawn[name] / 20_000 < 0.035


@pytest.mark.parametrize(
    ("service", "operation", "has_token", "fault"),
    [
        ("sts", "AssumeRole", False, "error_500"),
        ("imagebuilder", "ListImageScanFindings", False, "refused_token"),
        ("imagebuilder", "ListImageScanFindings", False, "repeated_token"),
        ("imagebuilder", "ListImagePipelines", True, "empty_page"),
    ],
)
def test_a_fault_strikes_only_where_it_can(
    service: str, operation: str, fault: str, *, has_token: bool
) -> None:
    faults = Faults.everywhere(0.0, **{fault: 1.0})
    rng = random.Random(1)
    assert draw(faults, rng, service=service, operation=operation, has_token=has_token) is None


async def test_the_same_seed_gives_the_same_faults() -> None:
    struck: list[list[str | None]] = []
    for seed in (3, 3, 4):
        faults = Faults.everywhere(0.03, slow_seconds=0.0, seed=seed)
        async with Simulator(_SINGLE, faults=faults) as simulator, aiohttp.ClientSession() as http:
            for _ in range(40):
                try:
                    await _ask(simulator, http)
                except aiohttp.ClientError:
                    continue
            struck.append([record.fault for record in simulator.requests])
    assert struck[0] == struck[1] != struck[2]


@pytest.mark.parametrize("name", Faults.transient())
async def test_asking_again_gives_the_exact_page(name: str) -> None:
    async with Simulator(_SINGLE) as simulator, aiohttp.ClientSession() as http:
        token = (await _page(simulator, http))["nextToken"]
        page = await _page(simulator, http, token)
        simulator.faults = Faults.everywhere(0.0, slow_seconds=0.01, **{name: 1.0})
        for _ in range(6):
            try:
                status, body = await _ask(simulator, http, token)
            except aiohttp.ClientError:
                assert name in ("reset", "truncated")
            else:
                spoiled = status != 200 or page != _without_id(body)
                assert spoiled or name == "slow"
        assert simulator.count(fault=name) == 6
        simulator.faults = Faults()
        assert await _page(simulator, http, token) == page


def _without_id(body: bytes) -> Any:
    try:
        page = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    if isinstance(page, dict):
        page.pop("requestId", None)
    return page


async def test_a_reset_connection() -> None:
    faults = Faults(reset=1.0)
    async with Simulator(_SINGLE, faults=faults) as simulator, aiohttp.ClientSession() as http:
        with pytest.raises((aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
            await _ask(simulator, http)
        assert simulator.requests[0].status == 0


async def test_a_truncated_body() -> None:
    faults = Faults(truncated=1.0)
    async with Simulator(_SINGLE, faults=faults) as simulator, aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientPayloadError):
            await _ask(simulator, http)


async def test_a_slow_body() -> None:
    faults = Faults(slow=1.0, slow_seconds=0.04)
    async with Simulator(_SINGLE, faults=faults) as simulator, aiohttp.ClientSession() as http:
        start = time.monotonic()
        status, body = await _ask(simulator, http)
        assert time.monotonic() - start >= 0.04
        assert (status, len(orjson.loads(body)["findings"])) == (200, 10)


async def test_damaged_bodies_take_turns() -> None:
    faults = Faults(damaged=1.0)
    async with Simulator(_SINGLE, faults=faults) as simulator, aiohttp.ClientSession() as http:
        answers = [await _ask(simulator, http) for _ in range(7)]
        assert {status for status, _ in answers} == {200}
        bodies = [body for _, body in answers]
        assert bodies[0].startswith(b'{"requestId"')
        assert bodies[1].startswith(b"<html>")
        assert bodies[2:6] == [b"", b"null", b"[]", b"{}"]
        assert bodies[6].startswith(b'{"requestId"')
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(bodies[0])


async def test_empty_pages_lead_on_to_where_the_chain_stood() -> None:
    async with Simulator(_SINGLE) as simulator, aiohttp.ClientSession() as http:
        wanted = await _page(simulator, http)
        simulator.faults = Faults(empty_page=1.0)
        first = await _page(simulator, http)
        second = await _page(simulator, http, first["nextToken"])
        assert first["findings"] == second["findings"] == []
        assert first["nextToken"] != second["nextToken"]
        simulator.faults = Faults()
        assert await _page(simulator, http, second["nextToken"]) == wanted


async def test_a_repeated_token() -> None:
    async with Simulator(_SINGLE) as simulator, aiohttp.ClientSession() as http:
        token = (await _page(simulator, http))["nextToken"]
        simulator.faults = Faults(repeated_token=1.0)
        page = await _page(simulator, http, token)
        assert page == {"findings": _FINDINGS[10:20], "nextToken": token}


async def test_cycling_endless_and_garbage_targets() -> None:
    async with Simulator(_SINGLE) as simulator, aiohttp.ClientSession() as http:
        for faults, distinct in (
            (Faults(cycling_targets=_HERE), 2),
            (Faults(endless_targets=_HERE), 9),
        ):
            simulator.faults = faults
            tokens = [(await _page(simulator, http))["nextToken"]]
            for _ in range(8):
                tokens.append((await _page(simulator, http, tokens[-1]))["nextToken"])
            assert len(set(tokens)) == distinct
            assert all(one != two for one, two in pairwise(tokens))
        simulator.faults = Faults(garbage_targets=frozenset({_REGION}))
        status, body = await _ask(simulator, http)
        assert (status, body[:15]) == (200, b"<!DOCTYPE html>")


async def test_a_body_without_an_end() -> None:
    faults = Faults(unending_targets=_HERE)
    async with Simulator(_SINGLE, faults=faults) as simulator, aiohttp.ClientSession() as http:
        async with _send(simulator, http) as response:
            assert response.status == 200
            # A thousand times what a page of ten has, and more would come.
            assert len(await response.content.readexactly(32 << 20)) == 32 << 20
            assert not response.content.at_eof()
        assert simulator.count(operation="ListImageScanFindings") == 1


async def test_a_page_that_begins_with_the_end_of_the_one_before() -> None:
    faults = Faults(repeating_targets=_HERE)
    async with Simulator(_SINGLE, faults=faults) as simulator, aiohttp.ClientSession() as http:
        first = await _page(simulator, http)
        second = await _page(simulator, http, first["nextToken"])
        third = await _page(simulator, http, second["nextToken"])
    assert first["findings"] == _FINDINGS[:10]
    assert second["findings"] == _FINDINGS[9:20]
    assert third["findings"] == _FINDINGS[19:30]


async def test_an_operation_that_hangs() -> None:
    faults = Faults(hung_operations=frozenset({"ListImageScanFindings"}))
    async with Simulator(_SINGLE, faults=faults) as simulator, aiohttp.ClientSession() as http:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_ask(simulator, http), 0.1)
        simulator.faults = Faults()
        assert (await _page(simulator, http))["findings"] == _FINDINGS[:10]
    assert simulator.requests[0].status == 0


async def test_dead_and_disabled_regions(connect: Connect) -> None:
    async with Simulator(_SINGLE, faults=Faults(dead_regions=frozenset({_REGION}))) as simulator:
        client = await connect(simulator, "imagebuilder")
        with pytest.raises(HTTPClientError):
            await client.list_image_scan_findings()
        assert (await (await connect(simulator, "sts")).get_caller_identity())["Account"]
        simulator.faults = Faults(disabled_regions=frozenset({_REGION}))
        with pytest.raises(ClientError, match="UnrecognizedClientException"):
            await client.list_image_scan_findings()


async def test_a_skewed_service(connect: Connect) -> None:
    async with Simulator(_SINGLE, faults=Faults(clock_skew=3_600)) as simulator:
        client = await connect(simulator, "imagebuilder")
        with pytest.raises(ClientError, match="RequestTimeTooSkewed") as caught:
            await client.list_image_scan_findings()
    date = caught.value.response["ResponseMetadata"]["HTTPHeaders"]["date"]
    assert abs(parsedate_to_datetime(date).timestamp() - time.time() - 3_600) < 60


async def test_other_services_fail_where_they_are_told_to(connect: Connect) -> None:
    faults = Faults(throttling=1.0, services=frozenset({"sts", "ec2", "organizations"}))
    async with Simulator(_SINGLE, faults=faults) as simulator:
        for service, operation in (
            ("sts", "get_caller_identity"),
            ("ec2", "describe_regions"),
            ("organizations", "list_roots"),
        ):
            client = await connect(simulator, service)
            with pytest.raises(ClientError, match="ThrottlingException"):
                await getattr(client, operation)()


async def test_leaving_is_prompt_and_leaves_nothing() -> None:
    before = asyncio.all_tasks()
    async with aiohttp.ClientSession() as http:
        async with Simulator(_SINGLE, behaviour=Behaviour(latency=30)) as simulator:
            pending = [asyncio.create_task(_ask(simulator, http)) for _ in range(5)]
            while simulator.count() < 5:  # noqa: ASYNC110  # the server tells nobody else
                await asyncio.sleep(0.001)
            start = time.monotonic()
        assert time.monotonic() - start < 1
        results = await asyncio.gather(*pending, return_exceptions=True)
        assert all(isinstance(result, aiohttp.ClientError) for result in results)
        with pytest.raises(aiohttp.ClientConnectionError):
            await _ask(simulator, http)
    assert asyncio.all_tasks() == before


async def test_a_taken_port_is_an_error() -> None:
    async with Simulator(_SINGLE) as simulator:
        with pytest.raises(OSError, match="address"):
            async with Simulator(_SINGLE, port=simulator.port):
                pass


async def test_latency_is_waited_for() -> None:
    behaviour = Behaviour(latency=0.03, jitter=0.01)
    async with (
        Simulator(_SINGLE, behaviour=behaviour) as simulator,
        aiohttp.ClientSession() as http,
    ):
        start = time.monotonic()
        await _page(simulator, http)
        assert time.monotonic() - start >= 0.03


async def test_the_environment_is_all_that_a_caller_needs(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "left over")
    async with Simulator(_SINGLE) as simulator:
        for name, value in simulator.environment().items():
            monkeypatch.setenv(name, value)
        fresh = type(session)()
        async with fresh.create_client("sts") as client:
            assert (await client.get_caller_identity())["Account"] == _ACCOUNT


@pytest.mark.parametrize("fault", ["slow", "truncated", "reset", "damaged"])
@pytest.mark.parametrize("latency", [0.0, 0.06])
async def test_a_caller_who_leaves_early_is_no_error(
    caplog: pytest.LogCaptureFixture, fault: str, latency: float
) -> None:
    faults = Faults.everywhere(0.0, slow_seconds=0.2, **{fault: 1.0})
    behaviour = Behaviour(latency=latency)
    async with Simulator(_SINGLE, behaviour=behaviour, faults=faults) as simulator:
        async with aiohttp.ClientSession() as http:
            with suppress(TimeoutError, aiohttp.ClientError):
                await asyncio.wait_for(_ask(simulator, http), 0.03)
        await asyncio.sleep(0.05)
    assert [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")] == []
