"""FindingsPaginator against the SDK's own paginator, and what it adds to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pickle
import random
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio.lowlevel
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from aiohttp import web
from aiohttp.test_utils import TestServer
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    PaginationError,
)
from botocore.paginate import TokenEncoder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harvester.clock import Clock
from harvester.errors import ChainError, DamagedAnswerError, HarvesterError
from harvester.paginator import FindingsPaginator, RepeatedTokenError
from harvester.paging.retry import RetryPolicy
from harvester.simulator import Behaviour, Faults, Organization, Simulator
from harvester.simulator import make_findings as make_simulated_findings

Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]

SESSION = AioSession()
SEVERITIES = ("UNTRIAGED", "LOW", "MEDIUM", "HIGH", "CRITICAL")


@pytest.fixture(autouse=True)
def _no_developer_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "absent"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "absent"))


def make_findings(seed: int) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    count = rng.choice((0, 1, 7, 24, 25, 26, 60, 100))
    return [make_finding(rng, number) for number in range(count)]


def make_finding(rng: random.Random, number: int) -> dict[str, Any]:
    finding: dict[str, Any] = {
        "awsAccountId": "111122223333",
        "title": f"CVE-2026-{number:05} Ünïcode 漏洞 \U0001f512",
        "severity": rng.choice(SEVERITIES),
        "firstObservedAt": 1_700_000_000 + rng.randrange(10**10) / 1000,
    }
    if rng.random() < 0.5:
        finding["imagePipelineArn"] = f"arn:aws:imagebuilder:::image-pipeline/p{number % 3}"
    if rng.random() < 0.5:
        finding["inspectorScore"] = rng.choice((0.0, 5.5, 9.8))
        finding["packageVulnerabilityDetails"] = {
            "vulnerabilityId": f"CVE-2026-{number}",
            "vendorCreatedAt": 1_690_000_000.123,
            "vulnerablePackages": [{"name": "openssl", "epoch": number}],
            "referenceUrls": [],
        }
    return finding


@dataclass
class Service:
    """Serves ListImageScanFindings: first what is scripted, then the data set of the filter.

    The severity asked for is the seed of a data set. Its pages are uneven: some are short,
    some empty with a token, and the last one says so in any of the ways there are.
    """

    script: deque[Reply] = field(default_factory=deque)
    requests: list[dict[str, Any]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def stalls(self, _request: web.Request) -> web.StreamResponse:
        await self.closing.wait()
        return web.Response()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        self.requests.append(asked)
        self.arrived.set()
        if self.script:
            return await self.script.popleft()(request)
        try:
            return web.json_response(self.page(asked))
        except ValueError:
            return await refuses(400, "InvalidPaginationTokenException")(request)

    def page(self, asked: dict[str, Any]) -> dict[str, Any]:
        seed = int(asked["filters"][0]["values"][0]) if "filters" in asked else 9
        size = asked.get("maxResults", 25)
        start, turn = (int(part) for part in asked.get("nextToken", "t0.0")[1:].split("."))
        rng = random.Random(f"{seed}.{start}.{turn}.{size}")
        findings = make_findings(seed)
        served = rng.choice((size, size, size, size // 2, 0))
        page: dict[str, Any] = {"findings": findings[start : start + served]}
        if rng.random() < 0.8:
            page["requestId"] = f"request-{seed}-{start}"
        if start + served < len(findings) or (turn == 0 and rng.random() < 0.3):
            page["nextToken"] = f"t{start + served}.{turn + 1}"
        elif rng.random() < 0.5:
            page["nextToken"] = rng.choice((None, ""))
        return page

    def take_requests(self) -> list[dict[str, Any]]:
        taken, self.requests = self.requests, []
        return taken


class FakeTime:
    """Time that passes only where it is slept."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.waits: list[float] = []
        self.clock = Clock(now=lambda: self.seconds, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.seconds += seconds
        await anyio.lowlevel.checkpoint()


@dataclass
class Lab:
    service: Service
    client: Any
    time: FakeTime

    def ours(self, **policy: Any) -> FindingsPaginator:
        return FindingsPaginator(self.client, retry=RetryPolicy(**policy), clock=self.time.clock)

    def sdk(self) -> Any:
        return self.client.get_paginator("list_image_scan_findings")


@contextlib.asynccontextmanager
async def open_client(url: str, *keys: str) -> AsyncIterator[Any]:
    key, secret = keys or ("made-up", "made-up")
    async with SESSION.create_client(
        "imagebuilder",
        region_name="eu-west-1",
        endpoint_url=url,
        verify=False,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=AioConfig(retries={"total_max_attempts": 1}),
    ) as client:
        yield client


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    service = Service()
    app = web.Application()
    app.router.add_post("/ListImageScanFindings", service.answer)
    async with TestServer(app) as server, open_client(str(server.make_url("/"))) as client:
        yield Lab(service, client, FakeTime())
        service.closing.set()


# What the scripted service can say


def says(status: int, body: Any, code: str | None = None) -> Reply:
    async def reply(_request: web.Request) -> web.StreamResponse:
        headers = {"x-amzn-ErrorType": code} if code else {}
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, headers=headers)

    return reply


