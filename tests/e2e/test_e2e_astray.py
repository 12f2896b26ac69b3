"""No request goes where it can be read, or to whom it is not meant for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from harvester.simulator import Simulator
from tests.e2e.astray import Authority, listening, passing_on
from tests.e2e.support import (
    EVERYTHING,
    Command,
    Done,
    assert_same,
    by_two,
    organization,
    roles_assumed,
    truth,
)

_ONE = {"accounts": 2, "suspended": 0, "findings": 40, "regions": ("us-east-1",)}
_SERVICES = ("IMAGEBUILDER", "STS", "ORGANIZATIONS", "EC2")


def _elsewhere(simulator: Simulator) -> str:
    """An address of the simulator that is not on loopback by its name, and yet leads there."""
    return simulator.url.replace("127.0.0.1", "0.0.0.0")  # noqa: S104  # a name, not a socket


def _profile(command: Command, text: str) -> dict[str, str]:
    """Variables that make a config file of the SDK's the one in use."""
    config = command.folder / "aws-config"
    config.write_text(text)
    return {"AWS_CONFIG_FILE": str(config)}


async def _refused(command: Command, simulator: Simulator, *options: str, env: object) -> str:
    assert isinstance(env, Mapping)
    done = await command(simulator, "sweep", *EVERYTHING, *options, env=env)
    assert (done.code, done.out) == (2, b""), done.err
    (line,) = done.err.splitlines()
    assert line.startswith("harvester: ")
    return line.removeprefix("harvester: ")


async def test_plain_http_to_another_machine_is_refused_before_anything_is_sent(
    command: Command,
) -> None:
    """Each of the ways in which an endpoint can be set."""
    async with Simulator(organization(**_ONE)) as simulator:
        url = _elsewhere(simulator)
        section = (
            f"[profile p]\nservices = s\n[services s]\nimagebuilder =\n  endpoint_url = {url}\n"
        )
        cases: list[tuple[str, tuple[str, ...], dict[str, str]]] = [
            ("--endpoint-url", ("--endpoint-url", url), {}),
            ("its.toml:2: aws.endpoint_url", ("-c", "its.toml"), {}),
            ("AWS_ENDPOINT_URL", (), {"AWS_ENDPOINT_URL": url}),
            *((f"AWS_ENDPOINT_URL_{one}", (), {f"AWS_ENDPOINT_URL_{one}": url}) for one in _SERVICES),
            (
                "endpoint_url in the AWS profile",
                ("--profile", "p"),
                {
                    "AWS_ENDPOINT_URL": "",
                    **_profile(command.place("b"), f"[profile p]\nendpoint_url = {url}\n"),
                },
            ),
            (
                "endpoint_url of imagebuilder in the AWS profile's services",
                (),
                {
                    "AWS_ENDPOINT_URL": "",
                    "AWS_PROFILE": "p",
                    **_profile(command.place("a"), section),
                },
            ),
        ]  # fmt: skip
        (command.folder / "its.toml").write_text(f'[aws]\nendpoint_url = "{url}"\n')

        async def run(case: tuple[str, tuple[str, ...], dict[str, str]]) -> None:
            name, options, env = case
            said = await _refused(command, simulator, *options, env=env)
            assert said.startswith(f"{name}: '{url}' "), said
            assert "https" in said
            assert "127.0.0.0/8" in said
            assert "--allow-insecure-endpoint" in said

        await by_two(run, cases)
        assert simulator.requests == []


async def test_the_credential_chain_is_held_to_the_same(command: Command) -> None:
    """A profile's role is assumed by the SDK itself."""
    one = organization(**_ONE)
    async with Simulator(one) as simulator:
        keys = simulator.environment()
        url = _elsewhere(simulator)
        profiles = (
            f"[profile r]\nrole_arn = arn:aws:iam::{one.accounts[1].id}:role/Any\n"
            "source_profile = s\nregion = us-east-1\n"
            f"[profile s]\naws_access_key_id = {keys['AWS_ACCESS_KEY_ID']}\n"
            f"aws_secret_access_key = {keys['AWS_SECRET_ACCESS_KEY']}\n"
        )
        env = {
            **_profile(command, profiles),
            "AWS_ENDPOINT_URL_STS": url,
            "AWS_ACCESS_KEY_ID": "",
            "AWS_SECRET_ACCESS_KEY": "",
        }
        done = await command(simulator, "sweep", "--profile", "r", env=env)
        assert (done.code, done.out) == (2, b""), done.err
        assert f"AWS_ENDPOINT_URL_STS: '{url}' would send session tokens unencrypted" in done.err
        assert simulator.requests == []

        options = ("--profile", "r", "--allow-insecure-endpoint")
        done = await command(simulator, "sweep", *options, env=env)
        assert done.code == 0, done.err
        assert sum(roles_assumed(simulator).values()) == 1


