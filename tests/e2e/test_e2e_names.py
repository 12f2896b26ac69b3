"""Accounts and regions that a service calls as nothing is: they cost themselves and no more."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from xml.sax.saxutils import escape

import pytest
from aiohttp import web

from harvester.simulator import Simulator
from tests.e2e.support import (
    EVERYTHING,
    ROLE,
    Command,
    assert_same,
    everything_below,
    organization,
    truth,
)
from tests.serving import serving

_ONE = {"accounts": 2, "suspended": 0, "findings": 40, "regions": ("us-east-1",)}
_REGIONS = (
    "../../../tmp/x",
    "us-east-1.evil.example/",
    "US-EAST-1",
    "a-" + "b" * 300,
    "eu-\u202ewest-1",
)


@asynccontextmanager
async def _answering(body: str, content_type: str) -> AsyncIterator[str]:
    """A service that says the same to everybody."""

    async def handle(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.Response(body=body.encode(), content_type=content_type)

    async with serving(handle) as url:
        yield url


def _described(names: tuple[str, ...]) -> str:
    """An answer of DescribeRegions."""
    items = "".join(
        f"<item><regionName>{escape(name)}</regionName><optInStatus>opted-in</optInStatus></item>"
        for name in names
    )
    return (
        '<DescribeRegionsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
        f"<regionInfo>{items}</regionInfo></DescribeRegionsResponse>"
    )


@pytest.mark.parametrize("output", ["out/", "out.ndjson"])
async def test_a_region_that_cannot_be_one_costs_just_itself(command: Command, output: str) -> None:
    one = organization(**_ONE)
    answer = _described((*_REGIONS, "us-east-1"))
    async with Simulator(one) as simulator, _answering(answer, "text/xml") as ec2:
        done = await command.sweep(
            simulator, *EVERYTHING, "-o", output, env={"AWS_ENDPOINT_URL_EC2": ec2}
        )
        asked = {record.region for record in simulator.requests}
    assert done.code == 3, done.err
    assert asked == {"us-east-1"}
    assert_same(command.found(output), truth(one))
    assert done.summary["targets"]["complete"] == 2
    assert done.summary["targets"]["failed"] == 2 * len(_REGIONS)
    for problem in done.summary["problems"]:
        assert (problem["stage"], problem["code"]) == ("regions", "DamagedAnswer")
        assert len(problem["region"]) <= 80
        assert "a region's name" in problem["message"]
    assert "\u202e" not in done.err
    assert {name.split("/")[0] for name in everything_below(command.folder)} == {
        output.rstrip("/"),
        "summary.json",
    }


async def test_a_region_without_a_name_costs_its_account(command: Command) -> None:
    one = organization(**_ONE)
    answer = _described(("us-east-1",)).replace("<regionName>us-east-1</regionName>", "")
    async with Simulator(one) as simulator, _answering(answer, "text/xml") as ec2:
        done = await command.sweep(
            simulator, *EVERYTHING, "--deadline", "1s", env={"AWS_ENDPOINT_URL_EC2": ec2}
        )
    assert done.code == 3, done.err
    assert done.summary["targets"]["complete"] == 0


async def test_an_account_that_cannot_be_one_costs_just_itself(command: Command) -> None:
    one = organization(**_ONE)
    ids = ["../../x", "12345", "111122223333/../..", *(each.id for each in one.accounts)]
    listed = json.dumps({"Accounts": [{"Id": each, "Status": "ACTIVE"} for each in ids]})
    async with (
        Simulator(one) as simulator,
        _answering(listed, "application/x-amz-json-1.1") as organizations,
    ):
        done = await command.sweep(
            simulator, *EVERYTHING, "-o", "out/",
            env={"AWS_ENDPOINT_URL_ORGANIZATIONS": organizations},
        )  # fmt: skip
        assumed = [each for each in simulator.requests if each.operation == "AssumeRole"]
        assert len(assumed) == 1
    assert done.code == 3, done.err
    assert_same(command.found("out"), truth(one))
    assert set(done.problems) == {(each, None) for each in ids[:3]}
    assert set(done.problems.values()) == {("failed", "accounts", "DamagedAnswer")}


@pytest.mark.parametrize("item", [{"Status": "ACTIVE"}, {"Id": 5, "Status": "ACTIVE"}])
async def test_an_account_without_an_id_is_no_crash(
    command: Command, item: dict[str, object]
) -> None:
    async with (
        Simulator(organization(**_ONE)) as simulator,
        _answering(json.dumps({"Accounts": [item]}), "application/x-amz-json-1.1") as url,
    ):
        env = {"AWS_ENDPOINT_URL_ORGANIZATIONS": url}
        done = await command.sweep(simulator, *EVERYTHING, "--deadline", "1s", env=env)
    assert done.code in (3, 4)
    assert done.summary["status"] in ("interrupted", "failed")


async def test_a_unit_without_an_id_is_no_crash(command: Command) -> None:
    body = json.dumps({"Accounts": [], "OrganizationalUnits": [{"Name": "x"}]})
    async with (
        Simulator(organization(**_ONE)) as simulator,
        _answering(body, "application/x-amz-json-1.1") as url,
    ):
        options = ("--ou", "ou-ab12-cdefgh34", *ROLE, "--deadline", "1s")
        env = {"AWS_ENDPOINT_URL_ORGANIZATIONS": url}
        done = await command.sweep(simulator, *options, env=env)
    assert done.code in (3, 4)
    assert done.summary["status"] in ("interrupted", "failed")


@pytest.mark.parametrize(
    ("account", "arn"),
    [
        ("../../x", "arn:aws:iam::111122223333:user/me"),
        ("111122223333", "arn:evil/..:iam::111122223333:user/me"),
        ("111122223333", "me"),
    ],
)
async def test_a_caller_that_cannot_be_one_is_no_beginning(
    command: Command, account: str, arn: str
) -> None:
    body = (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        f"<GetCallerIdentityResult><Arn>{arn}</Arn><Account>{account}</Account>"
        "</GetCallerIdentityResult></GetCallerIdentityResponse>"
    )
    async with Simulator(organization(**_ONE)) as simulator, _answering(body, "text/xml") as sts:
        env = {"AWS_ENDPOINT_URL_STS": sts}
        done = await command.sweep(simulator, *EVERYTHING, "--deadline", "1s", env=env)
        assert simulator.requests == []
    assert done.code in (3, 4)
    assert done.summary["targets"]["total"] == 0


@pytest.mark.parametrize("region", ["us-east-1.evil.example/", "../x", "US", "a b"])
async def test_a_configured_region_that_cannot_be_one_is_a_settings_error(
    command: Command, region: str
) -> None:
    async with Simulator(organization(**_ONE)) as simulator:
        env = {"AWS_REGION": region, "AWS_DEFAULT_REGION": region}
        done = await command(simulator, "sweep", env=env)
        assert simulator.requests == []
    assert (done.code, done.out) == (2, b"")
    assert done.err.startswith(f"harvester: AWS_REGION: '{region}' is not a region's name: ")
