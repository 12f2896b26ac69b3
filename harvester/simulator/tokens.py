"""Pagination tokens: opaque, self-contained, and of use to the query that they came from only.

A token says where a chain goes on; nothing is remembered on this side, so the same token gives the
same page however often it is sent.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable

_MAC_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Position:
    """Where a chain stands: rows before it, and how many empty pages were put in at this row."""

    offset: int = 0
    nonce: int = 0


class TokenError(Exception):
    """The token is damaged, too old, or belongs to another query."""


class PageTokens:
    """Seals positions into tokens and opens them again.

    `lifetime` is in seconds of `clock`; None means that tokens stay good, and are the same each
    time they are made.
    """

    def __init__(self, key: bytes, lifetime: float | None, clock: Callable[[], float]) -> None:
        self._key = key
        self._lifetime = lifetime
        self._clock = clock

    def seal(self, query: str, position: Position) -> str:
        """A token that leads `query` to `position`."""
        issued = 0.0 if self._lifetime is None else self._clock()
        payload = orjson.dumps([position.offset, position.nonce, issued])
        return base64.urlsafe_b64encode(self._mac(query, payload) + payload).decode()

    def open(self, query: str, token: str) -> Position:
        """Where `token` leads; raises TokenError where it does not lead `query` anywhere."""
        try:
            sealed = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError) as error:
            raise TokenError from error
        mac, payload = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(query, payload)):
            raise TokenError
        offset, nonce, issued = orjson.loads(payload)
        if self._lifetime is not None and self._clock() - issued > self._lifetime:
            raise TokenError
        return Position(offset, nonce)

    def _mac(self, query: str, payload: bytes) -> bytes:
        message = query.encode() + b"\0" + payload
        return hmac.new(self._key, message, hashlib.sha256).digest()[:_MAC_BYTES]
