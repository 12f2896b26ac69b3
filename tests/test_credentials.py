"""Sessions renewed in time and once, however many tasks ask."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from harvester.aws.chain import Chain
from harvester.aws.credentials import OwnCredentials, RoleCredentials, Session
from harvester.errors import RefusedError, SettingsError, StartError
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
    sts.after(3700)
    assert await _ask(role, 50) == ["AKIA2"] * 50


async def test_while_one_task_refreshes_the_others_use_the_keys_that_are_valid() -> None:
    sts = Sts()
    role = sts.credentials()
    await role.current()
    sts.after(3500)

    assert sorted(await _ask(role, 50)) == ["AKIA1"] * 49 + ["AKIA2"]
    assert await _ask(role, 50) == ["AKIA2"] * 50
    assert sts.granted == 2


async def test_after_a_failed_refresh_valid_keys_are_used_and_it_is_retried_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = RefusedError("AccessDenied", "no", operation="AssumeRole")
    sts = Sts(errors=[error, error])
    role = sts.credentials()
    sts.errors, errors = [], sts.errors
    await role.current()
    sts.after(3400)
    sts.errors = errors

    assert await _ask(role, 50) == ["AKIA1"] * 50
    assert len(sts.errors) == 1, "one attempt for fifty requests"
    sts.after(60)
    assert await _ask(role, 50) == ["AKIA1"] * 50
    assert sts.errors == []
    warnings = [one.getMessage() for one in caplog.records]
    assert len(warnings) == 1, "told once"
    assert "AccessDenied" in warnings[0]

    sts.after(60)
    assert (await role.current()).access_key == "AKIA2"


async def test_once_the_keys_are_over_a_failure_is_everyones_and_the_source_is_left_alone() -> None:
    sts = Sts()
    role = sts.credentials()
    await role.current()
    sts.after(3700)
    sts.errors = [RefusedError("AccessDenied", "no", operation="AssumeRole")]

    for _ in range(300):
        with pytest.raises(RefusedError):
            await role.current()
    sts.after(20)
    assert (await role.current()).access_key == "AKIA2"


async def test_a_source_that_gives_refused_keys_again_is_not_asked_for_each_request() -> None:
    asked = 0
    now = datetime(2026, 3, 1, tzinfo=UTC)

    async def same() -> Session:
        nonlocal asked
        asked += 1
        return Session.granted("AKIA", "secret", "token", None)

    own = OwnCredentials(same, now=lambda: now)
    for _ in range(300):
        own.expire(await own.current())
    assert asked == 2
    now += timedelta(seconds=20)
    await own.current()
    assert asked == 3


async def test_a_source_that_gives_the_same_keys_until_their_end_is_asked_a_few_times() -> None:
    asked = 0
    now = datetime(2026, 3, 1, tzinfo=UTC)
    end = now + timedelta(seconds=600)

    async def cached() -> Session:
        nonlocal asked
        asked += 1
        return Session.granted("AKIA", "secret", "token", end)

    own = OwnCredentials(cached, now=lambda: now)
    for _ in range(599):
        await own.current()
        now += timedelta(seconds=1)
    assert 2 <= asked <= 15


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

    sts.after(15)
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
    with pytest.raises(SettingsError, match="there is no AWS profile 'absent'; known: p"):
        await OwnCredentials.of_chain(Chain("absent")).current()


async def test_no_credentials_at_all() -> None:
    with pytest.raises(StartError, match="no AWS credentials found") as caught:
        await OwnCredentials.of_chain(Chain()).current()

    assert caught.value.hint
    assert caught.value.exit_code == 4


def _counting(folder: Path, seconds: float) -> Path:
    """A program that gives keys for so many seconds, and notes each run in the file `runs`."""
    script = folder / "process"
    script.write_text(f"""#!{sys.executable}
import datetime, json, pathlib
runs = pathlib.Path({str(folder / "runs")!r})
number = len(runs.read_text()) if runs.exists() else 0
runs.write_text("x" * (number + 1))
end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds={seconds})
print(json.dumps({{"Version": 1, "AccessKeyId": f"AKIA{{number}}", "SecretAccessKey": "s",
    "SessionToken": "t", "Expiration": end.isoformat()}}))
""")
    script.chmod(0o700)
    return script


async def test_keys_of_a_program_with_minutes_to_live_are_asked_for_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The SDK asks anew for each request once less than fifteen minutes are left."""
    _configure(monkeypatch, tmp_path, f"credential_process = {_counting(tmp_path, 100)}")
    now = datetime.now(UTC)
    own = OwnCredentials.of_chain(Chain("p"))
    own._now = lambda: now
    assert {(await own.current()).access_key for _ in range(20)} == {"AKIA0"}
    now += timedelta(seconds=80)
    assert {(await own.current()).access_key for _ in range(20)} == {"AKIA1"}


async def test_a_source_profile_is_asked_once_for_a_role_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with Simulator(Organization.single()) as simulator:
        caller = simulator.credentials()
        script = _counting(tmp_path, 100)
        text = script.read_text().replace('f"AKIA{number}"', repr(caller.access_key_id))
        text = text.replace('"SecretAccessKey": "s"', f'"SecretAccessKey": {caller.secret_key!r}')
        script.write_text(text.replace('"SessionToken": "t", ', ""))
        _configure(
            monkeypatch,
            tmp_path,
            "role_arn = arn:aws:iam::111122223333:role/R\nsource_profile = source\n"
            f"[profile source]\ncredential_process = {script}",
        )
        chain = Chain("p", simulator.url, region="eu-west-1")
        await OwnCredentials.of_chain(chain).current()
        assert [one.region for one in simulator.requests] == ["eu-west-1"]
    assert (tmp_path / "runs").read_text() == "x"


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