@pytest.mark.parametrize("by", ["option", "key"])
async def test_what_is_allowed_by_name_works_and_is_warned_of(command: Command, by: str) -> None:
    one = organization(**_ONE)
    async with Simulator(one) as simulator:
        url = _elsewhere(simulator)
        config = f'[aws]\nendpoint_url = "{url}"\nallow_insecure_endpoint = true\n'
        (command.folder / "its.toml").write_text(config)
        given = {"option": ("--allow-insecure-endpoint",), "key": ("-c", "its.toml")}[by]
        env = {"AWS_ENDPOINT_URL": url}
        done = await command.sweep(simulator, *EVERYTHING, *given, env=env)
    assert done.code == 0, done.err
    assert_same(command.found(), truth(one))
    (warning,) = [line for line in done.err.splitlines() if "warning" in line]
    name = {"option": "AWS_ENDPOINT_URL", "key": "aws.endpoint_url"}[by]
    assert f"{name}: requests go unencrypted to {url}" in warning


async def test_what_is_no_endpoint_is_a_settings_error_without_its_password(
    command: Command,
) -> None:
    async with Simulator(organization(**_ONE)) as simulator:

        async def run(url: str) -> None:
            said = await _refused(command, simulator, env={"AWS_ENDPOINT_URL_EC2": url})
            assert said.startswith("AWS_ENDPOINT_URL_EC2: '")
            assert "hunter2" not in said

        await by_two(
            run,
            (
                "https://me:hunter2@vpce.example",
                "http://127.0.0.1@evil.example",
                "http://127.0.0.1:x",
                "ftp://host",
                "imagebuilder.example",
                "https://",
                "http://localhost\\@evil.example",
            ),
        )
        assert simulator.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("service", ["IMAGEBUILDER", "STS", "EC2"])
async def test_a_redirect_takes_nothing_to_another_host(
    command: Command, service: str, status: int
) -> None:
    one = organization(**_ONE)
    async with (
        Simulator(one) as simulator,
        listening() as thief,
        listening(status, {"Location": f"{thief.url}/caught"}) as door,
    ):
        done = await command.sweep(
            simulator,
            *EVERYTHING,
            *("--external-id", "canary-external-id", "--deadline", "3s"),
            env={f"AWS_ENDPOINT_URL_{service}": door.url},
        )
        assert door.heard
        assert thief.heard == []
    assert done.code == (4 if service == "STS" else 3), done.err


async def test_the_credential_chain_follows_no_redirect_either(command: Command) -> None:
    async with (
        Simulator(organization(**_ONE)) as simulator,
        listening() as thief,
        listening(307, {"Location": thief.url}) as door,
    ):
        profiles = (
            "[profile r]\nrole_arn = arn:aws:iam::111122223333:role/Any\nsource_profile = s\n"
            "region = us-east-1\nexternal_id = canary-external-id\n"
            "[profile s]\naws_access_key_id = AKIA\naws_secret_access_key = s\n"
        )
        env = {
            **_profile(command, profiles),
            "AWS_ENDPOINT_URL_STS": door.url,
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_ACCESS_KEY_ID": "",
            "AWS_SECRET_ACCESS_KEY": "",
        }
        done = await command(simulator, "sweep", "--profile", "r", env=env)
        assert len(door.heard) == 1
        assert "canary-external-id" in door.heard[0]
        assert thief.heard == []
    assert done.code == 4


async def test_what_is_for_this_machine_goes_through_no_proxy(command: Command) -> None:
    one = organization(**_ONE)
    async with Simulator(one) as simulator, listening() as proxy:
        env = {"HTTP_PROXY": proxy.url, "http_proxy": proxy.url}
        done = await command.sweep(simulator, *EVERYTHING, env=env)
        assert proxy.heard == []
    assert done.code == 0, done.err
    assert_same(command.found(), truth(one))


