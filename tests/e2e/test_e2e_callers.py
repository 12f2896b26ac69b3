"""Whose credentials are used, where from, and what is asked on the way: as a process."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import pty
import signal
import sys
import termios
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web

from harvester.simulator import Behaviour, Organization, Simulator
from tests.e2e.support import (
    EVERYTHING,
    LEVEL,
    Command,
    Done,
    assert_same,
    organization,
    pages_asked,
    runs,
    stop,
    truth,
    until,
)
from tests.serving import serving

_ONE = {"accounts": 2, "suspended": 0, "findings": 40, "regions": ("us-east-1",)}
_NO_KEYS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
_NO_REGION = {"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}


def _config(command: Command, text: str) -> dict[str, str]:
    """Variables that make a config file of the SDK's the one in use, and give no keys."""
    path = command.folder / "aws-config"
    path.write_text(text)
    return {"AWS_CONFIG_FILE": str(path), **_NO_KEYS}


def _keys(simulator: Simulator) -> str:
    caller = simulator.credentials()
    return (
        f"aws_access_key_id = {caller.access_key_id}\naws_secret_access_key = {caller.secret_key}\n"
    )


def _program(command: Command, text: str) -> str:
    path = command.folder / "program"
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o700)
    return str(path)


def _lending(command: Command, simulator: Simulator, seconds: float, *, times: int = 1000) -> str:
    """A program that gives the caller's keys for so many seconds, and notes its runs in `runs`.

    After so many times it fails.
    """
    caller = simulator.credentials()
    return _program(
        command,
        f"""import datetime, json, sys
with open("runs", "a+") as runs:
    runs.write("x")
    runs.seek(0)
    if len(runs.read()) > {times}:
        sys.exit("canary-secret")
end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds={seconds})
print(json.dumps({{"Version": 1, "AccessKeyId": {caller.access_key_id!r},
    "SecretAccessKey": {caller.secret_key!r}, "Expiration": end.isoformat()}}))
""",
    )


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_a_program_with_short_lived_keys_is_run_once_for_twenty_accounts(
    command: Command, processes: str
) -> None:
    one = organization(**{**_ONE, "accounts": 20, "findings": 100})
    async with Simulator(one) as simulator:
        program = _lending(command, simulator, 600)
        env = _config(command, f"[profile p]\ncredential_process = {program}\n")
        done = await command.sweep(
            simulator, *EVERYTHING, "--profile", "p", "--processes", processes, env=env
        )
    assert done.code == 0, done.err
    assert_same(command.found(), truth(one))
    assert (command.folder / "runs").read_text() == "x"


_SHORT = Behaviour(session_duration=4)
_BUSY = ("--max-rate", "2", "--split", "none", "--page-size", "25")


async def test_keys_that_end_in_the_middle_of_a_sweep_are_refreshed(command: Command) -> None:
    one = organization(**{**_ONE, "accounts": 8, "findings": 1200, **LEVEL})
    async with Simulator(one, behaviour=_SHORT) as simulator:
        program = _lending(command, simulator, 4)
        env = _config(command, f"[profile p]\ncredential_process = {program}\n")
        done = await command.sweep(simulator, *EVERYTHING, *_BUSY, "--profile", "p", env=env)
        sent = len(simulator.requests)
    assert done.code == 0, done.err
    assert_same(command.found(), truth(one))
    assert 1 < len((command.folder / "runs").read_text()) < min(12, sent / 5)


async def test_a_program_that_fails_in_the_middle_of_a_sweep_is_not_run_for_each_account(
    command: Command,
) -> None:
    one = organization(**{**_ONE, "accounts": 20, "findings": 6000, **LEVEL})
    async with Simulator(one, behaviour=_SHORT) as simulator:
        program = _lending(command, simulator, 4, times=1)
        env = _config(command, f"[profile p]\ncredential_process = {program}\n")
        done = await command.sweep(simulator, *EVERYTHING, *_BUSY, "--profile", "p", env=env)
    assert done.code == 3, done.err
    assert len(done.problems) > 3
    assert {(stage, code) for _, stage, code in done.problems.values()} == {
        ("credentials", "CredentialsError")
    }
    assert len((command.folder / "runs").read_text()) <= 5
    assert "the credential_process of profile p: " in done.err
    assert "ended with status 1" in done.err
    assert done.err.count("cannot be refreshed, the keys are valid until") == 1
    assert "canary" not in done.err


