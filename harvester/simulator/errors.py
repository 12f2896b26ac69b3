"""Refusals: what a service says no with, before any wire format is chosen."""

from __future__ import annotations

from typing import Final


class AwsError(Exception):
    """A refusal, as a value that can be raised: a code, an HTTP status and a text."""

    def __init__(self, code: str, status: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.message = message


# The front door stands before every service, but each service words its refusals in its own way.
_FRONT_DOOR: Final[dict[str, dict[str, tuple[str, int]]]] = {
    "unknown_key": {
        "imagebuilder": ("UnrecognizedClientException", 403),
        "organizations": ("UnrecognizedClientException", 400),
        "sts": ("InvalidClientTokenId", 403),
        "ec2": ("AuthFailure", 401),
    },
    "expired": {
        "imagebuilder": ("ExpiredTokenException", 403),
        "organizations": ("ExpiredTokenException", 400),
        "sts": ("ExpiredToken", 403),
        "ec2": ("RequestExpired", 400),
    },
    "signature": {
        "imagebuilder": ("SignatureDoesNotMatch", 403),
        "organizations": ("SignatureDoesNotMatch", 400),
        "sts": ("SignatureDoesNotMatch", 403),
        "ec2": ("SignatureDoesNotMatch", 403),
    },
    "skewed": {
        "imagebuilder": ("RequestTimeTooSkewed", 403),
        "organizations": ("RequestTimeTooSkewed", 400),
        "sts": ("RequestTimeTooSkewed", 403),
        "ec2": ("RequestTimeTooSkewed", 403),
    },
    "unsigned": {
        "imagebuilder": ("MissingAuthenticationToken", 403),
        "organizations": ("MissingAuthenticationToken", 400),
        "sts": ("MissingAuthenticationToken", 403),
        "ec2": ("MissingAuthenticationToken", 403),
    },
    "incomplete": {
        "imagebuilder": ("IncompleteSignature", 400),
        "organizations": ("IncompleteSignature", 400),
        "sts": ("IncompleteSignature", 400),
        "ec2": ("IncompleteSignature", 400),
    },
}

_TEXTS: Final[dict[str, str]] = {
    "unknown_key": "The security token included in the request is invalid.",
    "expired": "The security token included in the request is expired",
    "signature": "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method. "
    "Consult the service documentation for details.",
    "skewed": "The difference between the request time and the current time is too large.",
    "unsigned": "Request is missing Authentication Token",
    "incomplete": "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature' "
    "parameters, and the request an X-Amz-Date header.",
}


def front_door(kind: str, service: str) -> AwsError:
    """The refusal that `service` words `kind` with.

    Kinds: `unknown_key`, `expired`, `signature`, `skewed`, `unsigned`, `incomplete`. A service
    that is not simulated is answered as Image Builder would.
    """
    words = _FRONT_DOOR[kind]
    code, status = words.get(service, words["imagebuilder"])
    return AwsError(code, status, _TEXTS[kind])


def invalid_request(message: str) -> AwsError:
    """Image Builder's refusal of parameters."""
    return AwsError("InvalidRequestException", 400, message)


def invalid_token() -> AwsError:
    """Image Builder's refusal of a `nextToken` that is damaged, too old, or another query's."""
    return AwsError("InvalidPaginationTokenException", 400, "You have provided an invalid token.")