def refuses(status: int, code: str) -> Reply:
    return says(status, {"message": "no"}, code)


async def resets(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    linger = struct.pack("ii", 1, 0)
    request.transport.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, linger
    )
    request.transport.abort()
    return web.Response()


async def truncates(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"findings": [')
    assert request.transport is not None
    request.transport.close()
    return response


THROTTLES = {
    "call-rate": refuses(429, "CallRateLimitExceededException"),
    "throttling": refuses(400, "ThrottlingException"),
    "too-many": refuses(400, "TooManyRequestsException"),
    "request-limit": refuses(503, "RequestLimitExceeded"),
    "slow-down": refuses(503, "SlowDown"),
    "bare-429": says(429, ""),
}
DAMAGES = {
    "html": says(200, "<html>Sign in</html>"),
    "empty": says(200, ""),
    "null": says(200, "null"),
    "list": says(200, []),
    "nothing": says(200, {}),
    "no-list": says(200, {"findings": {}}),
    "null-list": says(200, {"findings": None}),
    "null-finding": says(200, {"findings": [None]}),
    "token-number": says(200, {"findings": [], "nextToken": 5}),
    "half": says(200, '{"findings": [{"awsAccountId": "1111'),
    "deep": says(200, "[" * 100_000),
    "endless-number": says(200, '{"findings": [], "x": ' + "9" * 5000 + "}"),
}
FAULTS = {
    "500": refuses(500, "ServiceException"),
    "503": refuses(503, "ServiceUnavailableException"),
    "502-html": says(502, "<html>Bad gateway</html>"),
    "reset": resets,
    "truncated": truncates,
}


# Comparing

ANY_ERROR = (BotoCoreError, ClientError, ValueError, TypeError, AttributeError)


def bare(page: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in page.items() if key != "ResponseMetadata"}


def dataset(seed: int) -> dict[str, Any]:
    return {"filters": [{"name": "severity", "values": [str(seed)]}]}


async def iterate(pages: Any) -> dict[str, Any]:
    """All that a user can see of one iteration, an error included."""
    seen: dict[str, Any] = {"pages": []}
    try:
        async for page in pages:
            seen["pages"].append((bare(page), pages.resume_token))
    except ANY_ERROR as error:
        seen["error"] = str(error)
    seen["resume_token"] = pages.resume_token
    seen["non_aggregate_part"] = dict(pages.non_aggregate_part)
    return seen


async def follow(
    paginators: list[Any], arguments: dict[str, Any], config: dict[str, Any]
) -> list[dict[str, Any]]:
    """A chain of runs, each resuming the one before, the paginators taking turns."""
    runs: list[dict[str, Any]] = []
    token = None
    for turn in range(20):
        paginator = paginators[turn % len(paginators)]
        config = {**config, "StartingToken": token}
        runs.append(await iterate(paginator.paginate(**arguments, PaginationConfig=config)))
        token = runs[-1]["resume_token"]
        if token is None:
            break
    return runs


async def full(paginator: Any, **arguments: Any) -> Any:
    return await paginator.paginate(**arguments).build_full_result()


async def assert_alike(lab: Lab, arguments: dict[str, Any], use: Callable[[Any], Any]) -> Any:
    """Both paginators show the same and ask the same; returns what they showed."""
    expected = await use(lab.sdk().paginate(**arguments))
    expected_requests = lab.service.take_requests()
    assert await use(lab.ours().paginate(**arguments)) == expected
    assert lab.service.take_requests() == expected_requests
    return expected


# The same as the SDK's


@pytest.mark.parametrize("seed", range(12))
async def test_pages_cuts_and_tokens_are_the_sdks_in_every_order(lab: Lab, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(2):
        page_size = rng.choice((6, 17, 25))
        config = {
            "MaxItems": rng.choice((5, page_size - 1, page_size, page_size + 9)),
            "PageSize": page_size,
        }
        expected = await follow([lab.sdk()], dataset(seed), config)
        requests = lab.service.take_requests()
        for paginators in (
            [lab.ours()],
            [lab.sdk(), lab.ours()],
            [lab.ours(), lab.sdk()],
        ):
            assert await follow(paginators, dataset(seed), config) == expected
            assert lab.service.take_requests() == requests


async def test_a_resumed_chain_reads_every_finding_once(lab: Lab) -> None:
    runs = await follow([lab.sdk(), lab.ours()], dataset(4), {"MaxItems": 9, "PageSize": 7})
    titles = [f["title"] for run in runs for page, _ in run["pages"] for f in page["findings"]]
    assert len(runs) > 2
    assert titles == [finding["title"] for finding in make_findings(4)]


TOKENS = [
    *("t5.1", "None", "t5.1___2", "None___3", "a___b___1", "t5.1___x", "", "\u00e9", "unknown"),
    *map(
        TokenEncoder().encode,
        (
            {},
            [1],
            7,
            {"nextToken": "None"},
            {"nextToken": "t5.1"},
            {"nextToken": None, "boto_truncate_amount": 3},
            {"boto_truncate_amount": 3, "nextToken": "t5.1"},
            {"nextToken": "t5.1", "boto_truncate_amount": None},
            {"nextToken": "t5.1", "boto_truncate_amount": "x"},
            {"nextToken": "t5.1", "other": None},
            {"boto_truncate_amount": 2},
        ),
    ),
]


@pytest.mark.parametrize("token", TOKENS)
async def test_any_starting_token_does_the_same(lab: Lab, token: str) -> None:
    for max_items in (None, 0, 4, 50):
        config = {"StartingToken": token, "MaxItems": max_items, "PageSize": 10}
        await assert_alike(lab, {**dataset(9), "PaginationConfig": config}, iterate)


@given(
    seed=st.integers(0, 40),
    max_items=st.none() | st.integers(-2, 110),
    page_size=st.none() | st.integers(1, 40),
    as_text=st.booleans(),
    token=st.none()
    | st.sampled_from(TOKENS)
    | st.builds(
        lambda start, skip: TokenEncoder().encode(
            {"nextToken": start, "boto_truncate_amount": skip}
        ),
        st.none() | st.sampled_from(("t0.1", "t6.2")),
        st.integers(-3, 30),
    ),
    given_directly=st.sampled_from(({}, {"maxResults": 4}, {"nextToken": "t3.1"})),
)
@settings(
    max_examples=80,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_any_arguments_do_the_same(
    lab: Lab,
    *,
    seed: int,
    max_items: int | None,
    page_size: int | None,
    as_text: bool,
    token: str | None,
    given_directly: dict[str, Any],
) -> None:
    config: dict[str, Any] = {"MaxItems": max_items, "PageSize": page_size}
    if as_text:
        config = {name: None if size is None else str(size) for name, size in config.items()}
    config = {name: size for name, size in config.items() if size is not None}
    if token is not None:
        config["StartingToken"] = token
    arguments = {**dataset(seed), **given_directly, "PaginationConfig": config}

    async def twice(pages: Any) -> Any:
        return [await iterate(pages), await iterate(pages)]

    await assert_alike(lab, arguments, twice)


@pytest.mark.parametrize("max_items", [None, 0, 1, 24, 25, 26, 60, 1000])
async def test_the_full_result_is_the_sdks(lab: Lab, max_items: int | None) -> None:
    for seed in range(8):
        config = {"MaxItems": max_items, "PageSize": 25}
        arguments = {**dataset(seed), "PaginationConfig": config}
        result = await assert_alike(lab, arguments, lambda pages: pages.build_full_result())
        if max_items == 0 and seed == 4:
            assert result["findings"] == []
            assert "NextToken" in result
        assert "requestId" in result


async def test_no_configuration_at_all_does_the_same(lab: Lab) -> None:
    seen = await assert_alike(lab, {}, iterate)
    assert sum(len(page["findings"]) for page, _ in seen["pages"]) == len(make_findings(9))


@pytest.mark.parametrize("expression", ["findings[].title", "length(findings)", "nextToken"])
async def test_search_finds_the_same(lab: Lab, expression: str) -> None:
    async def search(pages: Any) -> list[Any]:
        return [found async for found in pages.search(expression)]

    assert await assert_alike(lab, dataset(4), search)


async def test_result_keys_and_their_iterators_are_the_same(lab: Lab) -> None:
    async def items(pages: Any) -> Any:
        (iterator,) = pages.result_key_iters()
        return [item async for item in iterator], [key.expression for key in pages.result_keys]

    assert await assert_alike(lab, dataset(4), items)
    assert lab.ours().result_keys == lab.sdk().result_keys


async def test_a_page_changed_by_its_consumer_ends_the_chain_alike(lab: Lab) -> None:
    async def stop_by_page(pages: Any) -> list[Any]:
        sizes = []
        async for page in pages:
            sizes.append(len(page["findings"]))
            page.pop("nextToken", None)
        return sizes

    assert len(await assert_alike(lab, dataset(4), stop_by_page)) == 1


async def test_numbers_that_are_none_are_refused_alike(lab: Lab) -> None:
    for config in ({"MaxItems": "many"}, {"PageSize": "all"}):
        with pytest.raises(ValueError, match="invalid literal") as expected:
            lab.sdk().paginate(PaginationConfig=config)
        with pytest.raises(ValueError, match="invalid literal") as refused:
            lab.ours().paginate(PaginationConfig=config)
        assert str(refused.value) == str(expected.value)


async def test_a_bad_starting_token_is_a_value_error(lab: Lab) -> None:
    pages = lab.ours().paginate(PaginationConfig={"StartingToken": "a___b___c"})
    with pytest.raises(ValueError, match="Bad starting token: a___b___c"):
        await anext(aiter(pages))
    assert not lab.service.requests


async def test_a_token_that_comes_twice_raises_as_the_sdk_does(lab: Lab) -> None:
    again = says(200, {"findings": [{"title": "x"}], "nextToken": "again"})
    lab.service.script.extend([again] * 4)
    seen = await assert_alike(lab, {}, iterate)
    assert len(seen["pages"]) == 2
    lab.service.script.extend([again] * 2)
    with pytest.raises(PaginationError) as caught:
        await full(lab.ours())
    assert isinstance(caught.value, RepeatedTokenError)
    assert isinstance(caught.value, ChainError)
    assert isinstance(caught.value, HarvesterError)
    assert isinstance(caught.value, BotoCoreError)
    assert caught.value.code == "RepeatedToken"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301


async def test_tokens_that_go_round_in_a_longer_circle_end_too(lab: Lab) -> None:
    replies = [says(200, {"findings": [{"title": t}], "nextToken": t}) for t in "abab"]
    lab.service.script.extend(replies)
    pages = aiter(lab.ours().paginate())
    titles = [(await anext(pages))["findings"][0]["title"] for _ in "aba"]
    assert titles == ["a", "b", "a"]
    with pytest.raises(RepeatedTokenError):
        await anext(pages)


# The same over the simulator: signed requests, sealed tokens, findings of the full shape


PASSING: dict[str, Any] = dict.fromkeys(
    (
        *("call_rate_limit", "throttling", "too_many_requests", "request_limit", "slow_down"),
        *("bare_429", "error_500", "error_503", "reset", "truncated", "damaged"),
    ),
    0.04,
)


def simulate(seed: int, behaviour: Behaviour) -> Simulator:
    findings = make_simulated_findings(40 + 30 * seed, seed=seed, region="eu-west-1")
    organization = Organization.single(region="eu-west-1", findings=findings)
    return Simulator(organization, behaviour=behaviour)


@pytest.mark.parametrize("seed", range(6))
async def test_simulated_findings_are_the_same_through_any_faults(seed: int) -> None:
    behaviour = Behaviour(page_limit=25, trailing_page=seed % 2 == 1)
    async with simulate(seed, behaviour) as simulator:
        caller = simulator.credentials()
        async with open_client(simulator.url, caller.access_key_id, caller.secret_key) as client:
            lab = Lab(Service(), client, FakeTime())
            for filters in ({}, {"filters": [{"name": "severity", "values": ["HIGH"]}]}):
                for config in ({"MaxItems": 17, "PageSize": 10}, {"MaxItems": 60}):
                    simulator.faults = Faults()
                    expected = without_ids(await follow([lab.sdk()], filters, config))
                    exchanged = await follow([lab.ours(), lab.sdk()], filters, config)
                    assert without_ids(exchanged) == expected
                    simulator.faults = Faults(seed=seed, **PASSING)
                    assert without_ids(await follow([lab.ours()], filters, config)) == expected


def without_ids(runs: list[dict[str, Any]]) -> Any:
    """Runs without the ids of requests, which are new each time."""
    assert not any("error" in run for run in runs)
    for run in runs:
        assert run.pop("non_aggregate_part").keys() == {"requestId"}
        for page, _token in run["pages"]:
            page.pop("requestId")
    return runs


# What it adds


@pytest.mark.parametrize("kind", [*THROTTLES, *DAMAGES, *FAULTS])
async def test_what_passes_leaves_no_trace_in_the_result(lab: Lab, kind: str) -> None:
    reply = {**THROTTLES, **DAMAGES, **FAULTS}[kind]
    arguments = {**dataset(4), "PaginationConfig": {"PageSize": 6, "MaxItems": 20}}
    expected = await full(lab.sdk(), **arguments)
    calls = len(lab.service.take_requests())

    async def answers(request: web.Request) -> web.StreamResponse:
        return web.json_response(lab.service.page(await request.json()))

    lab.service.script.extend([reply, answers, reply, reply])
    assert await full(lab.ours(), **arguments) == expected
    assert len(lab.service.requests) == calls + 3 > 4
    assert len(lab.time.waits) == 3


@pytest.mark.parametrize("kind", DAMAGES)
async def test_damage_that_stays_raises_and_is_never_an_empty_page(lab: Lab, kind: str) -> None:
    lab.service.script.extend([DAMAGES[kind]] * 3)
    with pytest.raises(DamagedAnswerError) as caught:
        await full(lab.ours(fault_attempts=3))
    assert caught.value.status == 200
    assert caught.value.region == "eu-west-1"
    assert len(lab.service.requests) == 3


@pytest.mark.parametrize("token", [5, False, {"a": 1}, ["A"]])
async def test_findings_before_a_token_that_is_no_string_are_yielded(lab: Lab, token: Any) -> None:
    odd = says(200, {"findings": [{"title": "x"}], "nextToken": token})
    lab.service.script.extend([odd] * 3)
    pages = aiter(lab.ours(fault_attempts=3).paginate())
    assert [finding["title"] for finding in (await anext(pages))["findings"]] == ["x"]
    with pytest.raises(DamagedAnswerError, match="nextToken that is not a string") as caught:
        await anext(pages)
    assert (caught.value.region, caught.value.status) == ("eu-west-1", 200)


@pytest.mark.parametrize("token", ["", None])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\r\n "])
async def test_an_empty_token_ends_the_chain_whatever_surrounds_the_body(
    lab: Lab, token: str | None, before: bytes
) -> None:
    body = json.dumps({"findings": [{"title": "x"}], "nextToken": token})
    lab.service.script.append(says(200, before.decode() + body + "\n"))
    assert [one["title"] for one in (await full(lab.ours()))["findings"]] == ["x"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("html", "cannot be read as JSON"),
        ("empty", "is empty"),
        ("list", "not an object"),
        ("no-list", "without a list of findings"),
        ("null-finding", "findings that are not objects"),
    ],
)
async def test_a_refusal_says_which_part_cannot_be_read(lab: Lab, kind: str, reason: str) -> None:
    lab.service.script.append(DAMAGES[kind])
    with pytest.raises(DamagedAnswerError, match=reason):
        await full(lab.ours(fault_attempts=1))


async def test_a_fault_that_stays_raises_the_clients_own_error(lab: Lab) -> None:
    lab.service.script.extend([FAULTS["503"]] * 4)
    with pytest.raises(ClientError) as caught:
        await full(lab.ours(fault_attempts=4))
    assert caught.value.response["Error"]["Code"] == "ServiceUnavailableException"
    assert len(lab.service.requests) == 4


async def test_a_dead_endpoint_raises_the_clients_own_error(lab: Lab) -> None:
    async with open_client("http://127.0.0.1:1") as client:
        policy = RetryPolicy(fault_attempts=3)
        paginator = FindingsPaginator(client, retry=policy, clock=lab.time.clock)
        with pytest.raises(EndpointConnectionError):
            await full(paginator)
    assert len(lab.time.waits) == 2


async def test_throttles_use_up_no_attempts_for_faults(lab: Lab) -> None:
    throttled = list(THROTTLES.values()) * 5
    lab.service.script.extend([*throttled, FAULTS["500"], *throttled])
    assert await full(lab.ours(fault_attempts=2, throttle_seconds=1e6), **dataset(1))
    assert len(lab.time.waits) == 61


async def test_throttles_that_stay_end_with_the_clients_own_error(lab: Lab) -> None:
    lab.service.script.extend([THROTTLES["call-rate"]] * 1000)
    with pytest.raises(ClientError) as caught:
        await full(lab.ours(throttle_seconds=60.0))
    assert caught.value.response["Error"]["Code"] == "CallRateLimitExceededException"
    assert 60 <= lab.time.seconds < 120


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "AccessDeniedException"),
        (403, "ExpiredTokenException"),
        (400, "InvalidRequestException"),
        (400, "InvalidPaginationTokenException"),
    ],
)
async def test_a_refusal_is_raised_at_once_as_it_is(lab: Lab, status: int, code: str) -> None:
    lab.service.script.append(refuses(status, code))
    with pytest.raises(ClientError) as caught:
        await full(lab.ours())
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.__context__ is None
    assert len(lab.service.requests) == 1


