"""The boundary where the SDK's exceptions become the project's own."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import orjson
from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError

from harvester import errors
from harvester.text import printable, redact

# Which codes mean 'slow down' is known per service only, so all of them count everywhere.
THROTTLE_CODES = frozenset(
    {
        "CallRateLimitExceededException",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottledException",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_TOKEN_CODES = frozenset({"InvalidPaginationTokenException", "InvalidNextTokenException"})
_TRANSIENT_CODES = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
    }
)
# A signature error quotes the request that was sent, headers and all: never pass it on.
_SIGNATURE_CODES = frozenset({"SignatureDoesNotMatch", "InvalidSignatureException"})
_TOO_MANY_REQUESTS = 429
_REQUEST_TIMEOUT = 408
_SERVER_ERROR = 500
_LONGEST_CODE = 100


def classify(code: str, status: int | None) -> type[errors.ServiceError]:
    """Return the kind of error that an AWS error code and HTTP status stand for."""
    if code in THROTTLE_CODES or status == _TOO_MANY_REQUESTS:
        return errors.ThrottledError
    if code in _EXPIRED_CODES:
        return errors.ExpiredCredentialsError
    if code in _TOKEN_CODES:
        return errors.TokenRefusedError
    if code in _TRANSIENT_CODES or status == _REQUEST_TIMEOUT:
        return errors.TransientError
    if status is not None and status >= _SERVER_ERROR:
        return errors.TransientError
    return errors.RefusedError


def translate(
    error: BaseException,
    *,
    operation: str,
    account: str | None,
    region: str | None,
    secrets: tuple[str | None, ...] = (),
) -> errors.ServiceError:
    """Return the project's own error for one that a call to the SDK raised.

    `secrets` are texts that must not pass: code and message are redacted, and cleaned of
    control characters.
    """
    kind, code, message, status = _read(error)
    return kind(
        printable(redact(code, secrets), _LONGEST_CODE),
        printable(redact(message, secrets)),
        operation=operation,
        account=account,
        region=region,
        status=status,
    )


def _read(error: BaseException) -> tuple[type[errors.ServiceError], str, str, int | None]:
    if isinstance(error, sdk.ClientError):
        return _read_answer(error.response)
    if isinstance(error, TimeoutError | sdk.ReadTimeoutError | sdk.ConnectTimeoutError):
        return errors.TransientError, "Timeout", "no whole answer arrived in time", None
    if isinstance(error, ResponseParserError | LookupError | TypeError | AttributeError):
        # The SDK's parsers stumble over garbage in many ways.
        return errors.DamagedAnswerError, "DamagedAnswer", "the body is not what the API says", None
    if isinstance(error, sdk.ConnectionClosedError | sdk.IncompleteReadError):
        return errors.TransientError, "ConnectionClosed", "the answer was cut off", None
    if isinstance(error, sdk.HTTPClientError | sdk.ConnectionError | OSError):
        return errors.UnreachableError, _network_code(error), str(error), None
    return errors.RefusedError, type(error).__name__, str(error), None


def _read_answer(
    response: dict[str, Any],
) -> tuple[type[errors.ServiceError], str, str, int | None]:
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    found = response.get("Error", {})
    code = str(found.get("Code") or f"HTTP{status}")
    message = str(found.get("Message") or "")
    if code in _SIGNATURE_CODES:
        message = "the service computed another signature: the secret key is not the right one"
    return classify(code, status), code, message, status


def error_answer(status: int, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Return an error of the rest-json protocol as the SDK's parser would."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    found = found if isinstance(found, dict) else {}
    code = headers.get("x-amzn-errortype") or found.get("code") or found.get("__type") or ""
    # `namespace#Code:documentation`
    code = str(code).partition(":")[0].rpartition("#")[2]
    message = found.get("message") or found.get("Message") or ""
    return {
        "Error": {"Code": code, "Message": str(message)},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }


def _network_code(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return "NameNotResolved"
        cause = cause.__cause__ or getattr(cause, "os_error", None) or cause.__context__
    return "TLSFailed" if isinstance(error, sdk.SSLError) else "Unreachable"