def _hanging(command: Command) -> str:
    """A program that waits for a child of its own; the ids of both are in `pids`."""
    return _program(
        command,
        """import os, pathlib, subprocess
child = subprocess.Popen(["sleep", "600"])
pathlib.Path("new").write_text(f"{os.getpid()} {child.pid}")
os.rename("new", "pids")
child.wait()
""",
    )


@pytest.mark.parametrize("by", ["SIGINT", "SIGTERM", "deadline"])
async def test_a_program_that_hangs_ends_with_the_run(command: Command, by: str) -> None:
    env = _config(command, f"[profile p]\ncredential_process = {_hanging(command)}\n")
    pids = command.folder / "pids"
    async with Simulator(organization(**_ONE)) as simulator:
        options = ("--deadline", "3s") if by == "deadline" else ()
        arguments = ("sweep", "-o", "out.ndjson", "--profile", "p", *options)
        async with command.start(simulator, *arguments, env=env) as process:
            await until(pids.exists)
            both = [int(one) for one in pids.read_text().split()]
            assert all(map(runs, both))
            began = 0.0
            if by != "deadline":
                began = stop(process, signal.Signals[by])
            done = await command.finish(process, began)
        await until(lambda: not any(map(runs, both)))
        assert simulator.requests == []
    assert done.code == {"SIGINT": 130, "SIGTERM": 143, "deadline": 3}[by], done.err


async def _could_not_begin(
    command: Command, simulator: Simulator | None, env: Mapping[str, str], *options: str
) -> tuple[str, str]:
    done = await command(simulator, "sweep", *options, env=env)
    assert (done.code, done.out) == (4, b""), done.err
    said, hint = done.err.splitlines()
    return said.removeprefix("harvester: "), hint.removeprefix("  hint: ")


def _with_mfa(command: Command, simulator: Simulator) -> dict[str, str]:
    return _config(
        command,
        "[profile p]\nrole_arn = arn:aws:iam::111122223333:role/R\nsource_profile = q\n"
        f"mfa_serial = arn:aws:iam::111122223333:mfa/me\n[profile q]\n{_keys(simulator)}",
    )


async def test_an_mfa_code_is_not_asked_for_without_a_terminal_and_the_advice_works(
    command: Command,
) -> None:
    async with Simulator(Organization.single()) as simulator:
        env = _with_mfa(command, simulator)
        said, hint = await _could_not_begin(command, simulator, env, "--profile", "p")
        assert said == (
            "no AWS credentials: the role of profile p: it needs an MFA code"
            " (arn:aws:iam::111122223333:mfa/me), and there is no terminal to ask at"
        )
        assert "export-credentials --profile p --format env" in hint
        assert "without --profile" in hint
        assert simulator.requests == []
        # The variables that this command sets:
        keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        env |= {name: simulator.environment()[name] for name in keys}
        done = await command.sweep(simulator, env=env)
        assert done.code == 0, done.err


@asynccontextmanager
async def _at_a_terminal(
    command: Command, simulator: Simulator, *options: str, env: Mapping[str, str]
) -> AsyncIterator[tuple[asyncio.subprocess.Process, int, Callable[[], str]]]:
    """A sweep with a terminal; yields the process, the terminal, and what reads its screen."""
    ours, its = pty.openpty()
    os.set_blocking(ours, False)
    screen = bytearray()

    def read() -> str:
        with suppress(OSError):
            screen.extend(os.read(ours, 65536))
        return screen.decode()

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "harvester", "sweep", "-o", "out.ndjson", *options),
        cwd=command.folder,
        env=command.environment(simulator, env),
        stdin=its,
        stderr=its,
    )
    try:
        yield process, ours, read
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(ours)
        os.close(its)


def _echoes(terminal: int) -> bool:
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


async def test_an_mfa_code_is_asked_for_at_a_terminal(command: Command) -> None:
    async with Simulator(Organization.single()) as simulator:
        env = _with_mfa(command, simulator)
        async with _at_a_terminal(command, simulator, "--profile", "p", env=env) as (
            process,
            terminal,
            screen,
        ):
            prompt = "Enter MFA code for arn:aws:iam::111122223333:mfa/me:"
            await until(lambda: prompt in screen() and not _echoes(terminal))
            os.write(terminal, b"123456\n")
            await until(lambda: screen() and process.returncode is not None)
            assert process.returncode == 0, screen()
            assert "123456" not in screen()
            assert _echoes(terminal)
        assumed = [one for one in simulator.requests if one.operation == "AssumeRole"]
        assert [one.parameters["TokenCode"] for one in assumed] == ["123456"]


