"""Canary credentials at -vv, through every fault there is: found nowhere."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from harvester.simulator import Behaviour, Dark, Faults, Identity, Organization, Simulator
from tests.e2e.support import EVERYTHING, Command, organization, until

_ID = "AKIACANARY0000000002"
_SECRET = "canarySecret/+9f2b/7c1d0e8a45=secret&\"'"
_TOKEN = "canaryToken//+8e1c5d3b7a90==" + "token/+" * 20
_EXTERNAL = "canary+external,id@5d1f3e:/="
_SIGNED = re.compile(rb"signature[^a-z]{0,8}[0-9a-f]{32}", re.IGNORECASE)
_SEED = 155
"""With it, each of six faults at 6 % strikes among the first 24 requests."""

# What somebody's own environment may do before the command runs: all loggers at DEBUG.
_LOUD = """
import logging
logging.basicConfig(level=logging.DEBUG)
for name in ("botocore", "botocore.auth", "botocore.endpoint", "botocore.hooks", "botocore.parsers",
             "botocore.credentials", "botocore.httpsession", "aiobotocore", "aiobotocore.credentials",
             "aiohttp", "aiohttp.client", "aiohttp.access", "urllib3"):
    logging.getLogger(name).setLevel(logging.DEBUG)
"""
# A transport that fails after a few calls, and says in its error what it was to send.
_TELLTALE = """
import aiohttp, socket
real, calls = aiohttp.ClientSession._request, 0
async def request(self, method, url, **options):
    global calls
    calls += 1
    headers = options["headers"]
    if calls > 6:
        token, signed = headers["X-Amz-Security-Token"], headers["Authorization"]
        raise RuntimeError(f"telltale: {token} {options['data']} {signed}") from socket.gaierror()
    return await real(self, method, url, **options)
aiohttp.ClientSession._request = request
"""
# One that fails after them as nothing that is caught as an error does.
_CRASH = """
import aiohttp
real, calls = aiohttp.ClientSession._request, 0
class Crash(BaseException):
    pass
async def request(self, method, url, **options):
    global calls
    calls += 1
    if calls > 6:
        raise Crash("crashed")
    return await real(self, method, url, **options)
