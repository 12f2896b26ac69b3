"""The way to the service as the SDK's configuration says it, for the first call and for later ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from harvester.simulator import Simulator
from tests.e2e.astray import Authority, passing_on
from tests.e2e.support import Command, assert_same, organization, truth

_REGION = "us-east-1"


@pytest.mark.parametrize(
    ("variables", "hosts"),
    [
        ({}, "us-east-1.amazonaws.com"),
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, "us-east-1.amazonaws.com"),
        ({"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "us-east-1.api.aws"),
    ],
)
async def test_endpoints_of_aws_s_own_through_a_proxy(
    command: Command, tmp_path: Path, variables: dict[str, str], hosts: str
) -> None:
    one, authority = organization(accounts=1, suspended=0, findings=60), Authority(tmp_path / "ca")
    async with (
        Simulator(one) as simulator,
        passing_on(simulator.port, authority.server(f"*.{hosts}")) as door,
        passing_on(int(door.url.rpartition(":")[2])) as proxy,
    ):
        env = {
            **simulator.environment(),
            "HTTPS_PROXY": f"http://{proxy.url}",
            "AWS_CA_BUNDLE": str(authority.bundle),
            **variables,
        }
        del env["AWS_ENDPOINT_URL"]
        options = ("--region", _REGION, "--page-size", "10", "-o", "out.ndjson")
        done = await command(None, "sweep", *options, env=env)

    assert done.code == 0, done.err
    assert_same(command.found(), truth(one, [(one.management, _REGION)]))
    asked = {line.split()[1] for line in proxy.heard}
    kind = "-fips" if "AWS_USE_FIPS_ENDPOINT" in variables else ""
    assert asked == {f"{service}{kind}.{hosts}:443" for service in ("sts", "imagebuilder")}