async def test_a_run_that_asks_for_an_mfa_code_can_be_stopped(command: Command) -> None:
    async with Simulator(Organization.single()) as simulator:
        env = _with_mfa(command, simulator)
        async with _at_a_terminal(command, simulator, "--profile", "p", env=env) as (
            process,
            terminal,
            screen,
        ):
            await until(lambda: "Enter MFA code" in screen() and not _echoes(terminal))
            process.terminate()
            await until(lambda: screen() and process.returncode is not None)
            assert process.returncode == 143
            assert _echoes(terminal)


_SSO = (
    "sso_start_url = https://x.awsapps.com/start\nsso_region = eu-west-1\n"
    "sso_account_id = 111122223333\nsso_role_name = R\n"
)


async def test_an_sso_login_is_asked_for_by_the_name_of_its_profile(command: Command) -> None:
    asked = []
    command.home.mkdir(exist_ok=True)

    granted: dict[str, object] = {}

    async def handle(request: web.BaseRequest) -> web.Response:
        asked.append((request.path, request.headers["x-amz-sso_bearer_token"]))
        if granted:
            return web.json_response({"roleCredentials": granted})
        headers = {"x-amzn-ErrorType": "UnauthorizedException"}
        return web.Response(status=401, headers=headers, body=b'{"message": "canary-token"}')

    async with serving(handle) as url:
        env = _config(command, f"[profile p]\n{_SSO}")
        env["AWS_EC2_METADATA_DISABLED"] = "true"
        options = ("--profile", "p", "--endpoint-url", url, "--region", "us-east-1")
        said, hint = await _could_not_begin(command, None, env, *options)
        assert "the SSO login of profile p" in said
        assert hint == "log in: aws sso login --profile p"
        assert asked == []

        _log_in(command.home)
        said, hint = await _could_not_begin(command, None, env, *options)
        assert asked == [("/federation/credentials", "canary-token")], "at the chosen endpoint"
        assert hint == "log in: aws sso login --profile p"
        assert "canary" not in said

        env = {**env, "AWS_ENDPOINT_URL_SSO": url.replace("127.0.0.1", "0.0.0.0")}  # noqa: S104
        done = await command(None, "sweep", "--profile", "p", "--region", "us-east-1", env=env)
        assert done.code == 2
        assert "would send session tokens unencrypted" in done.err
        assert len(asked) == 1

        async with Simulator(organization(**_ONE)) as simulator:
            caller = simulator.credentials()
            granted |= {"accessKeyId": caller.access_key_id, "secretAccessKey": caller.secret_key}
            granted |= {"sessionToken": "", "expiration": 4_000_000_000_000}
            env = {**env, "AWS_ENDPOINT_URL": simulator.url, "AWS_ENDPOINT_URL_SSO": url}
            done = await command.sweep(
                simulator, "--profile", "p", "--region", "us-east-1", env=env
            )
            assert done.code == 0, done.err


def _log_in(home: Path) -> None:
    """What `aws sso login` leaves behind."""
    folder = home / ".aws" / "sso" / "cache"
    folder.mkdir(parents=True)
    name = hashlib.sha1(b"https://x.awsapps.com/start").hexdigest()  # noqa: S324  # as the SDK does
    token = {"accessToken": "canary-token", "expiresAt": "2120-01-01T00:00:00Z"}
    (folder / f"{name}.json").write_text(json.dumps(token))


async def test_the_region_and_the_endpoint_reach_the_chains_sts(command: Command) -> None:
    """Of a profile without a region, and whatever other endpoints are configured."""
    one = organization(**{**_ONE, "regions": ("us-gov-west-1",), "partition": "aws-us-gov"})
    async with Simulator(one) as simulator, Simulator(one) as other:
        env = {
            **_config(
                command,
                f"[profile p]\nrole_arn = arn:aws-us-gov:iam::{one.management}:role/R\n"
                f"source_profile = q\n[profile q]\n{_keys(simulator)}",
            ),
            **_NO_REGION,
            "AWS_ENDPOINT_URL": other.url,
            "AWS_ENDPOINT_URL_STS": other.url,
        }
        for region in ("us-gov-west-1", "all"):
            done = await command.sweep(
                simulator,
                *("--profile", "p", "--region", region, "--endpoint-url", simulator.url, "--fresh"),
                env=env,
            )
            assert done.code == 0, done.err
        assert {request.region for request in simulator.requests} == {"us-gov-west-1"}
        assert other.requests == []


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
async def test_all_regions_without_a_configured_one_are_those_of_the_callers_partition(
    command: Command, partition: str
) -> None:
    """By keys that tell nothing of the partition, at an endpoint of one's own."""
    regions = {
        "aws": ("us-east-1", "eu-west-1"),
        "aws-cn": ("cn-north-1", "cn-northwest-1"),
        "aws-us-gov": ("us-gov-west-1",),
    }[partition]
    one = organization(**{**_ONE, "regions": regions, "partition": partition})
    async with Simulator(one) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, env=_NO_REGION)
        used = {request.region for request in simulator.requests if request.status == 200}
        assert {one.region for one in pages_asked(simulator)} == set(regions)
        assert used <= {*regions, "us-west-2"}
        if partition != "aws":
            assert "us-east-1" not in {request.region for request in simulator.requests}
    assert done.code == 0, done.err
    assert_same(command.found(), truth(one))


