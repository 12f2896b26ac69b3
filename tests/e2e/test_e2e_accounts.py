from __future__ import annotations

from collections.abc import Iterable

import pytest

from harvester.simulator import Behaviour, Organization, Simulator
from tests.e2e.support import (
    EVERYTHING,
    REGIONS,
    ROLE,
    Command,
    Place,
    assert_same,
    held,
    organization,
    pages_asked,
    roles_assumed,
    truth,
)

_ALL = ("--region", "all")


def _active(one: Organization) -> list[str]:
    return [account.id for account in one.accounts if account.status == "ACTIVE"]


def _others(one: Organization) -> list[str]:
    return [account for account in _active(one) if account != one.management]


def _places(accounts: Iterable[str], regions: Iterable[str] = REGIONS) -> list[Place]:
    return [(account, region) for account in accounts for region in regions]


def _once(
    accounts: Iterable[str], role: str = "Harvester", partition: str = "aws"
) -> dict[str, int]:
    return {f"arn:{partition}:iam::{account}:role/{role}": 1 for account in accounts}


async def test_without_a_choice_the_callers_own_account_is_swept(command: Command) -> None:
    one = organization()
    async with Simulator(one) as simulator:
        done = await command.sweep(simulator, *_ALL)
        assert roles_assumed(simulator) == {}
        assert simulator.count(service="organizations") == 0
    assert done.code == 0
    assert_same(command.found(), truth(one, _places([one.management])))


async def test_listed_accounts_are_entered_once_as_asked_and_the_own_one_directly(
    command: Command,
) -> None:
    one = organization()
    first, second, left_out = _others(one)
    behaviour = Behaviour(role_names=frozenset({"security/Harvester"}), external_id="only:us/1")
    async with Simulator(one, behaviour=behaviour) as simulator:
        accounts = [
            option for item in (first, one.management, second) for option in ("--account", item)
        ]
        role = ("--role-name", "security/Harvester", "--external-id", "only:us/1")
        done = await command.sweep(
            simulator, *_ALL, *accounts, *role, "--session-name", "audit@night"
        )
        assert roles_assumed(simulator) == _once((first, second), "security/Harvester")
        asked = [one.parameters for one in simulator.requests if one.operation == "AssumeRole"]
        assert {each["ExternalId"] for each in asked} == {"only:us/1"}
        assert {each["RoleSessionName"] for each in asked} == {"audit@night"}
        assert simulator.count(service="organizations") == 0
        assert simulator.count(account=left_out) == 0
    assert done.code == 0
    assert_same(command.found(), truth(one, _places([one.management, first, second])))


async def test_a_sessions_name_is_harvester_by_default(command: Command) -> None:
    one = organization()
    other = _others(one)[0]
    async with Simulator(one) as simulator:
        done = await command.sweep(simulator, "--account", other, *ROLE)
        (asked,) = [one.parameters for one in simulator.requests if one.operation == "AssumeRole"]
    assert done.code == 0
    assert asked["RoleSessionName"] == "harvester"
    assert "ExternalId" not in asked


async def test_an_organization_is_swept_but_for_the_suspended(command: Command) -> None:
    one = organization(accounts=26, suspended=2, findings=600)  # two pages of accounts
    async with Simulator(one) as simulator:
        done = await command.sweep(simulator, *EVERYTHING)
        assert roles_assumed(simulator) == _once(_others(one))
        assert {record.account for record in pages_asked(simulator)} == set(_active(one))
    assert done.code == 0
    assert_same(command.found(), truth(one))
    assert done.summary["targets"] == {
        "total": 2 + 24 * 2,
        "complete": 24 * 2,
        "incomplete": 0,
        "failed": 0,
        "skipped": 2,
        "stale": 0,
    }


