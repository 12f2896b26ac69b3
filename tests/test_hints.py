"""Each problem that lasts says what to do about it."""

from __future__ import annotations

import pytest

from harvester.aws.faults import THROTTLE_CODES
from harvester.hints import hint_for, hint_for_code
from harvester.summary import Problem

_SCP = "is not authorized to perform: x with an explicit deny in a service control policy"


def _hint(
    code: str, *, stage: str = "findings", message: str = "", region: str | None = "r"
) -> str:
    problem = Problem(
        account="111122223333",
        region=region,
        status="failed",
        stage=stage,
        code=code,
        message=message,
    )
    return hint_for(problem) or ""


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        ({"code": "AccessDeniedException"}, "imagebuilder:ListImageScanFindings"),
        ({"code": "ForbiddenException"}, "imagebuilder:ListImageScanFindings"),
        ({"code": "AccessDeniedException", "stage": "pipelines"}, "imagebuilder:ListImagePip"),
        ({"code": "UnauthorizedOperation", "stage": "regions"}, "ec2:DescribeRegions"),
        ({"code": "AccessDenied", "stage": "credentials", "region": None}, "does the role exist"),
        ({"code": "AccessDenied", "stage": "credentials"}, "changed during the sweep"),
        ({"code": "AccessDeniedException", "message": _SCP}, "--exclude-region r"),
        (
            {"code": "AccessDenied", "message": _SCP, "region": None, "stage": "credentials"},
            "--exclude-account 111122223333",
        ),
        (
            {"code": "AccessDenied", "message": "with an explicit deny in a permissions boundary"},
            "a policy there denies it explicitly",
        ),
        ({"code": "Throttling", "stage": "credentials"}, "STS throttled AssumeRole"),
        ({"code": "ThrottlingException"}, "--max-rate"),
        ({"code": "HTTP429"}, "--max-rate"),
        ({"code": "UnrecognizedClientException"}, "is r enabled in this account?"),
        ({"code": "OptInRequired"}, "--exclude-region r"),
        ({"code": "RequestTimeTooSkewed"}, "NTP"),
        (
            {"code": "AuthFailure", "message": "this machine's clock is 1 h behind the service's"},
            "NTP",
        ),
        ({"code": "ExpiredTokenException"}, "log in again"),
        ({"code": "NameNotResolved"}, "does Image Builder exist in this region?"),
        ({"code": "TLSFailed"}, "AWS_CA_BUNDLE"),
        ({"code": "Unreachable"}, "check the network"),
        ({"code": "Timeout"}, "--page-size"),
        ({"code": "ConnectionClosed"}, "check the network"),
        ({"code": "ServiceException"}, "run the sweep again"),
        ({"code": "DamagedAnswer"}, "is it AWS that answers?"),
        ({"code": "BodyTooLarge"}, "is it AWS that answers?"),
        ({"code": "TokenRepeated"}, "back to earlier pages"),
        ({"code": "UnexpectedAnswer"}, "compare the body"),
        ({"code": "EndlessEmptyPages"}, "no end"),
        ({"code": "InvalidPaginationTokenException"}, "change faster than they can be read"),
        ({"code": "CountMismatch"}, "run the sweep again"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_what_to_do(problem: dict[str, str], said: str) -> None:
    assert said in _hint(**problem)


def test_where_nothing_general_can_be_said_nothing_is() -> None:
    assert _hint("SomethingNewException") == ""
    assert hint_for_code("SomethingNewException", "words") is None


def test_a_skewed_clock_comes_before_what_the_code_alone_would_say() -> None:
    said = hint_for_code("SignatureDoesNotMatch", "this machine's clock is 1 h ahead of the …")
    assert said is not None
    assert "NTP" in said
    assert "secret key" in (hint_for_code("SignatureDoesNotMatch") or "")


@pytest.mark.parametrize("code", sorted(THROTTLE_CODES))
def test_each_code_of_a_throttle_has_a_hint(code: str) -> None:
    assert "--max-rate" in _hint(code)


def test_credentials_that_an_sso_login_gives_are_renewed_by_the_name_of_the_profile() -> None:
    message = "no AWS credentials: the SSO login of profile p: Token has expired"
    assert "aws sso login --profile p" in _hint("CredentialsError", message=message)
    assert "log in again" in _hint("CredentialsError", message="no AWS credentials: another")
