"""Every operation through the SDK's client, and its raw answer against the SDK's own model."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from botocore.exceptions import ClientError

from harvester.simulator import Behaviour, Faults, Organization, OrganizationSpec, Simulator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    Connect = Callable[..., Awaitable[Any]]

_ORGANIZATION = Organization.generate(
    OrganizationSpec(accounts=24, findings=1_500, seed=3, suspended=2)
)
_MANAGEMENT = _ORGANIZATION.management
_REGION = next(
    region for account, region in _ORGANIZATION.places() if _ORGANIZATION.findings(account, region)
)
# Their limits say what is asked for at a time, and here more is granted on purpose.
_UNLIMITED = frozenset({"ImageScanFindingsList"})
_KINDS: dict[str, Any] = {
    "structure": dict,
    "list": list,
    "string": str,
    "integer": int,
    "long": int,
    "double": (int, float),
    "boolean": bool,
    "timestamp": (float, int, datetime),
}


def _member(shape: Any, name: str) -> Any:
    """The member of a structure that has this name on the wire."""
    for member_name, member in shape.members.items():
        if name in (member_name, member.serialization.get("name")):
            return member
    return None


def violations(shape: Any, value: Any, path: str = "$") -> Iterator[str]:
    """What of a decoded JSON value, or of a parsed answer, contradicts its shape in the model."""
    kind: Any = _KINDS[shape.type_name]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        yield f"{path}: {value!r} is no {shape.type_name}"
    elif shape.type_name == "structure":
        yield from _structure_violations(shape, value, path)
    elif shape.type_name == "list":
        if shape.name not in _UNLIMITED:
            yield from _outside(shape, len(value), path)
        for number, item in enumerate(value):
            yield from violations(shape.member, item, f"{path}[{number}]")
    elif shape.type_name == "string":
        yield from _string_violations(shape, value, path)
    elif isinstance(value, (int, float)):
        yield from _outside(shape, value, path)


def _structure_violations(shape: Any, value: dict[str, Any], path: str) -> Iterator[str]:
    yield from (f"{path}: {name} is missing" for name in shape.required_members - value.keys())
    for name, item in value.items():
        member = _member(shape, name)
        if member is None:
            yield f"{path}: {name} is not in the model"
        else:
            yield from violations(member, item, f"{path}.{name}")


def _string_violations(shape: Any, value: str, path: str) -> Iterator[str]:
    yield from _outside(shape, len(value), path)
    if shape.enum and value not in shape.enum:
        yield f"{path}: {value!r} is not one of {shape.enum}"
    pattern = shape.metadata.get("pattern")
    if pattern and "\\u" not in pattern and not re.search(pattern, value):
        yield f"{path}: {value!r} does not match {pattern}"


def _outside(shape: Any, size: float, path: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if (least is not None and size < least) or (most is not None and size > most):
        yield f"{path}: {size} is not from {least} to {most}"


async def _checked(client: Any, operation: str, **parameters: Any) -> dict[str, Any]:
    """Call an operation, hold its raw JSON and its parsed answer against the model."""
    bodies: list[bytes] = []
    client.meta.events.register_last(
        "response-received.*", lambda response_dict, **_: bodies.append(response_dict["body"])
    )
    name = client.meta.method_to_api_mapping[operation]
    shape = client.meta.service_model.operation_model(name).output_shape
    answer: dict[str, Any] = await getattr(client, operation)(**parameters)
    parsed = {key: value for key, value in answer.items() if key != "ResponseMetadata"}
    assert list(violations(shape, parsed)) == []
    assert answer["ResponseMetadata"]["RequestId"]
    if client.meta.service_model.metadata["protocol"] in ("rest-json", "json"):
        assert list(violations(shape, orjson.loads(bodies[-1]))) == []
    assert parsed
    return answer


async def test_findings_and_counts(connect: Connect) -> None:
    operation = "list_image_scan_findings"
    async with Simulator(_ORGANIZATION) as simulator:
        for account, region in list(_ORGANIZATION.places())[:6]:
            client = await connect(simulator, "imagebuilder", account=account, region=region)
            page = await _checked(client, operation, maxResults=100)
            await _checked(client, "list_image_scan_finding_aggregations")
            for finding in page["findings"][:3]:
                for name, value in (
                    ("imageBuildVersionArn", finding["imageBuildVersionArn"]),
                    ("vulnerabilityId", finding["packageVulnerabilityDetails"]["vulnerabilityId"]),
                    ("imagePipelineArn", finding.get("imagePipelineArn")),
                ):
                    if value is not None:
                        one = {"name": name, "values": [value]}
                        found = await _checked(client, operation, filters=[one])
                        assert finding in found["findings"] or "nextToken" in found
                        counted = await _checked(
                            client, "list_image_scan_finding_aggregations", filter=one
                        )
                        assert len(counted["responses"]) == 1


async def test_pipelines_and_images(connect: Connect) -> None:
    async with Simulator(_ORGANIZATION) as simulator:
        client = await connect(simulator, "imagebuilder", region=_REGION)
        pipelines = (await _checked(client, "list_image_pipelines"))["imagePipelineList"]
        target = _ORGANIZATION.target(_MANAGEMENT, _REGION)
        assert [row["arn"] for row in pipelines] == [one.arn for one in target.pipelines]
        for pipeline in pipelines:
            built = await _checked(
                client, "list_image_pipeline_images", imagePipelineArn=pipeline["arn"]
            )
            wanted = {image.arn for image in target.images if image.pipeline == pipeline["arn"]}
            assert {row["arn"] for row in built["imageSummaryList"]} == wanted
        builds = []
        versions = await _checked(client, "list_images", owner="Self")
        for version in versions["imageVersionList"]:
            listed = await _checked(
                client, "list_image_build_versions", imageVersionArn=version["arn"]
            )
            builds += [row["arn"] for row in listed["imageSummaryList"]]
        assert set(builds) == {image.arn for image in target.images}
        image = await _checked(client, "get_image", imageBuildVersionArn=builds[0])
        assert image["image"]["scanState"]["status"] == "COMPLETED"
        assert (await client.list_images(owner="Amazon"))["imageVersionList"] == []


async def test_listings_are_paged_and_filtered(connect: Connect) -> None:
    async with Simulator(_ORGANIZATION) as simulator:
        client = await connect(simulator, "imagebuilder", region=_REGION)
        pipelines = _ORGANIZATION.target(_MANAGEMENT, _REGION).pipelines
        seen: list[str] = []
        token: dict[str, str] = {}
        while True:
            page = await client.list_image_pipelines(maxResults=1, **token)
            seen += [row["arn"] for row in page["imagePipelineList"]]
            if "nextToken" not in page:
                break
            token = {"nextToken": page["nextToken"]}
        assert seen == [pipeline.arn for pipeline in pipelines]
        wanted = [{"name": "name", "values": [pipelines[0].name, "another"]}]
        filtered = await client.list_image_pipelines(filters=wanted)
        assert [row["arn"] for row in filtered["imagePipelineList"]] == [pipelines[0].arn]


async def test_accounts_and_units(connect: Connect) -> None:
    async with Simulator(_ORGANIZATION) as simulator:
        client = await connect(simulator, "organizations")
        described = await _checked(client, "describe_organization")
        assert described["Organization"]["MasterAccountId"] == _MANAGEMENT
        first = await _checked(client, "list_accounts")
        assert len(first["Accounts"]) == 20
        rest = await _checked(client, "list_accounts", NextToken=first["NextToken"])
        assert "NextToken" not in rest
        everybody = {row["Id"]: row for row in first["Accounts"] + rest["Accounts"]}
        assert set(everybody) == {account.id for account in _ORGANIZATION.accounts}
        found: dict[str, str] = {}
        parents = [row["Id"] for row in (await _checked(client, "list_roots"))["Roots"]]
        depth = 0
        while parents:
            below = []
            for parent in parents:
                page = await _checked(client, "list_accounts_for_parent", ParentId=parent)
                found |= {row["Id"]: parent for row in page["Accounts"]}
                for row in page["Accounts"]:
                    assert f"/{parent}/" in row["Paths"][0]
                units = await _checked(
                    client, "list_organizational_units_for_parent", ParentId=parent
                )
                below += [row["Id"] for row in units["OrganizationalUnits"]]
            parents, depth = below, depth + 1
        assert found == {account.id: account.parent for account in _ORGANIZATION.accounts}
        assert depth == 4
        assert sum(row["State"] == row["Status"] == "SUSPENDED" for row in everybody.values()) == 2


async def test_identity_and_roles(connect: Connect) -> None:
    async with Simulator(_ORGANIZATION) as simulator:
        client = await connect(simulator, "sts")
        identity = await _checked(client, "get_caller_identity")
        assert identity["Account"] == _MANAGEMENT
        member = _ORGANIZATION.accounts[1].id
        arn = f"arn:aws:iam::{member}:role/security/Harvester"
        assumed = await _checked(client, "assume_role", RoleArn=arn, RoleSessionName="sweep")
        user = assumed["AssumedRoleUser"]["Arn"]
        assert user == f"arn:aws:sts::{member}:assumed-role/Harvester/sweep"


async def test_regions(connect: Connect) -> None:
    async with Simulator(_ORGANIZATION) as simulator:
        client = await connect(simulator, "ec2")
        enabled = await _checked(client, "describe_regions")
        assert {row["RegionName"] for row in enabled["Regions"]} == set(_ORGANIZATION.regions)
        everything = await _checked(client, "describe_regions", AllRegions=True)
        assert {row["OptInStatus"] for row in everything["Regions"]} >= {"not-opted-in"}
        opted = [{"Name": "opt-in-status", "Values": ["opt-in-not-required", "opted-in"]}]
        kept = await _checked(client, "describe_regions", AllRegions=True, Filters=opted)
        assert kept["Regions"] == enabled["Regions"]
        one = await _checked(client, "describe_regions", RegionNames=["eu-west-1"])
        assert [row["RegionName"] for row in one["Regions"]] == ["eu-west-1"]


async def _refused(call: Awaitable[Any]) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        await call
    response = caught.value.response
    assert response["Error"]["Message"] or response["Error"]["Code"] == "429"
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        ("call_rate_limit", "CallRateLimitExceededException", 429),
        ("throttling", "ThrottlingException", 400),
        ("too_many_requests", "TooManyRequestsException", 429),
        ("request_limit", "RequestLimitExceeded", 503),
        ("slow_down", "SlowDown", 503),
        ("bare_429", "429", 429),
        ("error_500", "ServiceException", 500),
        ("error_503", "ServiceUnavailableException", 503),
        ("expired", "ExpiredTokenException", 403),
    ],
)
async def test_codes_of_faults(connect: Connect, fault: str, code: str, status: int) -> None:
    async with Simulator(_ORGANIZATION, faults=Faults.everywhere(0.0, **{fault: 1.0})) as simulator:
        client = await connect(simulator, "imagebuilder")
        assert await _refused(client.list_image_scan_findings()) == (code, status)
        assert simulator.count(code=code, fault=fault) == 1
        declared = {shape.name: shape for shape in client.meta.service_model.error_shapes}
        if code in declared:
            assert declared[code].metadata["error"]["httpStatusCode"] == status


async def test_codes_of_refused_parameters(connect: Connect) -> None:
    async with Simulator(_ORGANIZATION, behaviour=Behaviour(page_limit=25)) as simulator:
        client = await connect(simulator, "imagebuilder")
        organizations = await connect(simulator, "organizations")
        ec2 = await connect(simulator, "ec2")
        invalid = ("InvalidRequestException", 400)
        assert await _refused(client.list_image_scan_findings(maxResults=26)) == invalid
        assert await _refused(client.list_image_scan_findings(nextToken="x")) == (
            "InvalidPaginationTokenException",
            400,
        )
        missing = f"arn:aws:imagebuilder:us-east-1:{_MANAGEMENT}:image/no/1.0.0/1"
        not_found = ("ResourceNotFoundException", 404)
        assert await _refused(client.get_image(imageBuildVersionArn=missing)) == not_found
        pipeline = f"arn:aws:imagebuilder:us-east-1:{_MANAGEMENT}:image-pipeline/no"
        call = client.list_image_pipeline_images(imagePipelineArn=pipeline)
        assert await _refused(call) == not_found
        unknown = organizations.list_accounts_for_parent(ParentId="ou-abcd-12345678")
        assert await _refused(unknown) == ("ParentNotFoundException", 400)
        stale = organizations.list_accounts(NextToken="x")
        assert await _refused(stale) == ("InvalidInputException", 400)
        nowhere = ec2.describe_regions(RegionNames=["us-north-7"])
        assert await _refused(nowhere) == ("InvalidParameterValue", 400)
        assert await _refused(client.list_components()) == ("UnknownOperationException", 400)
        assert await _refused(ec2.describe_vpcs()) == ("InvalidAction", 400)


async def test_codes_of_missing_permissions(connect: Connect) -> None:
    second, third = _ORGANIZATION.regions[1:]
    faults = Faults(
        denied_targets=frozenset({_ORGANIZATION.regions[0]}),
        policy_denied_targets=frozenset({(_MANAGEMENT, second)}),
        forbidden_targets=frozenset({(_MANAGEMENT, third)}),
        regions_denied_accounts=frozenset({_MANAGEMENT}),
        organizations_denied=True,
    )
    async with Simulator(_ORGANIZATION, faults=faults) as simulator:
        texts = []
        for region, code in (
            (_ORGANIZATION.regions[0], "AccessDeniedException"),
            (second, "AccessDeniedException"),
            (third, "ForbiddenException"),
        ):
            client = await connect(simulator, "imagebuilder", region=region)
            with pytest.raises(ClientError) as caught:
                await client.list_image_scan_findings()
            assert caught.value.response["Error"]["Code"] == code
            texts.append(caught.value.response["Error"]["Message"])
        assert "no identity-based policy allows" in texts[0]
        assert "explicit deny in a service control policy" in texts[1]
        ec2 = await connect(simulator, "ec2")
        assert await _refused(ec2.describe_regions()) == ("UnauthorizedOperation", 403)
        organizations = await connect(simulator, "organizations")
        assert await _refused(organizations.list_accounts()) == ("AccessDeniedException", 400)


async def test_denied_operations(connect: Connect) -> None:
    faults = Faults(denied_operations=frozenset({"ListImageScanFindingAggregations"}))
    async with Simulator(_ORGANIZATION, faults=faults) as simulator:
        client = await connect(simulator, "imagebuilder")
        call = client.list_image_scan_finding_aggregations()
        assert await _refused(call) == ("AccessDeniedException", 403)
        assert "findings" in await client.list_image_scan_findings()


@pytest.mark.parametrize(
    ("spoiled", "complaint"),
    [
        ({"surprise": 1}, "$: surprise is not in the model"),
        ({"severity": ""}, "$.severity: 0 is not from 1 to 1024"),
        ({"inspectorScore": "9.8"}, "$.inspectorScore: '9.8' is no double"),
        ({"imageBuildVersionArn": "arn:x"}, "does not match"),
        ({"packageVulnerabilityDetails": {}}, "vulnerabilityId is missing"),
    ],
)
async def test_the_check_itself_notices(
    session: Any, spoiled: dict[str, Any], complaint: str
) -> None:
    async with session.create_client("imagebuilder", region_name="us-east-1") as client:
        shape = client.meta.service_model.shape_for("ImageScanFinding")
    finding = _ORGANIZATION.all_findings()[0]
    assert list(violations(shape, finding)) == []
    assert complaint in "\n".join(violations(shape, finding | spoiled))


async def test_every_generated_finding_is_as_in_the_model(session: Any) -> None:
    async with session.create_client("imagebuilder", region_name="us-east-1") as client:
        shape = client.meta.service_model.shape_for("ImageScanFinding")
    for finding in _ORGANIZATION.all_findings():
        assert list(violations(shape, finding)) == []
