"""The way to the service as the SDK's configuration says it: certificates, proxies, endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiobotocore.credentials import AioCredentials

from harvester.aws.clients import Clients
from harvester.errors import UnreachableError
from harvester.simulator import Simulator
from tests.e2e.support import Command, Done, assert_same, organization, truth
from tests.e2e.tunnels import certificate, plain_proxy, tls, tunnel

_REGION = "us-east-1"
_KEYS = AioCredentials("AKIA", "secret")
_ONE = organization(accounts=1, suspended=0, findings=60, empty_share=0.0)


async def _sweep(command: Command, simulator: Simulator, env: Mapping[str, str]) -> Done:
    """Sweep, in several pages, with the simulator's keys and another way to it."""
    own = simulator.environment()
    del own["AWS_ENDPOINT_URL"]
    options = ("-o", "out.ndjson", "--region", _REGION, "--page-size", "10")
    return await command(None, "sweep", *options, env={**own, **env})


def _assert_whole(command: Command) -> None:
    assert_same(command.found(), truth(_ONE, [(_ONE.management, _REGION)]))


async def test_an_endpoint_with_an_authority_of_its_own(command: Command) -> None:
    bundle = certificate(command.folder)
    async with Simulator(_ONE) as simulator, tls(urlsplit(simulator.url).port or 0, bundle) as port:
        endpoint = {"AWS_ENDPOINT_URL": f"https://localhost:{port}"}
        done = await _sweep(command, simulator, {**endpoint, "AWS_CA_BUNDLE": str(bundle)})

    assert done.code == 0, done.err
    _assert_whole(command)


async def test_an_authority_that_nobody_named_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In this process, since the command would try again for half a minute.
    bundle = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))  # not what the SDK goes by
    async with Simulator(_ONE) as simulator, tls(urlsplit(simulator.url).port or 0, bundle) as port:
        url = f"https://localhost:{port}"
        async with Clients(profile=None, endpoint_url=url, max_connections=1) as clients:
            with pytest.raises(UnreachableError) as caught:
                await clients.call("sts", _REGION, "get_caller_identity", {}, signer=_KEYS)

    assert caught.value.code == "TLSFailed"


@pytest.mark.parametrize(
    ("settings", "hosts"),
    [
        ({}, "{}.us-east-1.amazonaws.com"),
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, "{}-fips.us-east-1.amazonaws.com"),
        ({"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "{}.us-east-1.api.aws"),
    ],
)
async def test_aws_s_own_endpoints_through_a_proxy(
    command: Command, settings: dict[str, str], hosts: str
) -> None:
    bundle = certificate(command.folder)
    asked: list[str] = []
    async with (
        Simulator(_ONE) as simulator,
        tls(urlsplit(simulator.url).port or 0, bundle) as port,
        tunnel(port, asked) as url,
    ):
        way = {"HTTPS_PROXY": url, "AWS_CA_BUNDLE": str(bundle)}
        done = await _sweep(command, simulator, {**way, **settings})

    assert done.code == 0, done.err
    _assert_whole(command)
    names = (hosts.format(service) for service in ("sts", "imagebuilder"))
    assert set(asked) == {f"CONNECT {name}:443" for name in names}


async def test_a_plain_endpoint_through_a_proxy(command: Command) -> None:
    asked: list[str] = []
    async with Simulator(_ONE) as simulator, plain_proxy(simulator.url, asked) as url:
        way = {"AWS_ENDPOINT_URL": "http://aws.invalid", "HTTP_PROXY": url}
        done = await _sweep(command, simulator, way)

    assert done.code == 0, done.err
    _assert_whole(command)
    assert len(asked) == len(simulator.requests)
    assert all(url.startswith("http://aws.invalid/") for url in asked)
