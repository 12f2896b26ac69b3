"""STS, Organizations and EC2 as moto understands them; only Image Builder is the simulator's."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from moto.sts.models import sts_backends

from harvester.simulator import (
    Account,
    Behaviour,
    Identity,
    Organization,
    Simulator,
    make_findings,
)
from tests.e2e.support import Command, assert_same, by_two, pages_asked, truth

_OWN = "123456789012"  # whose every key is that moto has not made itself
_KEY, _SECRET = "AKIAMOTOCALLER000001", "caller-secret"
_REGIONS = ("us-east-1", "eu-west-1")
_OPTIONS = ("--role-name", "audit/Harvester", "--region", "us-east-1", "--region", "eu-west-1")


@dataclass(frozen=True)
class Moto:
    """An organization in moto: A holds B, C stands beside them."""

    url: str
    units: dict[str, str]
    accounts: dict[str, str]

    @property
    def variables(self) -> dict[str, str]:
        return {
            **{f"AWS_ENDPOINT_URL_{name}": self.url for name in ("STS", "ORGANIZATIONS", "EC2")},
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
        }


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "organizations", endpoint_url=url, region_name="us-east-1",
        aws_access_key_id=_KEY, aws_secret_access_key=_SECRET,
    )  # fmt: skip
    try:
        yield _build(url, client)
    finally:
        client.close()
        server.stop()


def _build(url: str, client: Any) -> Moto:
    client.create_organization(FeatureSet="ALL")
    root = client.list_roots()["Roots"][0]["Id"]
    units: dict[str, str] = {"root": root}
    for name, parent in (("A", "root"), ("B", "A"), ("C", "root")):
        made = client.create_organizational_unit(ParentId=units[parent], Name=name)
        units[name] = made["OrganizationalUnit"]["Id"]
    accounts = {"own": _OWN}
    for name, parent in (("r", "root"), ("a", "A"), ("b", "B"), ("closed", "B"), ("c", "C")):
        made = client.create_account(AccountName=name, Email=f"{name}@example.com")
        accounts[name] = made["CreateAccountStatus"]["AccountId"]
        if parent != "root":
            client.move_account(
                AccountId=accounts[name], SourceParentId=root, DestinationParentId=units[parent]
            )
    client.close_account(AccountId=accounts["closed"])
    return Moto(url, units, accounts)


def _whose(access_key_id: str) -> Identity | None:
    if access_key_id == _KEY:
        return Identity(_KEY, _SECRET, _OWN, f"arn:aws:iam::{_OWN}:user/moto")
    for account in list(sts_backends):
        for role in sts_backends[account]["aws"].assumed_roles:
            if role.access_key_id == access_key_id:
                return Identity(
                    access_key_id, role.secret_access_key, role.account_id, role.arn,
                    role.session_token, role.expiration.timestamp(),
                )  # fmt: skip
    return None


def _organization(moto: Moto) -> Organization:
    one = Organization(
        management=_OWN,
        accounts=tuple(Account(number, name, "r-a1b2") for name, number in moto.accounts.items()),
        regions=_REGIONS,
    )
    for number, (account, region) in enumerate(one.places()):
        findings = make_findings(20 + number, account=account, region=region, seed=number)
        one = one.with_findings(account, region, findings)
    return one


_CASES: dict[str, tuple[set[str], int]] = {
    "--organization": ({"own", "r", "a", "b", "c"}, 1),
    "--organization --exclude-account b --exclude-account own": ({"r", "a", "c"}, 1),
    "--ou A": ({"a", "b"}, 1),
    "--ou root --exclude-account closed": ({"own", "r", "a", "b", "c"}, 0),
    "--ou B --ou C --account own": ({"own", "b", "c"}, 1),
    "--account c": ({"c"}, 0),
}


async def test_accounts_as_moto_has_them(command: Command, moto: Moto) -> None:
    names = {**moto.units, **moto.accounts}
    one = _organization(moto)

    async def run(case: str) -> None:
        swept, skipped = _CASES[case]
        chosen, place = {moto.accounts[name] for name in swept}, command.place(case)
        given = [names.get(word, word) for word in case.split()]
        behaviour = Behaviour(credentials_resolver=_whose)
        async with Simulator(one, behaviour=behaviour) as simulator:
            done = await place.sweep(
                simulator, *given, *_OPTIONS, "--page-size", "10", env=moto.variables
            )
            assert {record.account for record in pages_asked(simulator)} == chosen, case
            assert {record.service for record in simulator.requests} == {"imagebuilder"}
        assert done.code == 0, (case, done.err)
        places = [each for each in one.places() if each[0] in chosen]
        assert_same(place.found(), truth(one, places))
        assert done.summary["targets"]["complete"] == len(places), case
        assert done.summary["targets"]["skipped"] == skipped, case

    await by_two(run, _CASES)
    assumed = {
        (account, role.role_arn, role.session_name)
        for account in moto.accounts.values()
        for role in sts_backends[account]["aws"].assumed_roles
    }
    assert assumed == {
        (moto.accounts[name], _role(moto.accounts[name]), "harvester")
        for name in ("r", "a", "b", "c")
    }


def _role(account: str) -> str:
    return f"arn:aws:iam::{account}:role/audit/Harvester"


async def test_all_regions_are_those_that_moto_calls_enabled(command: Command, moto: Moto) -> None:
    one = _organization(moto)
    client = boto3.client(
        "ec2", endpoint_url=moto.url, region_name="us-east-1",
        aws_access_key_id=_KEY, aws_secret_access_key=_SECRET,
    )  # fmt: skip
    rows = client.describe_regions()["Regions"]
    client.close()
    enabled = {row["RegionName"] for row in rows if row["OptInStatus"] != "not-opted-in"}
    one = replace(one, regions=tuple(sorted(enabled)))
    assert enabled < {row["RegionName"] for row in rows}
    left_out = sorted(enabled - {*_REGIONS})[6:]
    excluded = [option for name in left_out for option in ("--exclude-region", name)]
    async with Simulator(one, behaviour=Behaviour(credentials_resolver=_whose)) as simulator:
        done = await command.sweep(simulator, "--region", "all", *excluded, env=moto.variables)
        assert {record.region for record in pages_asked(simulator)} == enabled - {*left_out}
    assert done.code == 0, done.err
    assert_same(command.found(), truth(one, [(_OWN, region) for region in _REGIONS]))
