from __future__ import annotations

import pytest

from harvester.simulator import Faults, Simulator
from tests.e2e.support import (
    EVERYTHING,
    ROLE,
    Command,
    assert_same,
    organization,
    pages_asked,
    truth,
)

_REGIONS = ("us-east-1", "eu-west-1", "ap-southeast-2")
_SPEC = {"regions": _REGIONS, "accounts": 4, "suspended": 0, "restricted": 1, "empty_share": 0.0}


@pytest.mark.parametrize(
    ("options", "swept"),
    [
        (("--region", "eu-west-1", "--region", "us-east-1"), {"eu-west-1", "us-east-1"}),
        (("--region", "all"), set(_REGIONS)),
        (("--region", "all", "--exclude-region", "us-east-1"), {"eu-west-1", "ap-southeast-2"}),
        ((), {"eu-west-1"}),
    ],
    ids=["given", "all", "excluded", "configured"],
)
async def test_regions(command: Command, options: tuple[str, ...], swept: set[str]) -> None:
    one = organization(**_SPEC)
    places = [place for place in one.places() if place[1] in swept]
    if "all" in options:
        assert len(places) < len(swept) * len(one.accounts), "one account should lack a region"
    async with Simulator(one) as simulator:
        done = await command.sweep(
            simulator,
            "--organization",
            *ROLE,
            *options,
            env=simulator.environment(region="eu-west-1"),
        )
        assert {(record.account, record.region) for record in pages_asked(simulator)} == set(places)
        described = simulator.count(operation="DescribeRegions")
        assert described == (len(one.accounts) if "all" in options else 0)
    assert done.code == 0
    assert_same(command.found(), truth(one, places))


async def test_an_account_that_keeps_its_regions_to_itself_costs_just_itself(
    command: Command,
) -> None:
    one = organization(**_SPEC)
    silent = one.accounts[2].id
    async with Simulator(
        one, faults=Faults(regions_denied_accounts=frozenset({silent}))
    ) as simulator:
        done = await command.sweep(simulator, *EVERYTHING)
    assert done.code == 3
    assert done.problems == {(silent, None): ("failed", "regions", "UnauthorizedOperation")}
    assert "ec2:DescribeRegions" in done.err
    assert_same(
        command.found(), truth(one, [place for place in one.places() if place[0] != silent])
    )


async def test_no_region_at_all_is_a_usage_error(command: Command) -> None:
    async with Simulator(organization()) as simulator:
        nowhere = {"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}
        done = await command.sweep(simulator, env=nowhere)
        assert simulator.requests == []
    assert done.code == 2
    assert "--region" in done.err
    assert "AWS_REGION" in done.err