async def test_excluded_accounts_are_left_alone(command: Command) -> None:
    one = organization()
    excluded = _others(one)[0]
    async with Simulator(one) as simulator:
        done = await command.sweep(
            simulator,
            *EVERYTHING,
            "--exclude-account",
            excluded,
            "--exclude-account",
            one.management,
        )
        assert roles_assumed(simulator) == _once(set(_others(one)) - {excluded})
        assert pages_asked(simulator)
        assert simulator.count(operation="ListImageScanFindings", account=one.management) == 0
    assert done.code == 0
    assert_same(command.found(), truth(one, _places(set(_others(one)) - {excluded})))


def _below(one: Organization, unit: str) -> set[str]:
    inside = {unit}
    while more := {each.id for each in one.units if each.parent in inside} - inside:
        inside |= more
    return {account.id for account in one.accounts if account.parent in inside}


async def test_units_are_swept_at_any_depth_beside_listed_accounts(command: Command) -> None:
    one = organization(accounts=14, suspended=2, findings=700, seed=5)
    top = next(unit for unit in one.units if unit.name == "Workloads")
    inner = next(unit for unit in one.units if unit.parent == top.id)  # overlaps: swept once
    below = _below(one, top.id)
    suspended = below - set(_active(one))
    accounts = {*below, one.management} - suspended
    assert suspended
    assert all(account.parent != top.id for account in one.accounts if account.id in below)
    assert set(_active(one)) - accounts, "some accounts should lie elsewhere"
    async with Simulator(one) as simulator:
        units = ("--ou", top.id, "--ou", inner.id, "--account", one.management)
        done = await command.sweep(simulator, *units, *ROLE, *_ALL)
        assert roles_assumed(simulator) == _once(accounts - {one.management})
        assert simulator.count(operation="ListAccounts") == 0
    assert done.code == 0
    assert_same(command.found(), truth(one, _places(accounts)))
    assert done.summary["targets"]["skipped"] == len(suspended)
    assert done.summary["targets"]["complete"] == 2 * len(accounts)


async def test_a_unit_with_an_exclude(command: Command) -> None:
    one = organization(accounts=14, suspended=2, findings=700, seed=5)
    top = next(unit for unit in one.units if unit.name == "Workloads")
    below = sorted(_below(one, top.id) & set(_active(one)))
    async with Simulator(one) as simulator:
        done = await command.sweep(
            simulator, "--ou", top.id, "--exclude-account", below[0], *ROLE, *_ALL
        )
    assert done.code == 0
    assert_same(command.found(), truth(one, _places(below[1:])))


async def test_a_delegated_administrator_enters_the_management_account_by_the_role(
    command: Command,
) -> None:
    one = organization()
    (caller,) = one.delegated
    async with Simulator(one) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, env=simulator.environment(caller))
        assert roles_assumed(simulator) == _once(set(_active(one)) - {caller})
    assert done.code == 0
    assert_same(command.found(), truth(one))


@pytest.mark.parametrize(
    ("partition", "region"), [("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1")]
)
async def test_roles_are_of_the_callers_partition(
    command: Command, partition: str, region: str
) -> None:
    one = organization(partition=partition, regions=(region,), accounts=3, suspended=0, findings=90)
    async with Simulator(one) as simulator:
        done = await command.sweep(simulator, *EVERYTHING)
        assert roles_assumed(simulator) == _once(_others(one), partition=partition)
    assert done.code == 0
    assert_same(command.found(), truth(one))


async def test_what_was_large_the_last_time_is_among_the_first(command: Command) -> None:
    one = organization(accounts=40, regions=REGIONS[:1], findings=4000, skew=3.0)
    large = max(_active(one), key=lambda account: len(held(one, account, REGIONS[0])))
    options = ("--max-concurrency", "1", "--split", "none", "-o", "out.ndjson")
    places: list[int] = []
    async with Simulator(one) as simulator:
        for _ in range(2):
            simulator.requests.clear()
            assert (await command.sweep(simulator, *EVERYTHING, *options)).code == 0
            accounts = list(dict.fromkeys(each.account for each in pages_asked(simulator)))
            places.append(accounts.index(large))
    # Sixteen accounts are entered at a time, and one of these is read first.
    assert places[1] < 16 < places[0]
    assert_same(command.found(), truth(one))
