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


_TYPO = "unknown region 'us-esat-1': did you mean us-east-1?"


@pytest.mark.parametrize("by", ["option", "key", "AWS_REGION", "AWS_DEFAULT_REGION", "profile"])
async def test_an_unknown_region_is_refused_before_anything_is_read(
    command: Command, by: str
) -> None:
    (command.folder / "its.toml").write_text('[regions]\ninclude = ["us-esat-1", "eu-west-1"]\n')
    (command.folder / "aws").write_text("[profile p]\nregion = us-esat-1\n")
    none = {"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}
    profile = {"AWS_CONFIG_FILE": "aws", "AWS_PROFILE": "p"}
    options, env, name = {
        "option": (("--region", "us-esat-1"), none, "--region"),
        "key": (("-c", "its.toml"), {}, "its.toml:2: regions.include"),
        "AWS_REGION": ((), none | {"AWS_REGION": "us-esat-1"}, "AWS_REGION"),
        "AWS_DEFAULT_REGION": (
            ("--region", "all"),
            none | {"AWS_DEFAULT_REGION": "us-esat-1"},
            "AWS_DEFAULT_REGION",
        ),
        "profile": ((), none | profile, "region of profile p"),
    }[by]
    async with Simulator(organization(**_SPEC)) as simulator:
        (command.folder / "out.ndjson").write_text("last night's\n")
        done = await command.sweep(simulator, *options, env=env)
        assert simulator.count(operation="DescribeRegions") == 1
        assert pages_asked(simulator) == []
    assert done.code == 2
    (line,) = done.err.splitlines()
    assert line.startswith(f"harvester: {name}: {_TYPO}"), line
    assert line.endswith("(the account lists no such region)")
    assert (command.folder / "out.ndjson").read_text() == "last night's\n"


@pytest.mark.parametrize("by", ["option", "variable"])
async def test_a_region_that_only_the_account_knows_is_swept(command: Command, by: str) -> None:
    """A new one needs no new version of the SDK."""
    one = organization(**{**_SPEC, "regions": ("us-east-1", "eu-new-7"), "restricted": 0})
    async with Simulator(one) as simulator:
        options = ("--region", "eu-new-7") if by == "option" else ()
        region = "us-east-1" if by == "option" else "eu-new-7"
        env = simulator.environment(region=region)
        done = await command.sweep(simulator, "--organization", *ROLE, *options, env=env)
    assert done.code == 0, done.err
    places = [place for place in one.places() if place[1] == "eu-new-7"]
    assert_same(command.found(), truth(one, places))


async def test_an_unknown_region_is_refused_where_the_account_cannot_be_asked(
    command: Command,
) -> None:
    one = organization(**_SPEC)
    denied = Faults(regions_denied_accounts=frozenset({one.management}))
    async with Simulator(one, faults=denied) as simulator:
        done = await command.sweep(simulator, "--region", "us-esat-1")
        assert pages_asked(simulator) == []
        assert done.code == 2
        assert _TYPO in done.err
        assert "the account could not be asked for others: DescribeRegions" in done.err

        nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
        done = await command.sweep(simulator, "--region", "xx-yyy-1", env=nobody)
        assert done.code == 2
        assert "unknown region 'xx-yyy-1': give" in done.err
        assert "could not be asked for others: no AWS credentials found" in done.err


async def test_an_exclusion_that_excludes_nothing_is_a_warning(command: Command) -> None:
    one = organization(**_SPEC)
    async with Simulator(one) as simulator:
        unused = ("us-esat-1", "eu-north-1", "xx-yyy-1")
        options = [part for name in unused for part in ("--exclude-region", name)]
        done = await command.sweep(
            simulator, *EVERYTHING, *options, "--exclude-region", "eu-west-1"
        )
    assert done.code == 0, done.err
    (typo, absent, strange) = [warning["message"] for warning in done.summary["warnings"]]
    start = "regions.exclude (--exclude-region): "
    assert typo == (f"{start}'us-esat-1' excludes nothing: unknown region; did you mean us-east-1?")
    assert absent == f"{start}'eu-north-1' excludes nothing: it is not among the regions to sweep"
    assert strange == f"{start}'xx-yyy-1' excludes nothing: unknown region"
    assert typo in done.err
    assert_same(
        command.found(), truth(one, [place for place in one.places() if place[1] != "eu-west-1"])
    )
