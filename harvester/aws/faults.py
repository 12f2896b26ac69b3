"""The boundary where the SDK's exceptions become the project's own."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import orjson
from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError

from harvester import errors
from harvester.aws.answers import BodyTooLargeError
from harvester.aws.proxies import read_proxy_error
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
# What a service may say where the clocks differ too much. Only the first says that and no more.
_SKEWED = "RequestTimeTooSkewed"
_MAYBE_SKEWED = _SIGNATURE_CODES | _EXPIRED_CODES | {"AuthFailure", "RequestInTheFuture"}
_TOLERATED_SECONDS = 240.0
_TOO_MANY_REQUESTS = 429
_REQUEST_TIMEOUT = 408
_SERVER_ERROR = 500
_LONGEST_CODE = 100
_CLOSED = "the connection was closed before the whole answer had arrived"


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
    now: Callable[[], float] = time.time,
) -> errors.ServiceError:
    """Return the project's own error for one that a call to the SDK raised.

    `secrets` are texts that must not pass: code and message are redacted, and cleaned of
    control characters. `now` is this machine's clock, in seconds since the epoch.
    """
    if isinstance(error, sdk.ClientError):
        kind, code, message, status = _read_answer(error.response, now)
    else:
        (kind, code, message), status = _read_failure(error), None
    made = kind(
        printable(redact(code, secrets), _LONGEST_CODE),
        printable(redact(message, secrets)),
        operation=operation,
        account=account,
        region=region,
        status=status,
    )
    if isinstance(made, errors.DamagedAnswerError) and isinstance(error, BodyTooLargeError):
        made.keep(error.head, secrets)
    return made


def _read_failure(error: BaseException) -> tuple[type[errors.ServiceError], str, str]:
    if isinstance(error, TimeoutError | sdk.ReadTimeoutError | sdk.ConnectTimeoutError):
        return errors.TransientError, "Timeout", "no complete answer within the time limit"
    if isinstance(error, BodyTooLargeError):
        return errors.DamagedAnswerError, "BodyTooLarge", str(error)
    if isinstance(error, ResponseParserError | LookupError | TypeError | AttributeError):
        # The SDK's parsers stumble over garbage in many ways.
        return errors.DamagedAnswerError, "DamagedAnswer", _unparsed(error)
    if isinstance(error, sdk.ConnectionClosedError | sdk.IncompleteReadError):
        return errors.TransientError, "ConnectionClosed", _CLOSED
    return _read_network_failure(error)


def _read_network_failure(error: BaseException) -> tuple[type[errors.ServiceError], str, str]:
    if isinstance(error, sdk.ProxyConnectionError):
        return read_proxy_error(error)
    if isinstance(error, sdk.HTTPClientError | sdk.ConnectionError | OSError):
        return errors.UnreachableError, _network_code(error), str(error)
    return errors.RefusedError, type(error).__name__, str(error)


def _unparsed(error: BaseException) -> str:
    # The SDK's own text may quote the body.
    return f"the SDK could not parse the answer ({type(error).__name__})"


def _read_answer(
    response: dict[str, Any], now: Callable[[], float]
) -> tuple[type[errors.ServiceError], str, str, int | None]:
    about = response.get("ResponseMetadata", {})
    status = about.get("HTTPStatusCode")
    found = response.get("Error", {})
    code = str(found.get("Code") or f"HTTP{status}")
    message = str(found.get("Message") or "")
    if code in _SIGNATURE_CODES:
        message = "the service computed another signature for this request"
    ahead = _seconds_ahead(about.get("HTTPHeaders", {}).get("date"), now)
    if ahead is not None and (
        code == _SKEWED or (code in _MAYBE_SKEWED and abs(ahead) >= _TOLERATED_SECONDS)
    ):
        # A request of another time is refused whatever its keys are: that is the news.
        said = f": {message}" if message and code not in _SIGNATURE_CODES else ""
        return errors.RefusedError, code, f"{_gap(ahead)}{said}", status
    return classify(code, status), code, message, status


def _seconds_ahead(date: Any, now: Callable[[], float]) -> float | None:
    """Return how far this machine's clock is ahead of an answer's Date header."""
    try:
        return now() - parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):  # none, or none that can be read
        return None


def _gap(ahead: float) -> str:
    seconds = abs(round(ahead))
    if seconds >= _TOLERATED_SECONDS:  # the Date header has whole seconds, and takes a while
        seconds = round(seconds / 60) * 60
    parts = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h")]
    parts += [(seconds // 60 % 60, "min"), (seconds % 60, "s")]
    told = " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"
    return f"this machine's clock is {told} {'ahead of' if ahead > 0 else 'behind'} the service's"


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
        "ResponseMetadata": {
            "HTTPStatusCode": status,
            "HTTPHeaders": {"date": headers.get("date")},
        },
    }


def _network_code(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            # A name server that does not answer says nothing of the name.
            return "Unreachable" if cause.errno == socket.EAI_AGAIN else "NameNotResolved"
        cause = cause.__cause__ or getattr(cause, "os_error", None) or cause.__context__
    return "TLSFailed" if isinstance(error, sdk.SSLError) else "Unreachable"
