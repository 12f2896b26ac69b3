from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from harvester.simulator import Behaviour, Identity, Organization, OrganizationSpec, Simulator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connect = Callable[..., Awaitable[Any]]

_ORGANIZATION = Organization.generate(OrganizationSpec(accounts=3, findings=60, seed=5))
_MEMBER = _ORGANIZATION.accounts[2].id


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


async def _code(call: Awaitable[Any]) -> str:
    with pytest.raises(ClientError) as caught:
        await call
    return str(caught.value.response["Error"]["Code"])


async def _codes(connect: Connect, simulator: Simulator, caller: Identity) -> dict[str, str]:
    """What each service answers to a caller whom none of them lets in."""
    calls = {
        "imagebuilder": "list_image_scan_findings",
        "organizations": "list_accounts",
        "sts": "get_caller_identity",
        "ec2": "describe_regions",
    }
    return {
        service: await _code(getattr(await connect(simulator, service, caller=caller), operation)())
        for service, operation in calls.items()
    }


async def _assume(connect: Connect, simulator: Simulator, account: str = _MEMBER) -> Identity:
    client = await connect(simulator, "sts")
    partition = simulator.organization.partition
    answer = await client.assume_role(
        RoleArn=f"arn:{partition}:iam::{account}:role/Harvester", RoleSessionName="sweep"
    )
    keys = answer["Credentials"]
    return Identity(
        keys["AccessKeyId"],
        keys["SecretAccessKey"],
        account,
        answer["AssumedRoleUser"]["Arn"],
        keys["SessionToken"],
        keys["Expiration"].timestamp(),
    )


async def test_wrong_secret(connect: Connect) -> None:
    async with Simulator(_ORGANIZATION) as simulator:
        caller = replace(simulator.credentials(), secret_key="wrong")
        codes = await _codes(connect, simulator, caller)
        assert set(codes.values()) == {"SignatureDoesNotMatch"}


async def test_unknown_key(connect: Connect) -> None:
    async with Simulator(_ORGANIZATION) as simulator:
        caller = replace(simulator.credentials(), access_key_id="AKIAAAAAAAAAAAAAAAAA")
        assert await _codes(connect, simulator, caller) == {
            "imagebuilder": "UnrecognizedClientException",
            "organizations": "UnrecognizedClientException",
            "sts": "InvalidClientTokenId",
            "ec2": "AuthFailure",
        }


@pytest.mark.parametrize("token", [None, "another"])
async def test_wrong_session_token(connect: Connect, token: str | None) -> None:
    async with Simulator(_ORGANIZATION) as simulator:
        caller = replace(await _assume(connect, simulator), session_token=token)
        client = await connect(simulator, "imagebuilder", caller=caller)
        assert await _code(client.list_image_scan_findings()) == "UnrecognizedClientException"


async def test_expired_session(connect: Connect) -> None:
    clock = Clock()
    behaviour = Behaviour(session_duration=60)
    async with Simulator(_ORGANIZATION, behaviour=behaviour, clock=clock) as simulator:
        caller = await _assume(connect, simulator)
        client = await connect(simulator, "imagebuilder", caller=caller)
        assert "findings" in await client.list_image_scan_findings()
        clock.ahead = 61
        assert await _codes(connect, simulator, caller) == {
            "imagebuilder": "ExpiredTokenException",
            "organizations": "ExpiredTokenException",
            "sts": "ExpiredToken",
            "ec2": "RequestExpired",
        }


@pytest.mark.parametrize("ahead", [-1000.0, 1000.0])
async def test_skewed_clock(connect: Connect, ahead: float) -> None:
    clock = Clock()
    clock.ahead = ahead
    async with Simulator(_ORGANIZATION, clock=clock) as simulator:
        codes = await _codes(connect, simulator, simulator.credentials())
        assert set(codes.values()) == {"RequestTimeTooSkewed"}


def _signed(
    simulator: Simulator,
    body: bytes = b"{}",
    *,
    query: str = "",
    method: str = "POST",
    operation: str = "ListImageScanFindings",
) -> tuple[str, dict[str, str]]:
    caller = simulator.credentials()
    path = f"/{operation}" if method == "POST" else "/GetImage"
    url = f"{simulator.url}{path}{query}"
    request = AWSRequest(method, url, data=body, headers={"Content-Type": "application/json"})
    keys = Credentials(caller.access_key_id, caller.secret_key)
    SigV4Auth(keys, "imagebuilder", "us-east-1").add_auth(request)
    return url, dict(request.headers.items())


async def _post(
    url: str, headers: dict[str, str], body: bytes = b"{}", method: str = "POST"
) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, headers=headers, data=body) as response,
    ):
        return response.status, response.headers.get("x-amzn-ErrorType", "")


async def test_tampering_shows() -> None:
    async with Simulator(_ORGANIZATION) as simulator:
        url, headers = _signed(simulator)
        assert (await _post(url, headers))[0] == 200
        bad = (403, "SignatureDoesNotMatch")
        assert await _post(url, headers, b'{"maxResults": 5}') == bad
        assert await _post(url + "?page=2", headers) == bad
        assert await _post(url.replace("Findings", "FindingAggregations"), headers) == bad
        date = headers["X-Amz-Date"]
        later = date[:-2] + ("1" if date[-2] == "0" else "0") + "Z"
        assert await _post(url, {**headers, "X-Amz-Date": later}) == bad
        moved = headers["Authorization"].replace("/us-east-1/", "/eu-west-1/")
        assert await _post(url, {**headers, "Authorization": moved}) == bad
        fewer = headers["Authorization"].replace("host;", "")
        assert await _post(url, {**headers, "Authorization": fewer}) == bad


