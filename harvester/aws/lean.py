"""Image Builder's requests without the SDK's steps around them.

What the SDK does for every single call (endpoint rules, user agent, parameter validation,
event hooks, parsing) takes more CPU than the page itself. So it makes the first request of each
operation in each region, with all that its configuration asks for, and later ones are made
after that model: same URL, same headers, signed as the SDK signs and sent through the client's
own connections, with its proxies and certificates.

The SDK's signer says once what is signed, and in which form; from then on only the time, the
session token and the body's digest are filled in. It would work all of that out anew for each
request, in four times the time.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import orjson
from aiobotocore.credentials import AioCredentials
from botocore.auth import EMPTY_SHA256_HASH, SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest

# Made anew for each request, by the signer, by the transport, or not needed.
_OF_ONE_REQUEST = frozenset(
    {
        "amz-sdk-invocation-id",
        "amz-sdk-request",
        "authorization",
        "content-length",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-security-token",
        "x-amzn-trace-id",
    }
)
_ALGORITHM = "AWS4-HMAC-SHA256"
_DATE, _TOKEN = "X-Amz-Date", "X-Amz-Security-Token"
# Stand for the values in what is to be signed; no header of the SDK's holds such a text.
_ITS_DATE, _ITS_TOKEN = "<the date>", "<the token>"


@dataclass(frozen=True, slots=True)
class Form:
    """What a request's signature is computed over, but for its date, token and body.

    Attributes:
        text: the SDK's canonical request, up to the digest of the body.
        names: the names of the headers that are signed.
    """

    text: str
    names: str

    @classmethod
    def of(cls, url: str, headers: dict[str, str]) -> Form:
        """Return the form of a POST with these headers, some of which may be placeholders."""
        signer = SigV4Auth(None, "", "")
        request = AWSRequest("POST", url, headers, b"")
        text: str = signer.canonical_request(request)
        names: str = signer.signed_headers(signer.headers_to_sign(request))
        return cls(text.removesuffix(EMPTY_SHA256_HASH), names)

    def fill(self, date: str, token: str | None, body: bytes) -> str:
        """Return the canonical request of one request."""
        text = self.text.replace(_ITS_DATE, date, 1)
        if token:
            text = text.replace(_ITS_TOKEN, token, 1)
        return text + sha256(body).hexdigest()


@dataclass(frozen=True, slots=True)
class Model:
    """What all requests of one operation in one region have in common.

    Attributes:
        scope: the region and the service's name that signatures are good for.
        plain, with_token: the forms of a request by permanent keys and by a session's.
    """

    url: str
    headers: dict[str, str]
    scope: tuple[str, str]
    plain: Form
    with_token: Form

    @classmethod
    def of(cls, request: Any) -> Model | None:
        """Return the model of a request that the SDK is about to send.

        None where it is not one to follow: not a POST, or signed in another way.
        """
        headers = {name: _text(value) for name, value in request.headers.items()}
        algorithm, _, credential = headers.get("Authorization", "").partition(" Credential=")
        scope = credential.partition(",")[0].rsplit("/", 4)
        if (request.method, algorithm, len(scope)) != ("POST", _ALGORITHM, 5):
            return None
        kept = {
            name: value for name, value in headers.items() if name.lower() not in _OF_ONE_REQUEST
        }
        dated = {**kept, _DATE: _ITS_DATE}
        return cls(
            request.url,
            kept,
            scope=(scope[2], scope[3]),
            plain=Form.of(request.url, dated),
            with_token=Form.of(request.url, {**dated, _TOKEN: _ITS_TOKEN}),
        )

    def request(self, parameters: dict[str, Any], signer: AioCredentials) -> Any:
        """Return a signed request with these parameters, ready to be sent."""
        body = orjson.dumps(parameters)
        date = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        headers = {**self.headers, _DATE: date, "Content-Length": str(len(body))}
        form = self.plain
        if signer.token:
            headers[_TOKEN], form = signer.token, self.with_token
        headers["Authorization"] = self._authorization(form, date, signer, body)
        return AWSPreparedRequest("POST", self.url, headers, body, stream_output=False)

    def _authorization(self, form: Form, date: str, signer: AioCredentials, body: bytes) -> str:
        """Return the header that proves a request, as AWS Signature Version 4 says."""
        scope = (date[:8], *self.scope, "aws4_request")
        place = "/".join(scope)
        digest = sha256(form.fill(date, signer.token, body).encode()).hexdigest()
        key = f"AWS4{signer.secret_key}".encode()
        for text in (*scope, f"{_ALGORITHM}\n{date}\n{place}\n{digest}"):
            key = hmac.digest(key, text.encode(), "sha256")
        return (
            f"{_ALGORITHM} Credential={signer.access_key}/{place}, "
            f"SignedHeaders={form.names}, Signature={key.hex()}"
        )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
