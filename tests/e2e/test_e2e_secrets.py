"""No secret reaches a log, an error, a summary or a file, at any level."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from aiohttp import web

from harvester.simulator import Behaviour, Faults, Identity, Simulator
from tests.e2e.strangers import refusing
from tests.e2e.support import EVERYTHING, Command, Done, organization

_SECRET = "canarySecret/9f2b+7c1d0e8a45/secret"
_TOKEN = "canaryToken//8e1c5d3b7a90/" + "token" * 20
_EXTERNAL = "canary-external-id-5d1f3e"
_ID = "AKIACANARY0000000001"


@dataclass(frozen=True)
class Keys:
    """The caller's own session, which the simulator did not issue."""

    account: str

    def __call__(self, access_key_id: str) -> Identity | None:
        if access_key_id != _ID:
            return None
        arn = f"arn:aws:sts::{self.account}:assumed-role/Operator/me"
        return Identity(_ID, _SECRET, self.account, arn, _TOKEN)

    @property
    def variables(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": _ID,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_SESSION_TOKEN": _TOKEN,
            "PYTHONASYNCIODEBUG": "1",
        }


def _assert_silent(done: Done, command: Command, *more: str) -> None:
    texts = {
        "stdout": done.out.decode(),
        "stderr": done.err,
        **{
            path.name: path.read_text()
            for folder in (command.folder, command.home)
            for path in folder.rglob("*")
            if path.is_file()
        },
    }
    for where, text in texts.items():
        for secret in (_SECRET, _TOKEN, _EXTERNAL, *more):
            assert secret not in text, where


@pytest.mark.parametrize("style", ["text", "json"])
async def test_a_loud_sweep_through_faults_and_denials_tells_no_secret(
    command: Command, style: str
) -> None:
    one = organization(findings=300, empty_share=0.0)
    keys = Keys(one.management)
    denied, short = one.accounts[1].id, one.accounts[2].id
    faults = Faults.everywhere(
        0.03,
        slow_seconds=0.05,
        seed=5,
        repeated_token=0.0,
        denied_accounts=frozenset({denied}),
        forbidden_targets=frozenset({(short, "us-east-1")}),
    )
    behaviour = Behaviour(credentials_resolver=keys, external_id=_EXTERNAL)
    async with Simulator(one, behaviour=behaviour, faults=faults) as simulator:
        done = await command.sweep(
            simulator, *EVERYTHING, "-vv", "--log-format", style, "--page-size", "10",
            "--external-id", _EXTERNAL, env=keys.variables,
        )  # fmt: skip
        granted = [each for each in simulator._keyring._known.values() if each.assumed]
    assert done.code == 3
    assert set(done.problems) == {(denied, None), (short, "us-east-1")}
    assert len(granted) >= 2
    secrets = [text for each in granted for text in (each.secret_key, each.session_token or "")]
    assert all(secrets)
    _assert_silent(done, command, *secrets)


@pytest.mark.parametrize("style", ["text", "json"])
async def test_a_service_that_repeats_what_it_was_sent_is_not_quoted(
    command: Command, style: str
) -> None:
    one = organization(accounts=2, suspended=0, regions=("us-east-1",))
    keys = Keys(one.management)

    def echo(request: web.BaseRequest, body: bytes) -> str:
        return f"no: {request.headers.get('X-Amz-Security-Token')} {body.decode()} MARK"

    behaviour = Behaviour(credentials_resolver=keys)
    async with (
        Simulator(one, behaviour=behaviour) as simulator,
        refusing(echo, xml=False) as builder,
    ):
        env = {**keys.variables, "AWS_ENDPOINT_URL_IMAGEBUILDER": builder}
        done = await command.sweep(
            simulator, *EVERYTHING, "-vv", "--log-format", style,
            "--external-id", _EXTERNAL, env=env,
        )  # fmt: skip
        granted = [each for each in simulator._keyring._known.values() if each.assumed]
    assert done.code == 3
    assert all("MARK" in problem["message"] for problem in done.summary["problems"])
    _assert_silent(done, command, *[str(each.session_token) for each in granted])


@pytest.mark.parametrize("caller", [True, False], ids=["AssumeRole", "GetCallerIdentity"])
async def test_an_sts_that_repeats_what_it_was_sent_is_not_quoted(
    command: Command, *, caller: bool
) -> None:
    one = organization(accounts=2, suspended=0, findings=30, regions=("us-east-1",))
    keys = Keys(one.management)

    def echo(request: web.BaseRequest, body: bytes) -> str:
        return f"no: {request.headers.get('X-Amz-Security-Token')} {body.decode()} MARK"

    behaviour = Behaviour(credentials_resolver=keys)
    async with (
        Simulator(one, behaviour=behaviour) as simulator,
        refusing(echo, xml=True, caller=one.management if caller else "") as sts,
    ):
        env = {**keys.variables, "AWS_ENDPOINT_URL_STS": sts}
        done = await command.sweep(
            simulator, *EVERYTHING, "-vv", "--external-id", _EXTERNAL, env=env
        )
    assert done.code == (3 if caller else 4)
    assert "MARK" in done.err
    _assert_silent(done, command)
