"""Signature Version 4, from the side that checks it.

The canonical request is rebuilt from what arrived on the wire, so a changed header, path, query or
body shows as another signature.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote

if TYPE_CHECKING:
    from collections.abc import Iterable

    from multidict import CIMultiDictProxy

ALGORITHM: Final = "AWS4-HMAC-SHA256"
_CREDENTIAL_PARTS: Final = 5
_SPACES: Final = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it arrived: `path` and `query` still encoded, `body` whole."""

    method: str
    path: str
    query: str
    headers: CIMultiDictProxy[str]
    body: bytes

    def header(self, name: str) -> str:
        """The first value of a header, or an empty text."""
        return self.headers.get(name, "")


@dataclass(frozen=True, slots=True)
class Scope:
    """What an Authorization header claims: whose key, for which day, region and service."""

    access_key_id: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str


def parse_authorization(header: str) -> Scope | None:
    """The claim of an Authorization header, or None where it is not a complete one."""
    algorithm, _, rest = header.partition(" ")
    fields = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
    credential = fields.get("Credential", "").split("/")
    signed = fields.get("SignedHeaders", "")
    signature = fields.get("Signature", "")
    if algorithm != ALGORITHM or len(credential) != _CREDENTIAL_PARTS or not (signed and signature):
        return None
    key, date, region, service, terminator = credential
    if terminator != "aws4_request":
        return None
    return Scope(key, date, region, service, tuple(signed.split(";")), signature)


def request_time(received: Received) -> float | None:
    """The time that the request claims, in seconds since the epoch; None where it has none."""
    try:
        moment = datetime.strptime(received.header("X-Amz-Date"), "%Y%m%dT%H%M%S%z")
    except ValueError:
        return None
    return moment.timestamp()


def verify(received: Received, scope: Scope, secret_key: str) -> bool:
    """Whether the request was signed with `secret_key`, exactly as it arrived."""
    stamp = received.header("X-Amz-Date")
    covered = "host" in scope.signed_headers and "x-amz-date" in scope.signed_headers
    if not covered or not stamp.startswith(scope.date):
        return False
    day = f"{scope.date}/{scope.region}/{scope.service}/aws4_request"
    digest = hashlib.sha256(_canonical_request(received, scope.signed_headers).encode()).hexdigest()
    to_sign = f"{ALGORITHM}\n{stamp}\n{day}\n{digest}"
    key = _signing_key(secret_key, scope.date, scope.region, scope.service)
    wanted = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted.encode(), scope.signature.encode())


# A key serves a day: deriving it anew would cost four hashes a request.
@lru_cache(maxsize=8192)
def _signing_key(secret_key: str, date: str, region: str, service: str) -> bytes:
    key = b"AWS4" + secret_key.encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _canonical_request(received: Received, signed_headers: Iterable[str]) -> str:
    names = tuple(signed_headers)
    headers = "".join(f"{name}:{_header_value(received, name)}\n" for name in names)
    return "\n".join(
        (
            received.method,
            quote(received.path or "/", safe="/~"),
            _canonical_query(received.query),
            headers,
            ";".join(names),
            hashlib.sha256(received.body).hexdigest(),
        )
    )


def _header_value(received: Received, name: str) -> str:
    values = received.headers.getall(name, [])
    return ",".join(_SPACES.sub(" ", value.strip()) for value in values)


def _canonical_query(query: str) -> str:
    if not query:
        return ""
    pairs = parse_qsl(query, keep_blank_values=True)
    encoded = sorted((quote(key, safe="-_.~"), quote(value, safe="-_.~")) for key, value in pairs)
    return "&".join(f"{key}={value}" for key, value in encoded)
