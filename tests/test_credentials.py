"""Sessions renewed in time and once, however many tasks ask."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from harvester.aws.chain import Chain
from harvester.aws.credentials import OwnCredentials, RoleCredentials, Session
from harvester.errors import RefusedError, StartError
from harvester.simulator import Behaviour, Organization, Simulator


@dataclass
class Sts:
    """Grants numbered sessions, after as many steps as `slowness` says."""

    lifetime: float = 3600
    slowness: int = 3
    now: datetime = datetime(2026, 3, 1, tzinfo=UTC)
    granted: int = 0
    under_way: int = 0
    errors: list[Exception] = field(default_factory=list)

    async def assume(self) -> Session:
        assert self.under_way == 0, "one at a time"
        self.under_way += 1
        try:
            for _ in range(self.slowness):
                await checkpoint()
        finally:
            self.under_way -= 1
        if self.errors:
            raise self.errors.pop(0)
        self.granted += 1
        expires = self.now + timedelta(seconds=self.lifetime)
        return Session.granted(f"AKIA{self.granted}", "secret", "token", expires)

    def credentials(self) -> RoleCredentials:
        return RoleCredentials(self.assume, now=lambda: self.now)

    def after(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


async def _ask(role: RoleCredentials, times: int) -> list[str]:
    keys: list[str] = []

    async def one() -> None:
        keys.append((await role.current()).access_key)

    async with anyio.create_task_group() as group:
        for _ in range(times):
            group.start_soon(one)
    return keys


async def test_nothing_is_assumed_before_it_is_needed() -> None:
    sts = Sts()
    role = sts.credentials()
    assert sts.granted == 0

    keys = await role.current()
    assert (keys.access_key, keys.secret_key, keys.token) == ("AKIA1", "secret", "token")


async def test_however_many_ask_at_once_sts_is_asked_once() -> None:
    sts = Sts()
    role = sts.credentials()

    assert await _ask(role, 50) == ["AKIA1"] * 50
    sts.after(3500)
    assert await _ask(role, 50) == ["AKIA2"] * 50


@pytest.mark.parametrize(
    ("lifetime", "good_until"),
    [(43_200, 42_900), (3600, 3300), (1200, 900), (900, 675), (60, 45), (4, 3)],
)
async def test_renewed_before_the_end_and_not_much_before(
    lifetime: float, good_until: float
) -> None:
    sts = Sts(lifetime)
    role = sts.credentials()
    await role.current()

    sts.after(good_until - 0.5)
    assert (await role.current()).access_key == "AKIA1"
    sts.after(0.5)
    assert (await role.current()).access_key == "AKIA2"


async def test_a_session_that_is_over_at_once_is_no_endless_loop() -> None:
    sts = Sts(lifetime=-10)
    role = sts.credentials()

    assert [(await role.current()).access_key for _ in range(2)] == ["AKIA1", "AKIA2"]


async def test_keys_refused_by_many_are_renewed_once() -> None:
    sts = Sts()
    role = sts.credentials()
    refused = await role.current()
    for _ in range(8):
        role.expire(refused)

    assert await _ask(role, 8) == ["AKIA2"] * 8
    role.expire(refused)  # a straggler
    assert (await role.current()).access_key == "AKIA2"
    assert sts.granted == 2


async def test_refusals_that_come_while_the_renewal_is_under_way_cause_no_other() -> None:
    sts = Sts()
    role = sts.credentials()
    refused = await role.current()
    role.expire(refused)
    async with anyio.create_task_group() as group:
        group.start_soon(role.current)
        for _ in range(5):
            await checkpoint()
            role.expire(refused)

    assert sts.granted == 2


@pytest.mark.parametrize("steps", range(8))
async def test_who_is_cancelled_while_renewing_does_not_wedge_the_others(steps: int) -> None:
    sts = Sts()
    role = sts.credentials()
    keys: list[str] = []

    async def other() -> None:
        keys.append((await role.current()).access_key)

    with anyio.fail_after(2):
        async with anyio.create_task_group() as group:
            first = anyio.CancelScope()

            async def cancelled() -> None:
                with first:
                    await role.current()

            group.start_soon(cancelled)
            group.start_soon(other)
            for _ in range(steps):
                await checkpoint()
            first.cancel()

    assert keys == ["AKIA1"]
    assert (await role.current()).access_key == "AKIA1"


async def test_an_error_passes_and_the_next_may_succeed() -> None:
    error = RefusedError("AccessDenied", "no", operation="AssumeRole")
    sts = Sts(errors=[error])
    role = sts.credentials()
    with pytest.raises(RefusedError) as caught:
        await role.current()
    assert caught.value is error

    assert (await role.current()).access_key == "AKIA1"


async def test_keys_never_show_in_a_repr() -> None:
    session = await Sts().assume()

    assert "secret" not in repr(session)
    assert "token" not in repr(session)


async def test_own_credentials_come_from_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFIRST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    own = OwnCredentials.of_chain(Chain())
    keys = await own.current()
    assert (keys.access_key, keys.secret_key, keys.token) == ("AKIAFIRST", "secret", None)
    assert await own.current() is keys, "the same keys as long as they are the same"

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASECOND")
    assert await own.current() is keys
    own.expire(keys)
    renewed = await own.current()
    assert renewed.access_key == "AKIASECOND"
    own.expire(keys)  # a straggler
    assert await own.current() is renewed


async def test_own_credentials_of_a_profile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _configure(monkeypatch, tmp_path, "aws_access_key_id = AKIAP\naws_secret_access_key = secret")

    assert (await OwnCredentials.of_chain(Chain("p")).current()).access_key == "AKIAP"
    with pytest.raises(StartError, match="no AWS credentials") as caught:
        await OwnCredentials.of_chain(Chain("absent")).current()
    assert caught.value.hint


async def test_no_credentials_at_all() -> None:
    with pytest.raises(StartError, match="no AWS credentials found") as caught:
        await OwnCredentials.of_chain(Chain()).current()

    assert caught.value.hint
    assert caught.value.exit_code == 4


async def test_a_renewing_source_is_followed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    over = datetime.now(UTC) + timedelta(seconds=1)  # within the SDK's time of mandatory renewal
    answer = {"Version": 1, "SecretAccessKey": "s", "Expiration": over.isoformat()}
    script = tmp_path / "process"
    script.write_text(
        f"#!/bin/sh\necho x >> {count}\nN=$(wc -l < {count} | tr -d ' ')\n"
        f"echo '{json.dumps(answer)[:-1]}, \"AccessKeyId\": \"AKIA'$N'\"}}'\n"
    )
    script.chmod(0o700)
    _configure(monkeypatch, tmp_path, f"credential_process = {script}")
    own = OwnCredentials.of_chain(Chain("p"))
    keys = [(await own.current()).access_key for _ in range(2)]

    assert len(set(keys)) == 2


@pytest.mark.parametrize(
    "lines",
    [
        "aws_access_key_id = AKIAP",
        "credential_process = /bin/false",
        "credential_process = /nonexistent/tool",
        "credential_process = /bin/echo hello",
        "web_identity_token_file = /nonexistent\nrole_arn = arn:aws:iam::111122223333:role/R",
        "role_arn = arn:aws:iam::111122223333:role/R\nsource_profile = absent",
        """sso_start_url = https://x.awsapps.com/start
