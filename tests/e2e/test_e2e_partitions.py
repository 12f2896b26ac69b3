"""Which of the real AWS endpoints would be asked first: a proxy hears of them, and refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tests.e2e.support import Command, Done
from tests.serving import serving

_KEYS = "aws_access_key_id = AKIA\naws_secret_access_key = canary-key\n"
_ROLE = "[profile p]\nrole_arn = arn:{}:iam::111122223333:role/R\nsource_profile = q\n"
_SSO = "sso_start_url = https://x.awsapps.com/start\nsso_region = {}\n"
_OF_SSO = "sso_account_id = 111122223333\nsso_role_name = R\n"


@asynccontextmanager
async def _refusing() -> AsyncIterator[tuple[str, list[str]]]:
    heard: list[str] = []

    async def handle(request: web.BaseRequest) -> web.Response:
        heard.append(request.raw_path)
        return web.Response(status=403)

    async with serving(handle) as url:
        yield url, heard


async def _asked(
    command: Command, config: str, *options: str, env: Mapping[str, str] | None = None
) -> tuple[Done, list[str]]:
    (command.folder / "aws-config").write_text(config)
    async with _refusing() as (proxy, heard):
        variables = {"AWS_CONFIG_FILE": "aws-config", "HTTPS_PROXY": proxy, **(env or {})}
        done = await command(None, "sweep", *options, env=variables)
    return done, heard


@pytest.mark.parametrize(
    ("config", "options", "host"),
    [
        (
            _ROLE.format("aws-cn") + f"[profile q]\n{_KEYS}",
            ("--region", "all"),
            "sts.cn-northwest-1.amazonaws.com.cn",
        ),
        (
            _ROLE.format("aws-us-gov") + f"[profile q]\n{_KEYS}",
            ("--region", "all"),
            "sts.us-gov-west-1.amazonaws.com",
        ),
        (
            _ROLE.format("aws") + f"[profile q]\n{_KEYS}",
            ("--region", "all"),
            "sts.us-east-1.amazonaws.com",
        ),
        (
            _ROLE.format("aws-cn") + f"[profile q]\nregion = cn-north-1\n{_KEYS}",
            ("--region", "all"),
            "sts.cn-north-1.amazonaws.com.cn",
        ),
        (
            _ROLE.format("aws-us-gov") + f"[profile q]\n{_KEYS}",
            ("--region", "us-gov-east-1"),
            "sts.us-gov-east-1.amazonaws.com",
        ),
        (
            f"[profile p]\nregion = us-east-1\n{_KEYS}",
            ("--region", "us-gov-east-1"),
            "sts.us-gov-east-1.amazonaws.com",
        ),
        (
            f"[profile p]\nregion = eu-west-1\n{_KEYS}",
            ("--region", "us-west-2", "--region", "eu-west-1"),
            "sts.eu-west-1.amazonaws.com",
        ),
    ],
    ids=["cn", "gov", "commercial", "source-region", "given", "given-first", "configured"],
)
async def test_the_first_endpoint_is_one_of_the_callers_partition(
    command: Command, config: str, options: tuple[str, ...], host: str
) -> None:
    done, heard = await _asked(command, config, "--profile", "p", *options)
    assert (done.code, set(heard)) == (4, {f"{host}:443"}), done.err


async def test_an_unknown_region_is_asked_about_in_its_own_partition(command: Command) -> None:
    config = f"[profile p]\n{_KEYS}"
    done, heard = await _asked(command, config, "--profile", "p", "--region", "cn-wset-1")
    assert done.code == 2
    assert set(heard) == {"ec2.cn-northwest-1.amazonaws.com.cn:443"}
    assert "unknown region 'cn-wset-1'" in done.err
    assert "could not be asked for others: DescribeRegions" in done.err


@pytest.mark.parametrize("section", ["profile", "sso_session"])
async def test_the_region_of_an_sso_login_tells_the_partition(
    command: Command, section: str
) -> None:
    """There is no login: nothing is asked at all, and nothing in us-east-1."""
    sso = _SSO.format("us-gov-west-1")
    if section == "profile":
        config = f"[profile p]\n{sso}{_OF_SSO}"
    else:
        config = f"[profile p]\nsso_session = s\n{_OF_SSO}[sso-session s]\n{sso}"
    done, heard = await _asked(command, config, "--profile", "p", "--region", "all")
    assert (done.code, heard) == (4, [])
    assert "aws sso login --profile p" in done.err


async def test_keys_alone_do_not_tell_the_partition(command: Command) -> None:
    done, heard = await _asked(
        command, f"[profile p]\n{_KEYS}", "--profile", "p", "--region", "all"
    )
    assert (done.code, heard) == (2, [])
    assert "set AWS_REGION to a region of your partition" in done.err

    env = {"AWS_REGION": "us-gov-west-1"}
    done, heard = await _asked(
        command, f"[profile p]\n{_KEYS}", "--profile", "p", "--region", "all", env=env
    )
    assert (done.code, heard) == (4, ["sts.us-gov-west-1.amazonaws.com:443"])


_INSTANCE = {
    "/latest/api/token": "token",
    "/latest/meta-data/iam/security-credentials/": "role",
    "/latest/meta-data/iam/security-credentials/role": '{"Code": "Success", "AccessKeyId": "ASIA",'
    ' "SecretAccessKey": "canary-key", "Token": "canary", "Expiration": "2120-01-01T00:00:00Z"}',
    "/latest/meta-data/placement/availability-zone": "cn-north-1a",
    "/latest/meta-data/placement/availability-zone/": "cn-north-1a",
}


async def test_the_region_of_an_instance_tells_the_partition_of_its_role(
    command: Command,
) -> None:
    async def handle(request: web.BaseRequest) -> web.Response:
        text = _INSTANCE.get(request.path)
        return web.Response(status=404) if text is None else web.Response(text=text)

    async with serving(handle) as url:
        env = {
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{url}/",
        }
        done, heard = await _asked(command, "", "--region", "all", env=env)
    assert (done.code, heard) == (4, ["sts.cn-north-1.amazonaws.com.cn:443"]), done.err


async def test_the_keys_of_a_container_are_asked_for_once_and_do_not_tell(
    command: Command,
) -> None:
    asked = []

    async def handle(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        return web.json_response(
            {
                "AccessKeyId": "ASIA",
                "SecretAccessKey": "canary-key",
                "Token": "canary",
                "Expiration": "2120-01-01T00:00:00Z",
            }
        )

    async with serving(handle) as url:
        env = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/keys"}
        done, heard = await _asked(command, "", "--region", "all", env=env)
        assert (done.code, heard) == (2, []), done.err
        asked.clear()
        done, heard = await _asked(command, "", "--region", "eu-west-1", env=env)
        assert (done.code, heard) == (4, ["sts.eu-west-1.amazonaws.com:443"]), done.err
        assert asked == ["/keys"]


async def test_the_role_of_a_web_identity_token_tells_the_partition(command: Command) -> None:
    (command.folder / "token").write_text("canary")
    env = {
        "AWS_ROLE_ARN": "arn:aws-cn:iam::111122223333:role/R",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "token",
    }
    done, heard = await _asked(command, "", "--region", "all", env=env)
    assert (done.code, set(heard)) == (4, {"sts.cn-northwest-1.amazonaws.com.cn:443"}), done.err
    assert "the role with a web identity token (AWS_WEB_IDENTITY_TOKEN_FILE)" in done.err
    assert "canary" not in done.err