async def test_a_modeled_refusal_has_the_clients_own_class(lab: Lab) -> None:
    lab.service.script.append(refuses(403, "ForbiddenException"))
    with pytest.raises(lab.client.exceptions.ForbiddenException):
        await full(lab.ours())


async def test_the_clients_other_users_see_no_change(lab: Lab) -> None:
    paginators = [lab.ours() for _ in range(3)]
    lab.service.script.append(DAMAGES["nothing"])
    assert bare(await lab.client.list_image_scan_findings()) == {}
    await full(paginators[0])
    lab.service.script.append(DAMAGES["html"])
    assert bare(await lab.client.list_image_scan_findings()) == {}
    lab.service.script.extend([lab.service.stalls, DAMAGES["nothing"]])
    lab.service.arrived.clear()
    task = asyncio.create_task(full(paginators[0]))
    await lab.service.arrived.wait()
    assert (await full(lab.sdk()))["requestId"] is None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# Leaving and cancelling


def client_tasks() -> set[Any]:
    """All tasks but the server's own, one for each of its connections."""
    return {task for task in asyncio.all_tasks() if "RequestHandler" not in repr(task)}


def connections_in_use(client: Any) -> int:
    (session,) = client._endpoint.http_session._sessions.values()
    return len(session.connector._acquired)


