"""The SDK's exceptions as the project's own: the right kind, and no secret in them."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest
from aiobotocore.credentials import AioCredentials
from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError
from hypothesis import given
from hypothesis import strategies as st

from harvester import errors
from harvester.aws.clients import Clients
from harvester.aws.faults import classify, translate
from harvester.paging.channel import Call
from harvester.simulator import Faults, Organization, Simulator


def _translate(error: BaseException, **options: Any) -> errors.ServiceError:
    options = {"operation": "ListImages", "account": "1", "region": "r", **options}
    return translate(error, **options)


def _answer(code: str | None, status: int | None, message: str = "words") -> sdk.ClientError:
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return sdk.ClientError(response, "ListImages")


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("CallRateLimitExceededException", 429, errors.ThrottledError),
        ("ThrottlingException", 400, errors.ThrottledError),
        ("Throttling", 400, errors.ThrottledError),
        ("TooManyRequestsException", 429, errors.ThrottledError),
        ("RequestLimitExceeded", 503, errors.ThrottledError),
        ("SlowDown", 503, errors.ThrottledError),
        ("429", 429, errors.ThrottledError),
        ("", 429, errors.ThrottledError),
        ("AccessDeniedException", 429, errors.ThrottledError),
        ("ExpiredToken", 400, errors.ExpiredCredentialsError),
        ("ExpiredTokenException", 403, errors.ExpiredCredentialsError),
        ("RequestExpired", 400, errors.ExpiredCredentialsError),
        ("InvalidPaginationTokenException", 400, errors.TokenRefusedError),
        ("ServiceException", 500, errors.TransientError),
        ("ServiceUnavailableException", 503, errors.TransientError),
        ("InternalFailure", 500, errors.TransientError),
        ("RequestTimeout", 400, errors.TransientError),
        ("Unknown", 408, errors.TransientError),
        ("Unknown", 500, errors.TransientError),
        ("502", 502, errors.TransientError),
        ("", 504, errors.TransientError),
        ("AccessDeniedException", 403, errors.RefusedError),
        ("AccessDenied", 403, errors.RefusedError),
        ("ForbiddenException", 403, errors.RefusedError),
        ("UnrecognizedClientException", 403, errors.RefusedError),
        ("InvalidClientTokenId", 403, errors.RefusedError),
        ("InvalidRequestException", 400, errors.RefusedError),
        ("ClientException", 400, errors.RefusedError),
        ("RequestTimeTooSkewed", 403, errors.RefusedError),
        ("404", 404, errors.RefusedError),
        ("Unknown", None, errors.RefusedError),
    ],
)
def test_codes_and_statuses(code: str, status: int | None, kind: type[errors.ServiceError]) -> None:
    assert classify(code, status) is kind

    error = _translate(_answer(code, status))
    assert type(error) is kind
    assert error.code == (code or f"HTTP{status}")
    assert (error.message, error.status) == ("words", status)
    assert (error.operation, error.account, error.region) == ("ListImages", "1", "r")
    assert str(error) == f"ListImages for 1 in r: {error.code}: words"


def _caused_by(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


_NOON = 1_772_366_400.0
_NOON_DATE = "Sun, 01 Mar 2026 12:00:00 GMT"


def _dated(code: str, date: str | None, message: str = "words") -> sdk.ClientError:
    about = {"HTTPStatusCode": 403, "HTTPHeaders": {"date": date}}
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": about}
    return sdk.ClientError(response, "ListImages")


@pytest.mark.parametrize(
    ("ahead", "said"),
    [
        (0.0, "0 s behind"),
        (59.4, "59 s ahead of"),
        (-200.0, "3 min 20 s behind"),
        (600.0, "10 min ahead of"),
        (3599.0, "1 h ahead of"),
        (-3601.5, "1 h behind"),
        (2 * 3600.0 + 29 * 60, "2 h 29 min ahead of"),
        (-3 * 86400.0 - 7200, "3 d 2 h behind"),
    ],
)
def test_a_skewed_clock_is_told_by_how_much(ahead: float, said: str) -> None:
    error = _translate(_dated("RequestTimeTooSkewed", _NOON_DATE), now=lambda: _NOON + ahead)
    assert type(error) is errors.RefusedError
    assert error.message == f"this machine's clock is {said} the service's: words"


@pytest.mark.parametrize(
    "code",
    ["SignatureDoesNotMatch", "InvalidSignatureException", "RequestExpired", "AuthFailure",
     "ExpiredTokenException", "RequestInTheFuture"],
)  # fmt: skip
def test_a_refusal_that_a_skewed_clock_explains_is_told_so_and_is_final(code: str) -> None:
    skewed = _translate(_dated(code, _NOON_DATE), now=lambda: _NOON - 1800)
    assert type(skewed) is errors.RefusedError
    assert skewed.message.startswith("this machine's clock is 30 min behind the service's")
    assert skewed.code == code

    right = _translate(_dated(code, _NOON_DATE), now=lambda: _NOON + 30)
    assert "clock" not in right.message


@pytest.mark.parametrize("date", [None, "", "yesterday", "Sun, 99 Mar 2026 12:00:00 GMT"])
def test_a_date_that_cannot_be_read_tells_nothing(date: str | None) -> None:
    error = _translate(_dated("RequestTimeTooSkewed", date), now=lambda: _NOON)
    assert (type(error), error.message) == (errors.RefusedError, "words")


@given(st.text(max_size=30))
def test_no_date_breaks_anything(date: str) -> None:
    error = _translate(_dated("RequestTimeTooSkewed", date), now=lambda: _NOON)
    assert error.message.endswith("words")


def test_other_refusals_are_not_the_clocks() -> None:
    error = _translate(_dated("AccessDenied", _NOON_DATE), now=lambda: 0.0)
    assert error.message == "words"


_URL = {"endpoint_url": "https://imagebuilder.r.amazonaws.com"}
_NO_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
_NO_NAME_SERVER = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (TimeoutError(), errors.TransientError, "Timeout"),
        (sdk.ReadTimeoutError(**_URL), errors.TransientError, "Timeout"),
        (sdk.ConnectTimeoutError(**_URL), errors.TransientError, "Timeout"),
        (sdk.ConnectionClosedError(**_URL), errors.TransientError, "ConnectionClosed"),
        (
            sdk.IncompleteReadError(actual_bytes=1, expected_bytes=2),
            errors.TransientError,
            "ConnectionClosed",
        ),
        (ResponseParserError("invalid XML"), errors.DamagedAnswerError, "DamagedAnswer"),
        (
            sdk.EndpointConnectionError(error="refused", **_URL),
            errors.UnreachableError,
            "Unreachable",
        ),
        (ConnectionRefusedError(111, "refused"), errors.UnreachableError, "Unreachable"),
        (sdk.SSLError(error="bad", **_URL), errors.UnreachableError, "TLSFailed"),
        (
            _caused_by(sdk.EndpointConnectionError(error="dns", **_URL), _NO_NAME),
            errors.UnreachableError,
            "NameNotResolved",
        ),
        (
            _caused_by(sdk.EndpointConnectionError(error="dns", **_URL), _NO_NAME_SERVER),
            errors.UnreachableError,
            "Unreachable",
        ),
        (
            _caused_by(sdk.SSLError(error="bad", **_URL), ssl.SSLError("bad")),
            errors.UnreachableError,
            "TLSFailed",
        ),
        (sdk.ParamValidationError(report="bad"), errors.RefusedError, "ParamValidationError"),
        (ValueError("Invalid endpoint"), errors.RefusedError, "ValueError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_errors_without_an_answer(
    error: Exception, kind: type[errors.ServiceError], code: str
) -> None:
    translated = _translate(error)

    assert (type(translated), translated.code, translated.status) == (kind, code, None)
    assert translated.message


@pytest.mark.parametrize("code", ["SignatureDoesNotMatch", "InvalidSignatureException"])
def test_a_signature_error_never_quotes_the_request(code: str) -> None:
    quoted = "The Canonical String should have been 'POST /\nx-amz-security-token:TOKEN'"

    error = _translate(_answer(code, 403, quoted))
    assert "TOKEN" not in f"{error} {error.message} {error!r} {error.args}"
    assert "signature" in error.message


async def test_garbage_from_a_service_that_the_sdk_parses_is_no_other_error() -> None:
    faults = Faults(damaged=1.0, services=frozenset({"sts"}))
    async with (
        Simulator(Organization.single(), faults=faults) as simulator,
        Clients(profile=None, endpoint_url=simulator.url, max_connections=1) as clients,
    ):
        caller = simulator.credentials()
        signer = AioCredentials(caller.access_key_id, caller.secret_key)
        for _ in range(6):  # half a body, HTML, nothing, …
            try:
                answer = await clients.call(
                    Call("sts", "us-east-1", "get_caller_identity", {}), signer
                )
            except errors.ServiceError as error:
                assert isinstance(error, errors.TransientError)  # noqa: PT017
            else:
                assert not answer.get("Account")


_SECRETS = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=8, max_size=40)


@given(_SECRETS, _SECRETS, st.text(max_size=50))
def test_secrets_are_redacted_wherever_they_stand(key: str, token: str, words: str) -> None:
    message = f"{words}{key}{words}{token} {key}"
    secrets = (key, token, None, "")

    for error in (_answer("AccessDenied", 403, message), ValueError(message)):
        text = str(_translate(error, secrets=secrets))
        assert key not in text
        assert token not in text


@given(st.text(st.characters(exclude_categories=())), st.text(st.characters(exclude_categories=())))
def test_a_hostile_answer_is_one_clean_line(code: str, message: str) -> None:
    hostile = "\x1b]0;title\x07\r\n\u202e\x9b2J"
    error = _translate(_answer(code + hostile, 400, message + hostile))

    text = str(error)
    text.encode("utf-8")
    assert not set(text) & set(hostile) - set("2J]0;title")
    assert len(text) < 700


@pytest.mark.parametrize(
    "response", [{}, {"Error": {}}, {"Error": {"Code": None, "Message": None}}]
)
def test_an_answer_without_words(response: dict[str, Any]) -> None:
    error = _translate(sdk.ClientError(response, "ListImages"))

    assert type(error) is errors.RefusedError
    assert (error.code, error.message) == ("HTTPNone", "")