def _trusting(authority: Authority, door: str, host: str = "localhost") -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": f"https://{host}:{door.rpartition(':')[2]}",
        "AWS_CA_BUNDLE": str(authority.bundle),
    }


async def test_a_certificate_that_is_to_be_trusted(command: Command, tmp_path: Path) -> None:
    one, authority = organization(**_ONE), Authority(tmp_path / "ca")
    async with (
        Simulator(one) as simulator,
        passing_on(simulator.port, authority.server("localhost")) as door,
    ):
        done = await command.sweep(simulator, *EVERYTHING, env=_trusting(authority, door.url))
        assert simulator.requests
    assert done.code == 0, done.err
    assert_same(command.found(), truth(one))


async def _distrusted(command: Command, simulator: Simulator, env: dict[str, str]) -> Done:
    done = await command(simulator, "sweep", env=env)
    assert simulator.requests == []
    assert done.code == 4, done.err
    assert "TLSFailed" in done.err
    assert "AWS_CA_BUNDLE" in done.err.splitlines()[-1]
    return done


@pytest.mark.parametrize("wrong", ["name", "authority"])
async def test_a_certificate_that_is_not(command: Command, tmp_path: Path, wrong: str) -> None:
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    made = theirs.server("localhost") if wrong == "authority" else ours.server("evil.example")
    async with (
        Simulator(organization(**_ONE)) as simulator,
        passing_on(simulator.port, made) as door,
    ):
        await _distrusted(command, simulator, _trusting(ours, door.url))


@pytest.mark.parametrize("name", ["localhost.example", "evil.example"])
async def test_behind_a_proxy_certificates_are_checked_as_well(
    command: Command, tmp_path: Path, name: str
) -> None:
    one, authority = organization(**_ONE), Authority(tmp_path / "ca")
    async with (
        Simulator(one) as simulator,
        passing_on(simulator.port, authority.server(name)) as door,
        passing_on(int(door.url.rpartition(":")[2])) as proxy,
    ):
        env = {
            **_trusting(authority, door.url, "localhost.example"),
            "HTTPS_PROXY": f"http://me:canary-password@{proxy.url}",
        }
        if name == "evil.example":
            done = await _distrusted(command, simulator, env)
            assert "canary-password" not in done.err
        else:
            done = await command.sweep(simulator, *EVERYTHING, env=env)
            assert done.code == 0, done.err
        assert proxy.heard[0].startswith("CONNECT localhost.example:")


async def test_a_ca_bundle_that_cannot_be_used_is_a_settings_error(
    command: Command, tmp_path: Path
) -> None:
    """Above all an empty one, which some versions of the SDK take for 'do not check'."""
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    authority = Authority(tmp_path / "ca")
    async with (
        Simulator(organization(**_ONE)) as simulator,
        passing_on(simulator.port, Authority(tmp_path / "theirs").server("localhost")) as door,
    ):
        bad = {"AWS_ENDPOINT_URL": _trusting(authority, door.url)["AWS_ENDPOINT_URL"]}
        profile = f"[default]\nca_bundle = {os.devnull}\n"
        cases: list[tuple[str, dict[str, str]]] = [
            ("AWS_CA_BUNDLE: '' cannot be used: it is empty", {"AWS_CA_BUNDLE": ""}),
            ("AWS_CA_BUNDLE: ' ' cannot be used: it is empty", {"AWS_CA_BUNDLE": " "}),
            ("REQUESTS_CA_BUNDLE: '' cannot be used", {"REQUESTS_CA_BUNDLE": ""}),
            ("AWS_CA_BUNDLE: '/nowhere' cannot be used: No such file", {"AWS_CA_BUNDLE": "/nowhere"}),
            ("AWS_CA_BUNDLE: 'False' cannot be used: No such file", {"AWS_CA_BUNDLE": "False"}),
            ("there is no certificate in it", {"AWS_CA_BUNDLE": str(garbage)}),
            ("ca_bundle in the AWS profile: '/dev/null'", _profile(command.place("c"), profile)),
        ]  # fmt: skip

        async def run(case: tuple[str, dict[str, str]]) -> None:
            said = await _refused(command, simulator, env={**bad, **case[1]})
            assert case[0] in said

        await by_two(run, cases)
        assert door.heard == []