aiohttp.ClientSession._request = request
"""


@dataclass(frozen=True)
class Caller:
    """A caller in a session that the simulator did not issue."""

    one: Organization

    def __call__(self, access_key_id: str) -> Identity | None:
        if access_key_id != _ID:
            return None
        arn = f"arn:aws:sts::{self.one.management}:assumed-role/Operator/me"
        return Identity(_ID, _SECRET, self.one.management, arn, _TOKEN)

    def simulator(self, faults: Faults) -> Simulator:
        behaviour = Behaviour(credentials_resolver=self, external_id=_EXTERNAL)
        return Simulator(self.one, behaviour=behaviour, faults=faults)

    def environment(self, command: Command, code: str = _LOUD) -> dict[str, str]:
        folder = command.folder.parent / "site"
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(code)
        return {
            "AWS_ACCESS_KEY_ID": _ID,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_SESSION_TOKEN": _TOKEN,
            "PYTHONASYNCIODEBUG": "1",
            "PYTHONPATH": f"{folder}:{Path(__file__).parents[2]}",
        }


def _forms(secret: str) -> Iterable[str]:
    yield from (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1])
    yield from (quote(secret, safe=""), quote(secret), quote_plus(secret))
    yield base64.b64encode(secret.encode()).decode().rstrip("=")
    yield base64.urlsafe_b64encode(secret.encode()).decode().rstrip("=")


def _assert_silent(simulator: Simulator, command: Command, *streams: bytes) -> None:
    """Fail where a secret stands in what was printed, or in any file below the folder or home."""
    issued = [each for each in simulator._keyring._known.values() if each.assumed]
    secrets = [_SECRET, _TOKEN, _EXTERNAL]
    secrets += [text for each in issued for text in (each.secret_key, each.session_token or "")]
    places = dict(zip(("stdout", "stderr"), streams, strict=True))
    for folder in (command.folder, command.home):
        places |= {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for place, data in places.items():
        folded = data.lower()
        for secret in secrets:
            for form in _forms(secret):
                assert form.encode().lower() not in folded, f"{form[:12]}… in {place}"
        assert not _SIGNED.search(data), place


def _groups(one: Organization) -> Mapping[str, Mapping[str, Any]]:
    """All faults, in few runs: what strikes now and then together, what lasts together."""
    accounts = [account.id for account in one.accounts if account.id != one.management]
    here = [(account, "us-east-1") for account in accounts]
    throttles = ("call_rate_limit", "throttling", "too_many_requests", "request_limit")
    servers = ("error_500", "error_503", "reset", "truncated", "slow", "damaged")
    chains = ("expired", "refused_token", "empty_page", "repeated_token")
    everywhere = frozenset({"sts", "organizations", "ec2", "imagebuilder"})
    return {
        "throttles": {
            **dict.fromkeys((*throttles, "slow_down", "bare_429"), 0.06),
            "services": everywhere,
            "seed": _SEED,
        },
        "servers": {
            **dict.fromkeys(servers, 0.06),
            "services": everywhere,
            "seed": _SEED,
            "slow_seconds": 0.02,
        },
        "chains": {**dict.fromkeys(chains, 0.2)},
        "refusals": {
            "denied_accounts": frozenset({accounts[0]}),
            "regions_denied_accounts": frozenset({accounts[1]}),
            "denied_targets": frozenset({here[2]}),
            "policy_denied_targets": frozenset({here[3]}),
            "forbidden_targets": frozenset({here[4]}),
            "cycling_targets": frozenset({here[5]}),
            "endless_targets": frozenset({here[6]}),
            "garbage_targets": frozenset({here[7]}),
            "denied_operations": frozenset({"ListImageScanFindingAggregations"}),
            "disabled_regions": frozenset({"eu-west-1"}),
            "dead_regions": frozenset({"ap-southeast-2"}),
        },
        "odd": {
            "unending_targets": frozenset({here[0]}),
            "repeating_targets": frozenset({here[1]}),
            "hung_operations": frozenset({"ListImageScanFindingAggregations"}),
            "odd_first_answers": frozenset({"eu-west-1"}),
        },
        "dark": {
            "dark": (
                Dark("error", "eu-west-1"),
                Dark("hang", accounts[0], "sts"),
                Dark("slow", accounts[1], "ec2"),
                Dark("close", accounts[2]),
                Dark("throttle", accounts[3], "*"),
            ),
            "dark_seconds": 0.5,
            "count_offsets": {accounts[4]: 3},
            "count_lag": 1,
        },
        "organization": {"organizations_denied": True},
        "clock": {"clock_skew": 3600.0},
    }


_ONE = {"accounts": 9, "suspended": 0, "findings": 600, "empty_share": 0.0}
_REGIONS = ("us-east-1", "eu-west-1", "ap-southeast-2")
_GROUPS = _groups(organization(**_ONE, regions=_REGIONS))
_OPTIONS = (*EVERYTHING, "-vv", "--page-size", "4", "--external-id", _EXTERNAL)


def test_no_fault_is_left_out() -> None:
    tried = {name for group in _GROUPS.values() for name in group}
    assert tried >= {field.name for field in dataclasses.fields(Faults)}


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize("group", _GROUPS)
async def test_no_secret_is_told_through_any_fault(
    command: Command, group: str, style: str
) -> None:
    caller = Caller(organization(**_ONE, regions=_REGIONS))
    faults = Faults(**_GROUPS[group])
    async with caller.simulator(faults) as simulator:
        done = await command.sweep(
            simulator, *_OPTIONS, "--log-format", style, "--deadline", "3s",
            env=caller.environment(command),
        )  # fmt: skip
        for name in Faults.transient():
            if getattr(faults, name):
                assert simulator.count(fault=name), f"{name} should have struck"
        codes = {record.code for record in simulator.requests}
        _assert_silent(simulator, command, done.out, done.err.encode())
    assert done.code == {"organization": 4, "clock": 4}.get(group, done.code)
    assert done.code in (0, 3, 4)
    assert len(done.err.splitlines()) > 1
    expected = {"organization": "AccessDeniedException", "clock": "RequestTimeTooSkewed"}
    assert expected.get(group) in codes


@pytest.mark.parametrize("style", ["text", "json"])
async def test_errors_that_tell_all_that_was_to_be_sent_are_redacted(
    command: Command, style: str
) -> None:
    caller = Caller(organization(accounts=3, suspended=0, findings=60))
    async with caller.simulator(Faults()) as simulator:
        done = await command.sweep(
            simulator, *_OPTIONS, "--log-format", style,
            env=caller.environment(command, _LOUD + _TELLTALE),
        )  # fmt: skip
        _assert_silent(simulator, command, done.out, done.err.encode())
    assert done.code == 3
    assert "telltale" in done.err
    assert any("telltale" in problem["message"] for problem in done.summary["problems"])


async def test_a_crash_shows_a_traceback_without_secrets(command: Command) -> None:
    caller = Caller(organization(accounts=3, suspended=0, findings=60))
    options = ("sweep", *_OPTIONS, "-o", "out.ndjson", "--summary", "summary.json")
    env = caller.environment(command, _LOUD + _CRASH)
    async with caller.simulator(Faults()) as simulator:
        async with command.start(simulator, *options, env=env) as process:
            out, err = await process.communicate()
        _assert_silent(simulator, command, out, err)
    assert process.returncode == 1
    assert b"Crash: crashed" in err
    assert b"Traceback" in err


async def test_a_killed_run_leaves_no_secret(command: Command) -> None:
    caller = Caller(organization(accounts=3, suspended=0, findings=600))
    options = ("sweep", *_OPTIONS, "-o", "out.ndjson", "--summary", "summary.json")
    async with caller.simulator(Faults(slow=1.0, slow_seconds=1.0)) as simulator:
        env = caller.environment(command)
        async with command.start(simulator, *options, env=env) as process:
            journal = command.folder / ".out.ndjson.harvester" / "journal"
            await until(lambda: journal.exists() and journal.read_bytes().count(b"\n") > 3)
            process.send_signal(signal.SIGKILL)
            out, err = await process.communicate()
        _assert_silent(simulator, command, out, err)
    assert list(journal.parent.iterdir())