async def test_leaving_early_leaves_nothing_behind(lab: Lab) -> None:
    asyncio.get_running_loop().set_debug(True)
    others = client_tasks()
    pages = lab.ours().paginate(**dataset(4), PaginationConfig={"PageSize": 5})
    async for _page in pages:
        break
    await asyncio.sleep(0)
    assert client_tasks() == others
    assert connections_in_use(lab.client) == 0
    assert pages.resume_token is None


async def test_leaving_on_the_last_page_wanted_sets_no_token_as_with_the_sdk(lab: Lab) -> None:
    async def first(pages: Any) -> Any:
        async for page in pages:
            return bare(page), pages.resume_token
        return None

    arguments = {**dataset(4), "PaginationConfig": {"MaxItems": 5, "PageSize": 5}}
    await assert_alike(lab, arguments, first)


async def test_a_cancelled_iterator_asks_for_the_same_page_again(lab: Lab) -> None:
    asyncio.get_running_loop().set_debug(True)
    others = client_tasks()
    arguments = {**dataset(4), "PaginationConfig": {"PageSize": 5}}
    expected = [bare(page) async for page in lab.sdk().paginate(**arguments)]
    walk = aiter(lab.ours().paginate(**arguments))
    seen = [bare(await anext(walk))]
    lab.service.script.append(lab.service.stalls)
    lab.service.arrived.clear()
    waiting = asyncio.ensure_future(anext(walk))
    await lab.service.arrived.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert connections_in_use(lab.client) == 0
    seen += [bare(page) async for page in walk]
    assert seen == expected
    assert client_tasks() == others


