"""Proxies that cannot be used are named, by their variable and without their password."""

from __future__ import annotations

import base64
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from harvester.simulator import Simulator
from tests.e2e.astray import Authority, passing_on
from tests.e2e.support import Command, Done, assert_same, by_two, organization, truth
from tests.serving import serving

_ONE = {"accounts": 2, "suspended": 0, "findings": 40, "regions": ("us-east-1",)}
_KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIA",
    "AWS_SECRET_ACCESS_KEY": "canary-key",
    "AWS_REGION": "eu-west-1",
}


async def _refused(command: Command, code: int, env: dict[str, str], *options: str) -> Done:
    done = await command(None, "sweep", *options, env={**_KEYS, **env})
    assert (done.code, done.out) == (code, b""), done.err
    assert "canary" not in done.err
    return done


async def test_what_is_no_proxy_that_can_be_used_is_a_settings_error(command: Command) -> None:
    """The real endpoints are meant, and nothing is sent to them."""
    cases = (
        ("HTTPS_PROXY", "foo:bar", "'foo:bar' is not the URL of a proxy"),
        ("https_proxy", "http://", "'http://' is not the URL of a proxy"),
        ("HTTPS_PROXY", "ftp://h:1", "'ftp://h:1' is not the URL of a proxy"),
        ("HTTPS_PROXY", "http://me:canary@h:x", "'http://h:x' is not the URL of a proxy"),
        ("HTTPS_PROXY", "me:canary@h:x", "'h:x' is not the URL of a proxy"),
        ("HTTPS_PROXY", "socks5://me:canary@h:1080", "'socks5://h:1080' is a SOCKS proxy, which"),
        ("HTTPS_PROXY", "socks5h://h:1080", "'socks5h://h:1080' is a SOCKS proxy, which"),
    )

    async def run(case: tuple[str, str, str]) -> None:
        name, value, said = case
        done = await _refused(command, 2, {name: value})
        assert done.err.startswith(f"harvester: {name}: {said}"), done.err
        assert "allowed is http://HOST:PORT" in done.err

    await by_two(run, cases)


@asynccontextmanager
async def _asking_for_a_login() -> AsyncIterator[tuple[str, list[str]]]:
    heard: list[str] = []

    async def handle(request: web.BaseRequest) -> web.Response:
        heard.append(request.method)
        return web.Response(status=407, headers={"Proxy-Authenticate": "Basic"})

    async with serving(handle) as url:
        yield url, heard


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_asks_for_a_login_is_named_and_asked_once(
    command: Command, scheme: str
) -> None:
    async with _asking_for_a_login() as (url, heard):
        proxy = url.replace("http://", "http://me:canary@")
        name = f"{scheme.upper()}_PROXY"
        env = {name: proxy, "AWS_ENDPOINT_URL": f"{scheme}://aws.example"}
        done = await _refused(command, 4, env, "--allow-insecure-endpoint")
        assert heard == ["CONNECT" if scheme == "https" else "POST"]
    said, hint = done.err.splitlines()[-2:]
    assert f"({name}) asks for a user and password (407)" in said
    assert "ProxyAuthenticationRequired" in said
    assert "http://USER:PASSWORD@HOST:PORT" in hint


async def test_a_proxy_that_cannot_be_reached_is_named_within_seconds(command: Command) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and never listens
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        done = await _refused(command, 4, {"HTTPS_PROXY": address})
    said, hint = done.err.splitlines()[-2:]
    assert f"ProxyUnreachable: the proxy http://{address} (HTTPS_PROXY) cannot be reached" in said
    assert "NO_PROXY" in hint
    assert done.seconds < 30


async def test_a_proxy_that_refuses_a_host_is_named(command: Command) -> None:
    async def handle(_: web.BaseRequest) -> web.Response:
        return web.Response(status=403)

    async with serving(handle) as url:
        done = await _refused(command, 4, {"HTTPS_PROXY": url})
    assert "ProxyRefused" in done.err
    assert "(HTTPS_PROXY) does not connect to this host: status 403" in done.err


async def test_no_proxy_is_advice_that_works(command: Command) -> None:
    one = organization(**_ONE)
    async with Simulator(one) as simulator:
        # Not on loopback by its name, and yet it leads there.
        elsewhere = simulator.url.replace("127.0.0.1", "0.0.0.0")  # noqa: S104
        env = {**simulator.environment(), "AWS_ENDPOINT_URL": elsewhere, "HTTP_PROXY": "foo:bar"}
        options = ("--allow-insecure-endpoint",)
        done = await command.sweep(simulator, *options, env=env)
        assert done.code == 2
        assert "HTTP_PROXY: 'foo:bar'" in done.err
        assert "NO_PROXY names hosts" in done.err

        done = await command.sweep(simulator, *options, env={**env, "NO_PROXY": "0.0.0.0"})  # noqa: S104
        assert done.code == 0, done.err
        done = await command.sweep(simulator, *options, env={**env, "HTTP_PROXY": ""})
        assert done.code == 0, done.err
        # To this machine, no proxy is needed.
        done = await command.sweep(simulator, env={"HTTP_PROXY": "foo:bar"})
        assert done.code == 0, done.err
    places = [place for place in one.places() if place[0] == one.management]
    assert_same(command.found(), truth(one, places))


async def test_a_password_in_the_proxys_variable_is_advice_that_works(
    command: Command, tmp_path: Path
) -> None:
    one, authority = organization(**_ONE), Authority(tmp_path / "ca")
    login = f"Basic {base64.b64encode(b'me:canary').decode()}"
    async with (
        Simulator(one) as simulator,
        passing_on(simulator.port, authority.server("aws.example")) as door,
        passing_on(int(door.url.rpartition(":")[2]), login=login) as proxy,
    ):
        env = {
            "AWS_ENDPOINT_URL": "https://aws.example",
            "AWS_CA_BUNDLE": str(authority.bundle),
            "HTTPS_PROXY": f"http://{proxy.url}",
        }
        done = await command.sweep(simulator, env=env)
        assert done.code == 4
        assert "http://USER:PASSWORD@HOST:PORT" in done.err
        env["HTTPS_PROXY"] = f"http://me:canary@{proxy.url}"
        done = await command.sweep(simulator, env=env)
        assert done.code == 0, done.err
        assert "canary" not in done.err
