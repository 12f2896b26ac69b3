"""What to do about a problem: one line for each kind that has a known remedy."""

from __future__ import annotations

import re
from typing import Protocol

_OF_THE_ORGANIZATION = ("service control policy", "resource control policy")
_POLICY = "explicit deny"
_SSO_LOGIN = re.compile(r"the SSO login of profile (\S+): ")
_SKEWED = "this machine's clock is"
_SET_CLOCK = (
    "set this machine's clock, and keep it set by NTP (timedatectl set-ntp true); that of a "
    "container is its host's"
)
_THROTTLES = frozenset(
    {
        "CallRateLimitExceededException",
        "HTTP429",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ForbiddenException",
        "UnauthorizedOperation",
        "AuthorizationError",
    }
)
_UNKNOWN_KEY = frozenset(
    {
        "AuthFailure",
        "InvalidClientTokenId",
        "OptInRequired",
        "RegionDisabledException",
        "UnrecognizedClientException",
    }
)
_PERMISSION = {
    "findings": "imagebuilder:ListImageScanFindings (perhaps inspector2:ListFindings as well)",
    "pipelines": "imagebuilder:ListImagePipelines",
    "regions": "ec2:DescribeRegions",
}


class Cause(Protocol):
    """Why a target is not complete, as a hint needs it: see `harvester.model.Outcome`."""

    @property
    def account(self) -> str | None:
        """The account, None where the sweep could not begin."""
        ...

    @property
    def region(self) -> str | None:
        """The region, None where the whole account failed."""
        ...

    @property
    def stage(self) -> str:
        """The stage of the sweep."""
        ...

    @property
    def code(self) -> str:
        """The service's error code, or our own."""
        ...

    @property
    def message(self) -> str:
        """The service's own words."""
        ...


def hint_for(problem: Cause) -> str | None:
    """Return what to do about a problem, or None where nothing general can be said."""
    if problem.code in _DENIED:
        return _denied(problem)
    if problem.code in _THROTTLES and problem.stage == "credentials":
        return (
            "STS throttled AssumeRole for too long: do other programs assume roles from the "
            "caller's account? Run the sweep again when they are done"
        )
    if problem.code in _UNKNOWN_KEY and problem.region and _SKEWED not in problem.message:
        return (
            f"is {problem.region} enabled in this account? Else --exclude-region {problem.region}"
        )
    return hint_for_code(problem.code, problem.message)


def hint_for_code(code: str, message: str = "") -> str | None:
    """Return what to do about an error, or None where nothing general can be said."""
    if code == "CredentialsError" and (login := _SSO_LOGIN.search(message)):
        return f"log in: aws sso login --profile {login[1]}, and run the sweep again"
    return _SET_CLOCK if _SKEWED in message else _BY_CODE.get(code)


def _denied(problem: Cause) -> str:
    words = problem.message.lower()
    if any(policy in words for policy in _OF_THE_ORGANIZATION):
        return (
            "a service control policy forbids it: ask the organization's administrators, or "
            + _exclude(problem)
        )
    if _POLICY in words:
        return (
            "a policy there denies it explicitly, of the role or of its boundary: change that "
            "one, or " + _exclude(problem)
        )
    if problem.stage == "credentials" and problem.region:
        # The account was entered before, or there would be no region.
        return (
            "the role could be assumed and can no longer: was it, or its trust policy, changed "
            "during the sweep? Then run the sweep again"
        )
    if problem.stage == "credentials":
        return (
            "does the role exist in this account (--role-name, with its path), does it trust the "
            "caller, and is --external-id right?"
        )
    needed = _PERMISSION.get(problem.stage, "the call")
    return f"the role there needs {needed}"


def _exclude(problem: Cause) -> str:
    if problem.region:
        return f"--exclude-region {problem.region}"
    return f"--exclude-account {problem.account}"


_BY_CODE = {
    **dict.fromkeys(
        ("HTTP301", "HTTP302", "HTTP303", "HTTP307", "HTTP308"),
        "is it AWS that answers? Check the proxy and --endpoint-url",
    ),
    "NameNotResolved": "the host name does not resolve: does Image Builder exist in this region? "
    "Else exclude it with --exclude-region",
    "Unreachable": "no connection: check the network, the proxy and --endpoint-url",
    "ProxyAuthenticationRequired": "put a user and password into the proxy's variable "
    "(http://USER:PASSWORD@HOST:PORT), or name the host in NO_PROXY",
    "HTTP407": "a proxy asks for a user and password: put them into its variable "
    "(http://USER:PASSWORD@HOST:PORT)",
    "ProxyRefused": "ask for this host to be allowed on the proxy, or name the host in NO_PROXY",
    "ProxyUnreachable": "check the proxy's variable, or unset it, or name hosts that need no "
    "proxy in NO_PROXY",
    "CredentialsError": "log in again, or see why the source of the credentials fails, and run "
    "the sweep again",
    "TLSFailed": "check AWS_CA_BUNDLE and the proxy's certificate",
    "RequestTimeTooSkewed": _SET_CLOCK,
    "SignatureDoesNotMatch": "does the secret key belong to the access key? Else check whether a proxy changes requests",
    "InvalidSignatureException": "check the secret key, and this machine's clock",
    **dict.fromkeys(_EXPIRED, "the credentials have expired and cannot be refreshed: log in again"),
    **dict.fromkeys(_THROTTLES, "throttled for too long: try a lower --max-rate"),
    "ServiceException": "the service kept failing: run the sweep again",
    "ServiceUnavailableException": "the service kept failing: run the sweep again",
    "ConnectionClosed": "connections end early: check the network and the proxy, and whether "
    "the region has Image Builder; else exclude it with --exclude-region",
    "Timeout": "the service or a proxy is very slow: try again, or a smaller --page-size",
    "DamagedAnswer": "is it AWS that answers? Check the proxy and --endpoint-url",
    "UnexpectedAnswer": "the findings that could be read are written; compare the body that was kept "
    "with the API's reference, and report it",
    "BodyTooLarge": "is it AWS that answers? Check the proxy and --endpoint-url, or try a "
    "smaller --page-size",
    "TokenRepeated": "the service's next tokens lead back to earlier pages: run the sweep again",
    "CountMismatch": "findings may come and go: run the sweep again; if it stays so, leave out "
    "--verify, or use --no-verify",
    "EndlessEmptyPages": "the service returned empty pages only, with no end in sight: run the sweep again",
    "InvalidPaginationTokenException": "the findings change faster than they can be read: "
    "run the sweep again, or split it with --filter",
}
