"""Secrets are recognized in every form, and no value of ours shows one, tracebacks included."""

from __future__ import annotations

import base64
import copy
import dataclasses
import html
import json
import pickle
import re
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

import harvester
from harvester.aws.accounts import Accounts
from harvester.aws.chain import Chain
from harvester.aws.clients import Clients
from harvester.aws.credentials import OwnCredentials, Session
from harvester.clock import Clock
from harvester.model import Account, Caller
from harvester.paging.channel import Exchange
from harvester.paging.retry import RetryPolicy
from harvester.paging.slots import FairSlots
from harvester.settings import AccountSettings, check_settings, load_settings
from harvester.tally import Tally
from harvester.text import Secret, redact
from tests.e2e.strangers import refusing
from tests.serving import serving

_KEY = "canaryKey/+aB9&'x"
_TOKEN = "canaryToken//8e1c5d3b7a90+==/" + "token" * 20
_EXTERNAL = "canary+external,id@5d1f3e:/="
_ACCOUNT = "111122223333"
_FORMS: list[Callable[[str], str]] = [
    str,
    repr,
    json.dumps,
    html.escape,
    quote,
    quote_plus,
    lambda text: quote(text, safe=""),
    lambda text: re.sub("%..", lambda found: found[0].lower(), quote(text, safe="")),
    lambda text: base64.b64encode(text.encode()).decode(),
    lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
]


@pytest.mark.parametrize("form", _FORMS)
@pytest.mark.parametrize("secret", [_KEY, _TOKEN, _EXTERNAL])
def test_a_secret_is_replaced_in_every_form(form: Callable[[str], str], secret: str) -> None:
    said = redact(f"before {form(secret)} after {form(secret)}", (secret,))
    assert "canary" not in said.lower()
    assert form(secret) not in said
    assert said.startswith("before ")
    assert said.count("***") == 2


_TEXT = st.characters(codec="utf-8", min_codepoint=32, exclude_characters="*")


@given(st.text(_TEXT, min_size=8), st.sampled_from(_FORMS), st.text(_TEXT))
def test_no_form_of_a_secret_survives(secret: str, form: Callable[[str], str], other: str) -> None:
    assert form(secret) not in redact(f"{other}{form(secret)}{other}", (secret, None, ""))


@given(st.text(st.characters(exclude_categories=()), min_size=1))
def test_any_text_can_be_a_secret(secret: str) -> None:
    assert redact(f"<{secret}>", (secret,)) == "<***>" or secret in "<***>"


@pytest.mark.parametrize(
    "text",
    [
        "Credential=AKIA/20260301/us-east-1/sts/aws4_request, Signature={0}",
        "'X-Amz-Signature={0}' not a valid key=value pair",
        "&X-Amz-Signature%3D{0}&",
        '{{"Signature": "{0}"}}',
        "signature&quot;:&quot;{0}",
    ],
)
def test_signatures_are_replaced_without_being_known(text: str) -> None:
    digest = "0123456789abcdef" * 4
    said = redact(text.format(digest))
    assert digest not in said
    assert said == text.format("***")


def test_credentials_in_addresses_are_replaced() -> None:
    said = redact('proxy "http://me:pass@proxy.example:3128/x" and https://token@h, a@b')
    assert said == 'proxy "http://***@proxy.example:3128/x" and https://***@h, a@b'


def test_what_is_no_secret_stays() -> None:
    text = "the digest 0123456789abcdef is signature-free: http://host/path?a=b"
    assert redact(text, ("other",)) == text


def test_a_secret_is_text_that_does_not_show_itself() -> None:
    secret = Secret(_TOKEN)
    assert secret == _TOKEN
    assert f"{secret}" == _TOKEN
    for shown in (secret, [secret], {"a": secret}, (None, secret)):
        assert "canary" not in repr(shown)
        assert "***" in repr(shown)
    for copied in (copy.deepcopy(secret), pickle.loads(pickle.dumps(secret))):  # noqa: S301
        assert copied == _TOKEN
        assert repr(copied) == "'***'"


def test_the_values_that_hold_secrets_do_not_show_them() -> None:
    session = Session.granted("AKIA", _KEY, _TOKEN, datetime.now(UTC))
    settings = harvester.Settings(accounts=AccountSettings(external_id=_EXTERNAL))
    checked = check_settings(settings)
    held = (session, session.keys, vars(session.keys), settings, checked, settings.accounts)
    for one in (*held, dataclasses.asdict(session)):
        assert "canary" not in repr(one)
        assert "canary" not in f"{one}"
    assert checked.accounts.external_id == _EXTERNAL