async def test_cancelling_a_wait_between_attempts_ends_it(lab: Lab) -> None:
    lab.service.script.append(FAULTS["500"])
    waiting = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    paginator = FindingsPaginator(lab.client, clock=Clock(sleep=sleep))
    task = asyncio.create_task(full(paginator))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(lab.service.requests) == 1


async def test_a_closed_iterator_is_over(lab: Lab) -> None:
    pages = lab.ours().paginate(**dataset(4), PaginationConfig={"PageSize": 5})
    async with contextlib.aclosing(aiter(pages)) as walk:
        await anext(walk)
    with pytest.raises(StopAsyncIteration):
        await anext(walk)


async def test_many_chains_at_once_do_not_mix(lab: Lab) -> None:
    expected = [await full(lab.sdk(), **dataset(seed)) for seed in range(8)]
    paginator = lab.ours()
    lab.service.script.extend([FAULTS["500"], DAMAGES["html"], THROTTLES["bare-429"]])
    results = await asyncio.gather(*(full(paginator, **dataset(seed)) for seed in range(8)))
    assert results == expected


async def test_another_attempt_asks_the_same(lab: Lab) -> None:
    lab.service.script.append(FAULTS["500"])

    async def sleep(_seconds: float) -> None:
        pages.arguments["nextToken"] = "t50.1"  # as a second iterator of the same pages does

    paginator = FindingsPaginator(lab.client, clock=Clock(sleep=sleep))
    pages = paginator.paginate(**dataset(9))
    await anext(aiter(pages))
    assert lab.service.requests == [dataset(9)] * 2


async def test_waits_are_drawn_and_their_bound_grows(lab: Lab) -> None:
    lab.service.script.extend([FAULTS["500"]] * 8)
    await full(lab.ours(fault_attempts=9, fault_seconds=1000.0, base=1.0, fault_cap=1000.0))
    assert len(set(lab.time.waits)) == 8
    assert all(0 <= wait <= 2**turn for turn, wait in enumerate(lab.time.waits))