async def test_all_regions_with_nothing_that_tells_the_partition_is_a_usage_error(
    command: Command,
) -> None:
    env = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s"}
    done = await command(None, "sweep", "--region", "all", env=env)
    assert (done.code, done.out) == (2, b"")
    assert "set AWS_REGION to a region of your partition" in done.err


@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE"])
async def test_an_empty_variable_is_unset(command: Command, variable: str) -> None:
    async with Simulator(organization(**_ONE)) as simulator:
        done = await command.sweep(simulator, env={variable: "", "AWS_ENDPOINT_URL_STS": ""})
    assert done.code == 0, done.err


async def test_the_order_of_regions(command: Command) -> None:
    """The option, AWS_REGION, AWS_DEFAULT_REGION, the profile; what is empty is unset."""
    regions = ("us-east-1", "us-east-2", "us-west-1", "us-west-2")
    one = organization(**{**_ONE, "regions": regions})
    option, first, second, profile = regions
    async with Simulator(one) as simulator:
        config = _config(command, f"[profile p]\nregion = {profile}\n")
        env = {**simulator.environment(), "AWS_CONFIG_FILE": config["AWS_CONFIG_FILE"]}
        env |= {"AWS_PROFILE": "p", "AWS_REGION": first, "AWS_DEFAULT_REGION": second}
        assert await _swept(command, simulator, env, "--region", option) == {option}
        assert await _swept(command, simulator, env) == {first}
        assert await _swept(command, simulator, env | {"AWS_REGION": ""}) == {second}
        assert await _swept(command, simulator, env | _NO_REGION) == {profile}


async def _swept(
    command: Command, simulator: Simulator, env: Mapping[str, str], *options: str
) -> set[str]:
    before = len(simulator.requests)
    done = await command.sweep(simulator, *options, "--fresh", env=env)
    assert done.code == 0, done.err
    return {str(one.region) for one in simulator.requests[before:]}


async def test_a_profile_that_does_not_exist_is_named_with_where_it_comes_from(
    command: Command,
) -> None:
    async with Simulator(organization(**_ONE)) as simulator:
        env = _config(command, "[profile production]\nregion = us-east-1\n")

        async def refused(changes: Mapping[str, str], *options: str) -> Done:
            done = await command(simulator, "sweep", *options, env={**env, **changes})
            assert done.code == 2, done.err
            return done

        done = await refused({"AWS_PROFILE": "prodution"})
        assert (
            "AWS_PROFILE: there is no AWS profile 'prodution'; did you mean production?" in done.err
        )
        done = await refused({}, "--profile", "x")
        assert "harvester: --profile: there is no AWS profile 'x'; known: production" in done.err
        done = await refused({"AWS_PROFILE": "x", "AWS_CONFIG_FILE": "/nowhere"})
        assert "there are no profiles (AWS_CONFIG_FILE: '/nowhere' does not exist)" in done.err
        assert simulator.requests == []


async def test_a_single_account_in_china_is_entered_by_its_role_arn(command: Command) -> None:
    one = Organization.single(region="cn-north-1", partition="aws-cn")
    async with Simulator(one) as simulator:
        env = {
            **_config(
                command,
                "[profile p]\nrole_arn = arn:aws-cn:iam::111122223333:role/R\nsource_profile = q\n"
                f"[profile q]\n{_keys(simulator)}",
            ),
            **_NO_REGION,
        }
        done = await command.sweep(simulator, "--profile", "p", "--region", "all", env=env)
        assert done.code == 0, done.err
        asked = {request.region for request in simulator.requests}
        assert asked == {"cn-northwest-1", "cn-north-1"}
