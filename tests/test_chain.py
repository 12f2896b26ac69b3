"""What the SDK's chain fails with names the source, and what to do about it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harvester.aws.chain import Chain
from harvester.errors import CredentialsError
from harvester.simulator import Organization, Simulator

_SSO = (
    "sso_start_url = https://x.awsapps.com/start\nsso_region = us-east-1\n"
    "sso_account_id = 111122223333\nsso_role_name = R"
)
_ROLE = "role_arn = arn:aws:iam::111122223333:role/R"
_MFA = "mfa_serial = arn:aws:iam::1:mfa/me"
_FAILING = "credential_process = ./failing"
_KEYS = "aws_access_key_id = AKIA\naws_secret_access_key = canary-secret"


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "failing"
    program.write_text("#!/bin/sh\necho canary-output; echo canary-error >&2; exit 3\n")
    program.chmod(0o700)
    return tmp_path


async def _failure(home: Path, text: str, profile: str | None = "p") -> CredentialsError:
    (home / "config").write_text(text)
    with pytest.raises(CredentialsError) as caught:
        await Chain(profile, region="us-east-1").load()
    for secret in ("canary", "tok-en"):
        assert secret not in str(caught.value)
        assert secret not in str(caught.value.hint)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("text", "said", "advice"),
    [
        (
            "[profile p]\ncredential_process = ./failing --password canary",
            "the credential_process of profile p: './failing' ended with status 3",
            "run the credential_process of profile p in a shell",
        ),
        (
            "[profile p]\ncredential_process = ./absent",
            "the credential_process of profile p: './absent' cannot be started: No such file",
            "run the credential_process of profile p",
        ),
        (
            "[profile p]\ncredential_process = echo hello",
            "the credential_process of profile p: Expecting value",
            "it must print the JSON of credentials",
        ),
        (
            f"[profile p]\n{_ROLE}\nsource_profile = q\n[profile q]\n{_FAILING}",
            "the credential_process of profile q: './failing' ended with status 3",
            "run the credential_process of profile q",
        ),
        (
            f"[profile p]\n{_SSO}",
            "the SSO login of profile p: Error loading SSO Token",
            "aws sso login --profile p",
        ),
        (
            f"[profile p]\n{_ROLE}\nsource_profile = q\n[profile q]\n{_SSO}",
            "the SSO login of profile q",
            "aws sso login --profile q",
        ),
        (f"[default]\n{_SSO}", "the SSO login of profile default", "aws sso login"),
        (
            f"[profile p]\n{_ROLE}\nweb_identity_token_file = /nowhere",
            "the role with a web identity token (profile p)",
            "check --profile",
        ),
        ("[profile p]\naws_access_key_id = AKIA", "profile p", "check --profile"),
        (
            f"[profile p]\n{_ROLE}\nsource_profile = q\n{_MFA}\n[profile q]\n{_KEYS}",
            "the role of profile p: it needs an MFA code (arn:aws:iam::1:mfa/me), and there",
            "aws configure export-credentials --profile p --format env",
        ),
    ],
    ids=[
        *("status", "not-there", "no-json", "nested-status", "sso", "nested-sso", "default-sso"),
        *("web-token", "partial", "mfa"),
    ],
)
async def test_an_error_names_the_source_and_the_profile(
    home: Path, text: str, said: str, advice: str
) -> None:
    error = await _failure(home, text, None if "[default]" in text else "p")
    assert str(error).startswith("no AWS credentials: ")
    assert said in str(error)
    assert advice in str(error.hint)


async def test_expired_variables_are_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2020-01-01T00:00:00Z")
    error = await _failure(home, "", None)
    assert "AWS_ACCESS_KEY_ID and the variables that belong to it" in str(error)
    assert "expired" in str(error)
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2120-01-01T00:00:00Z")
    assert (await Chain().load()).access_key == "AKIA"
    monkeypatch.delenv("AWS_CREDENTIAL_EXPIRATION")
    assert (await Chain().load()).expires is None


async def test_files_that_do_not_exist_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere/config")
    with pytest.raises(CredentialsError, match="AWS_CONFIG_FILE: '/nowhere/config' does not exist"):
        await Chain().load()


async def test_a_program_that_reads_stdin_gets_nothing(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = home / "asking"
    program.write_text(f"#!{sys.executable}\nprint(input('code? '))\n")
    program.chmod(0o700)
    error = await _failure(home, "[profile p]\ncredential_process = ./asking")
    assert "ended with status 1" in str(error)
    assert capfd.readouterr() == ("", "")


async def test_a_region_and_an_endpoint_reach_the_chains_sts(home: Path) -> None:
    async with Simulator(Organization.single(region="eu-west-1")) as simulator:
        keys = simulator.credentials()
        (home / "config").write_text(
            f"[profile p]\n{_ROLE}\nsource_profile = q\n[profile q]\n"
            f"aws_access_key_id = {keys.access_key_id}\n"
            f"aws_secret_access_key = {keys.secret_key}\n"
        )
        loaded = await Chain("p", simulator.url, region="eu-west-1").load()
        assert [(one.operation, one.region) for one in simulator.requests] == [
            ("AssumeRole", "eu-west-1")
        ]
    assert loaded.expires is not None
    assert loaded.source == "the role of profile p"