async def test_a_query_is_part_of_what_is_signed() -> None:
    async with Simulator(_ORGANIZATION) as simulator:
        query = "?imageBuildVersionArn=a%2Fb%3Ac%20d"
        url, headers = _signed(simulator, b"", query=query, method="GET")
        status, code = await _post(str(url), headers, b"", "GET")
        assert (status, code) == (404, "ResourceNotFoundException")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"\xff",
        b'{"maxResults": true}',
        b'{"maxResults": "5"}',
        b'{"nextToken": 5}',
        b'{"nextToken": ""}',
        b'{"filters": 5}',
        b'{"filters": []}',
        b'{"filters": [5]}',
        b'{"filters": [{"name": [], "values": ["x"]}]}',
        b'{"filters": [{"name": "severity", "values": [5]}]}',
        b'{"owner": []}',
    ],
)
@pytest.mark.parametrize("operation", ["ListImageScanFindings", "ListImages"])
async def test_odd_bodies_are_refused(body: bytes, operation: str) -> None:
    async with Simulator(_ORGANIZATION) as simulator:
        url, headers = _signed(simulator, body, operation=operation)
        odd_to_both = b"owner" not in body and body != b'{"filters": []}'
        status, _ = await _post(url, headers, body)
        assert status == 400 or (status == 200 and not odd_to_both)


async def test_unsigned_and_half_signed() -> None:
    async with Simulator(_ORGANIZATION) as simulator:
        url, headers = _signed(simulator)
        kept = {"Content-Type": "application/json"}
        assert await _post(url, kept) == (403, "MissingAuthenticationToken")
        for authorization in ("Bearer x", "AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request"):
            half = {**headers, "Authorization": authorization}
            assert await _post(url, half) == (400, "IncompleteSignature")
        undated = {key: value for key, value in headers.items() if key != "X-Amz-Date"}
        assert await _post(url, undated) == (400, "IncompleteSignature")


async def test_credentials_that_another_double_issued(connect: Connect) -> None:
    theirs = Identity("ASIATHEIRSTHEIRSTHEI", "secret", _MEMBER, "arn:aws:sts::1:x", "token")
    behaviour = Behaviour(credentials_resolver={theirs.access_key_id: theirs}.get)
    async with Simulator(_ORGANIZATION, behaviour=behaviour) as simulator:
        client = await connect(simulator, "imagebuilder", caller=theirs)
        counts = await client.list_image_scan_finding_aggregations()
        assert counts["responses"][0]["accountAggregation"]["accountId"] == _MEMBER


async def test_a_session_acts_in_its_account_only(connect: Connect) -> None:
    async with Simulator(_ORGANIZATION) as simulator:
        caller = await _assume(connect, simulator)
        for region in _ORGANIZATION.regions:
            client = await connect(simulator, "imagebuilder", caller=caller, region=region)
            page = await client.list_image_scan_findings(maxResults=100)
            assert {one["awsAccountId"] for one in page["findings"]} <= {_MEMBER}
        organizations = await connect(simulator, "organizations", caller=caller)
        assert await _code(organizations.list_accounts()) == "AccessDeniedException"


async def test_the_delegated_account_reads_the_organization(connect: Connect) -> None:
    async with Simulator(_ORGANIZATION) as simulator:
        (delegated,) = _ORGANIZATION.delegated
        caller = await _assume(connect, simulator, delegated)
        client = await connect(simulator, "organizations", caller=caller)
        assert len((await client.list_accounts())["Accounts"]) == 3


async def test_rules_of_assume_role(connect: Connect) -> None:
    organization = Organization.generate(
        OrganizationSpec(
            accounts=4,
            findings=9,
            seed=5,
            suspended=1,
            partition="aws-cn",
            regions=("cn-north-1", "cn-northwest-1"),
        )
    )
    member, suspended = organization.accounts[2].id, organization.accounts[3].id
    behaviour = Behaviour(role_names=frozenset({"security/Harvester"}), external_id="over/there")
    async with Simulator(organization, behaviour=behaviour) as simulator:
        client = await connect(simulator, "sts")

        def assume(account: str, role: str = "security/Harvester", **others: Any) -> Any:
            given = {"RoleSessionName": "sweep", "ExternalId": "over/there"} | others
            partition = given.pop("partition", "aws-cn")
            return client.assume_role(
                RoleArn=f"arn:{partition}:iam::{account}:role/{role}", **given
            )

        user = (await assume(member))["AssumedRoleUser"]["Arn"]
        assert user == f"arn:aws-cn:sts::{member}:assumed-role/Harvester/sweep"
        for refused in (
            assume(suspended),
            assume("999999999999"),
            assume(member, "Harvester"),
            assume(member, "security/Other"),
            assume(member, ExternalId="elsewhere"),
            assume(member, partition="aws"),
        ):
            assert await _code(refused) == "AccessDenied"
        for invalid in (
            assume(member, DurationSeconds=43_201),
            assume(member, RoleSessionName="two words"),
            assume(member, "no/good role"),
        ):
            assert await _code(invalid) == "ValidationError"
        simulator.faults = replace(simulator.faults, denied_accounts=frozenset({member}))
        assert await _code(assume(member)) == "AccessDenied"


async def test_chained_sessions_are_short(connect: Connect) -> None:
    async with Simulator(_ORGANIZATION) as simulator:
        caller = await _assume(connect, simulator)
        client = await connect(simulator, "sts", caller=caller)
        arn = f"arn:aws:iam::{_ORGANIZATION.accounts[1].id}:role/Harvester"
        given = {"RoleArn": arn, "RoleSessionName": "sweep"}
        assert await _code(client.assume_role(**given, DurationSeconds=3601)) == "ValidationError"
        assert "Credentials" in await client.assume_role(**given, DurationSeconds=3600)
