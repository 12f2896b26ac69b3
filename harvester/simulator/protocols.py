"""The wire protocols of the simulated services: how a call is read and how an answer is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape

import orjson

from harvester.simulator.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harvester.simulator.signatures import Received

_SERVER_FAULT = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: `code` is its error code, None where it is a success."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    code: str | None = None


class WireProtocol(Protocol):
    """Reads calls and writes answers in the form of one service."""

    def read(self, received: Received) -> tuple[str, dict[str, Any]]:
        """The operation's name and its parameters."""

    def success(self, operation: str, result: Any, request_id: str) -> Answer:
        """The answer of an operation that went well."""

    def error(self, error: AwsError, request_id: str) -> Answer:
        """The answer to a call that was refused."""


def _json_body(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        parameters = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise AwsError("SerializationException", 400, "Unable to parse the request.") from error
    if not isinstance(parameters, dict):
        raise AwsError("SerializationException", 400, "Start of structure expected.")
    return parameters


class RestJson:
    """rest-json: the path names the operation, the error code stands in a header.

    A result may be a dict, or the body itself in bytes where it was put together already.
    """

    _TYPE = "application/json"

    def read(self, received: Received) -> tuple[str, dict[str, Any]]:
        """The operation's name and its parameters, of the body or, for a GET, the query."""
        operation = unquote(received.path).strip("/")
        if received.method == "GET":
            return operation, dict(parse_qsl(received.query, keep_blank_values=True))
        return operation, _json_body(received.body)

    def success(self, operation: str, result: Any, request_id: str) -> Answer:
        """The answer of an operation that went well."""
        del operation
        body = result if isinstance(result, bytes) else orjson.dumps(result)
        return Answer(200, body, {"Content-Type": self._TYPE, "x-amzn-RequestId": request_id})

    def error(self, error: AwsError, request_id: str) -> Answer:
        """The answer to a call that was refused."""
        headers = {
            "Content-Type": self._TYPE,
            "x-amzn-RequestId": request_id,
            "x-amzn-ErrorType": error.code,
        }
        return Answer(error.status, orjson.dumps({"message": error.message}), headers, error.code)


class TargetJson:
    """json 1.1: a header names the operation, the error code stands in the body."""

    _TYPE = "application/x-amz-json-1.1"

    def read(self, received: Received) -> tuple[str, dict[str, Any]]:
        """The operation's name, of X-Amz-Target, and its parameters."""
        return received.header("X-Amz-Target").rpartition(".")[2], _json_body(received.body)

    def success(self, operation: str, result: Any, request_id: str) -> Answer:
        """The answer of an operation that went well."""
        del operation
        headers = {"Content-Type": self._TYPE, "x-amzn-RequestId": request_id}
        return Answer(200, orjson.dumps(result), headers)

    def error(self, error: AwsError, request_id: str) -> Answer:
        """The answer to a call that was refused."""
        headers = {"Content-Type": self._TYPE, "x-amzn-RequestId": request_id}
        body = orjson.dumps({"__type": error.code, "Message": error.message})
        return Answer(error.status, body, headers, error.code)


def _form(received: Received) -> tuple[str, dict[str, Any]]:
    parameters = dict(parse_qsl(received.body.decode(errors="replace"), keep_blank_values=True))
    parameters = dict(parse_qsl(received.query, keep_blank_values=True)) | parameters
    parameters.pop("Version", None)
    return parameters.pop("Action", ""), parameters


def _xml(name: str, value: Any, item: str) -> Iterator[str]:
    """An element; a list becomes one `item` element for each of its values."""
    yield f"<{name}>"
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _xml(key, child, item)
    elif isinstance(value, list):
        for child in value:
            yield from _xml(item, child, item)
    else:
        yield escape(str(value))
    yield f"</{name}>"


class QueryXml:
    """query: parameters as a form, answers in XML with a result inside of a response."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def read(self, received: Received) -> tuple[str, dict[str, Any]]:
        """The operation's name, of Action, and its parameters."""
        return _form(received)

    def success(self, operation: str, result: Any, request_id: str) -> Answer:
        """The answer of an operation that went well."""
        inner = "".join(_xml(f"{operation}Result", result, "member"))
        body = (
            f'<{operation}Response xmlns="{self._namespace}">{inner}<ResponseMetadata><RequestId>'
            f"{request_id}</RequestId></ResponseMetadata></{operation}Response>"
        )
        return Answer(200, body.encode(), _xml_headers(request_id))

    def error(self, error: AwsError, request_id: str) -> Answer:
        """The answer to a call that was refused."""
        at_fault = "Receiver" if error.status >= _SERVER_FAULT else "Sender"
        details = {"Type": at_fault, "Code": error.code, "Message": error.message}
        body = (
            f'<ErrorResponse xmlns="{self._namespace}">{"".join(_xml("Error", details, "member"))}'
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        return Answer(error.status, body.encode(), _xml_headers(request_id), error.code)


class Ec2Xml:
    """ec2: a sister of query, with lists of items and its own form of errors."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def read(self, received: Received) -> tuple[str, dict[str, Any]]:
        """The operation's name, of Action, and its parameters."""
        return _form(received)

    def success(self, operation: str, result: Any, request_id: str) -> Answer:
        """The answer of an operation that went well."""
        inner = "".join("".join(_xml(name, value, "item")) for name, value in result.items())
        body = (
            f'<{operation}Response xmlns="{self._namespace}"><requestId>{request_id}</requestId>'
            f"{inner}</{operation}Response>"
        )
        return Answer(200, body.encode(), _xml_headers(request_id))

    def error(self, error: AwsError, request_id: str) -> Answer:
        """The answer to a call that was refused."""
        details = {"Error": {"Code": error.code, "Message": error.message}}
        body = f"<Response>{''.join(_xml('Errors', details, 'item'))}<RequestID>{request_id}</RequestID></Response>"
        return Answer(error.status, body.encode(), _xml_headers(request_id), error.code)


def _xml_headers(request_id: str) -> dict[str, str]:
    return {"Content-Type": "text/xml;charset=UTF-8", "x-amzn-RequestId": request_id}