def _shown(error: BaseException) -> str:
    """A traceback with the local variables of all its frames."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(told.format())


def _assert_silent(error: BaseException, frame: str) -> None:
    shown = _shown(error)
    assert frame in shown
    for secret in (_KEY, _TOKEN, _EXTERNAL):
        for form in _FORMS:
            assert form(secret) not in shown


@pytest.mark.parametrize("wrong", ['role_name = "a b"', "organization = true"])
def test_errors_of_settings_hold_no_secret(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "harvester.toml"
    path.write_text(f'[accounts]\nexternal_id = "{_EXTERNAL}"\n{wrong}\n')
    with pytest.raises(harvester.SettingsError) as caught:
        load_settings(path)
    _assert_silent(caught.value, "load_settings")
    accounts = AccountSettings(external_id=_EXTERNAL, organization=True)
    with pytest.raises(harvester.SettingsError) as caught:
        check_settings(harvester.Settings(accounts=accounts))
    _assert_silent(caught.value, "check_settings")


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", _KEY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", _TOKEN)


def _echo(request: web.BaseRequest, body: bytes) -> str:
    token, signed = (
        request.headers.get(name) for name in ("X-Amz-Security-Token", "Authorization")
    )
    return f"no: {body.decode().partition('ExternalId')[2]} {token} MARK {signed}"


@asynccontextmanager
async def _accounts(url: str) -> AsyncIterator[Accounts]:
    settings = AccountSettings(role_name="Any", external_id=_EXTERNAL)
    async with Clients(profile=None, endpoint_url=url, max_connections=1) as clients:
        clock = Clock()
        policy = RetryPolicy(fault_attempts=1)
        exchange = Exchange(clients, FairSlots(1), Tally(clock.now), clock, policy)
        yield Accounts(settings, exchange, OwnCredentials.of_chain(Chain()), "us-east-1")


async def _assume(accounts: Accounts) -> None:
    caller = Caller("999900001111", "arn:aws:iam::999900001111:user/me", "aws")
    await accounts.credentials(Account(_ACCOUNT), caller).current()


@pytest.mark.usefixtures("keys")
async def test_errors_of_a_service_that_repeats_what_it_was_sent_hold_no_secret() -> None:
    async with refusing(_echo, xml=True) as sts, _accounts(sts) as accounts:
        with pytest.raises(harvester.ServiceError) as refused:
            await _assume(accounts)
        with pytest.raises(harvester.StartError) as unknown:
            await accounts.caller()
    for caught, frame in ((refused, "_assume"), (unknown, "in caller")):
        assert "*** MARK AWS4-HMAC-SHA256" in str(caught.value)
        assert "Signature=***" in str(caught.value)
        _assert_silent(caught.value, frame)


@pytest.mark.usefixtures("keys")
async def test_errors_of_answers_with_keys_in_them_hold_no_secret() -> None:
    async def handle(request: web.BaseRequest) -> web.Response:
        await request.read()
        body = (
            '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
            f"<AssumeRoleResult><Credentials><SessionToken>{_TOKEN}</SessionToken>"
            f"<SecretAccessKey>{html.escape(_KEY)}</SecretAccessKey></Credentials>"
            "</AssumeRoleResult></AssumeRoleResponse>"
        )
        return web.Response(content_type="text/xml", body=body.encode())

    async with serving(handle) as sts, _accounts(sts) as accounts:
        with pytest.raises(harvester.ServiceError) as caught:
            await _assume(accounts)
    assert caught.value.code == "DamagedAnswer"
    _assert_silent(caught.value, "_session")


_PROFILES = f"""
[profile r]
role_arn = arn:aws:iam::{_ACCOUNT}:role/Any
source_profile = s
region = us-east-1
external_id = {_EXTERNAL}
[profile s]
aws_access_key_id = AKIA
aws_secret_access_key = {_KEY}
aws_session_token = {_TOKEN}
"""


@pytest.mark.parametrize("answer", ["echo", "garbage"])
async def test_errors_of_the_credential_chain_hold_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    (tmp_path / "config").write_text(_PROFILES)
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/config")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    async def garble(request: web.BaseRequest) -> web.Response:
        return web.Response(body=_echo(request, await request.read()).encode())

    server = refusing(_echo, xml=True) if answer == "echo" else serving(garble)
    async with server as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL", sts)
        with pytest.raises(harvester.StartError) as caught:
            await OwnCredentials.of_chain(Chain("r")).current()
    assert str(caught.value).startswith("no AWS credentials: ")
    assert answer == "garbage" or "*** MARK" in str(caught.value)
    _assert_silent(caught.value, "_named")