sso_region = us-east-1
sso_account_id = 111122223333
sso_role_name = R""",
    ],
)
async def test_a_source_that_gives_none_is_a_start_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lines: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    _configure(monkeypatch, tmp_path, lines)
    with pytest.raises(StartError, match="no AWS credentials") as caught:
        await OwnCredentials.of_chain(Chain("p")).current()

    assert "\n" not in str(caught.value)


async def test_a_profile_whose_role_is_refused_is_a_start_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    behaviour = Behaviour(role_names=frozenset({"Other"}))
    async with Simulator(Organization.single(), behaviour=behaviour) as simulator:
        caller = simulator.credentials()
        monkeypatch.setenv("AWS_ENDPOINT_URL", simulator.url)
        _configure(
            monkeypatch,
            tmp_path,
            "role_arn = arn:aws:iam::111122223333:role/R\nsource_profile = source\n"
            f"region = us-east-1\n[profile source]\naws_access_key_id = {caller.access_key_id}\n"
            f"aws_secret_access_key = {caller.secret_key}",
        )
        with pytest.raises(StartError, match="AccessDenied"):
            await OwnCredentials.of_chain(Chain("p")).current()


def _configure(monkeypatch: pytest.MonkeyPatch, folder: Path, lines: str) -> None:
    config = folder / "config"
    config.write_text(f"[profile p]\n{lines}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
