"""What to do about a problem: one line for each kind that has a known remedy."""

from __future__ import annotations

from harvester.summary import Problem

_POLICY = "explicit deny"
_DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ForbiddenException",
        "UnauthorizedOperation",
        "AuthorizationError",
    }
)
_UNKNOWN_KEY = frozenset({"UnrecognizedClientException", "InvalidClientTokenId", "AuthFailure"})
_PERMISSION = {
    "findings": "imagebuilder:ListImageScanFindings (perhaps inspector2:ListFindings as well)",
    "pipelines": "imagebuilder:ListImagePipelines",
    "regions": "ec2:DescribeRegions",
}


def hint_for(problem: Problem) -> str | None:
    """Return what to do about a problem, or None where nothing general can be said."""
    if problem.code in _DENIED:
        return _denied(problem)
    if problem.code in _UNKNOWN_KEY and problem.region:
        return (
            f"is {problem.region} enabled in this account? Else --exclude-region {problem.region}"
        )
    return _BY_CODE.get(problem.code)


def hint_for_code(code: str) -> str | None:
    """Return what to do about an error's code, or None where nothing general can be said."""
    return _BY_CODE.get(code)


def _denied(problem: Problem) -> str:
    if _POLICY in problem.message.lower():
        return (
            "a service control policy forbids it: ask the organization's administrators, or "
            + _exclude(problem)
        )
    if problem.stage == "credentials":
        return (
            "does the role exist in this account (--role-name, with its path), does it trust the "
            "caller, and is --external-id right?"
        )
    needed = _PERMISSION.get(problem.stage, "the call")
    return f"the role there needs {needed}"


def _exclude(problem: Problem) -> str:
    if problem.region:
        return f"--exclude-region {problem.region}"
    return f"--exclude-account {problem.account}"


_BY_CODE = {
    **dict.fromkeys(
        ("HTTP301", "HTTP302", "HTTP303", "HTTP307", "HTTP308"),
        "is it AWS that answers? Check the proxy and --endpoint-url",
    ),
    "NameNotResolved": "no such host: does Image Builder exist in this region? "
    "Else exclude it with --exclude-region",
    "Unreachable": "no connection: check the network, the proxy and --endpoint-url",
    "TLSFailed": "check AWS_CA_BUNDLE and the proxy's certificate",
    "RequestTimeTooSkewed": "set this machine's clock: it is too far from the service's",
    "SignatureDoesNotMatch": "the secret key is not the one that belongs to the access key",
    "InvalidSignatureException": "check the secret key, and this machine's clock",
    "ExpiredToken": "the credentials' time is over and they cannot be renewed: log in again",
    "ExpiredTokenException": "the credentials' time is over and they cannot be renewed: "
    "log in again",
    "CallRateLimitExceededException": "throttled for too long: try a lower --max-rate",
    "ThrottlingException": "throttled for too long: try a lower --max-rate",
    "TooManyRequestsException": "throttled for too long: try a lower --max-rate",
    "Timeout": "the service or a proxy is very slow: try again, or a smaller --page-size",
    "DamagedAnswer": "is it AWS that answers? Check the proxy and --endpoint-url",
    "TokenRepeated": "the service's chain of pages goes in circles: run the sweep again",
    "EndlessEmptyPages": "the service's chain of pages has no end: run the sweep again",
    "InvalidPaginationTokenException": "the findings change faster than they can be read: "
    "run the sweep again, or split it with --filter",
}
