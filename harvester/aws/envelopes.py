"""The JSON object around a list of items: the items, the next token, and doubts about either.

A body that holds a list is never called anything else: each refusal says which part of the
envelope cannot be read. Doubts leave the good items usable; the caller decides.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

import orjson

from harvester.model import BROKEN

# orjson reads integers beyond 64 bits as floats and so changes them; 19 digits in a row is
# where that can begin. Such a body, rare, is decoded by the standard library instead. (A
# regular expression finds them too, in ten times the time: bench/micro.py.)
_DIGITS_TO_ZERO = bytes(48 if byte in b"0123456789" else 0 for byte in range(256))
_LONG_NUMBER = b"0" * 19
_BOM = b"\xef\xbb\xbf"
_TOKEN = "nextToken"  # noqa: S105  # not a password
# Letters need no escape: a name written with one is not found by a search for the name.
ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")
_MARKUP = re.compile(rb"\s*(<[!?]?[A-Za-z]{1,12})")
_HTML = (b"<!doctype", b"<html", b"<head", b"<body", b"<script")
_KINDS = {bool: "a boolean", dict: "an object", list: "a list", str: "a string"}


class UnreadableError(ValueError):
    """A body without the list that was asked for; the text says what it is, after "the body"."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a listing's body holds.

    Attributes:
        items: the objects in the list.
        token: the next token, None where the chain ends, `BROKEN` where it cannot be sent.
        doubts: why the items or the token may not be all that the service meant to answer.
    """

    items: list[dict[str, Any]]
    token: str | None
    doubts: tuple[str, ...] = ()


def open_envelope(body: bytes, key: str) -> Envelope:
    """Return the list under `key` in a body, and its next token.

    Raises:
        UnreadableError: the body holds no such list.
    """
    members, doubts = _members(body, key)
    items, of_items = _items(members.get(key), key)
    token, of_token = _next_token(members.get(_TOKEN, []))
    return Envelope(items, token, (*doubts, *of_items, *of_token))


def decode_json(body: bytes) -> Any:
    """Return the value that a body holds.

    Raises:
        ValueError: it is not JSON.
        RecursionError: it is nested too deep.
    """
    if _LONG_NUMBER not in body.translate(_DIGITS_TO_ZERO):
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass  # perhaps a lone surrogate or NaN, which the standard library reads
    return _loads(body)[0]


def _members(body: bytes, key: str) -> tuple[dict[str, list[Any]], tuple[str, ...]]:
    """Return all values of each name in the outer object; JSON allows a name to occur twice."""
    repeats = any(body.count(b'"%b"' % name.encode()) > 1 for name in (key, _TOKEN))
    try:
        if not repeats and not ESCAPED_LETTER.search(body):
            return _as_object(decode_json(body), key), ()
        value, pairs = _loads(body)
        return _as_object(value, key, pairs), ()
    except UnreadableError:
        raise
    except RecursionError:
        raise UnreadableError("is nested too deep to be read") from None
    except ValueError as error:
        return _mended(body, key, error)


def _mended(
    body: bytes, key: str, error: ValueError
) -> tuple[dict[str, list[Any]], tuple[str, ...]]:
    """Return the members of a body that is JSON but for its encoding, or for bytes behind it."""
    if isinstance(error, UnicodeDecodeError) and body.lstrip()[:1] == b"{":
        mended, doubt = body.decode("utf-8", "replace"), "holds bytes that are not UTF-8"
    elif isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
        mended, doubt = error.doc[: error.pos], "goes on behind the end of its JSON"
    else:
        raise UnreadableError(f"is not JSON{_beginning(body)}") from None
    members, doubts = _members(mended.encode("utf-8", "surrogatepass"), key)
    return members, (*doubts, doubt)


def _as_object(
    value: Any, key: str, pairs: list[tuple[str, Any]] | None = None
) -> dict[str, list[Any]]:
    if not isinstance(value, dict):
        raise UnreadableError(f"is JSON, but {_kind(value)} and not an object with a list of {key}")
    members: dict[str, list[Any]] = {}
    for name, one in value.items() if pairs is None else pairs:
        members.setdefault(name, []).append(one)
    return members


def _items(found: list[Any] | None, key: str) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    if found is None:
        raise UnreadableError(f"is a JSON object without a list of {key}")
    lists = [one for one in found if isinstance(one, list)]
    if not lists:
        raise UnreadableError(f"is a JSON object whose {key} are {_kind(found[0])} and not a list")
    doubts: list[str] = []
    different = [one for place, one in enumerate(lists) if one not in lists[:place]]
    if len(different) > 1 or len(lists) < len(found):
        doubts.append(f"holds {key} {len(found)} times, with different values")
    every = [item for one in different for item in one]
    items = [item for item in every if isinstance(item, dict)]
    if len(items) < len(every):
        odd = next(item for item in every if not isinstance(item, dict))
        doubts.append(
            f"holds {len(every):,} {key}, of which {len(every) - len(items):,} are not objects "
            f"(the first is {_kind(odd)})"
        )
    return items, tuple(doubts)


def _next_token(found: list[Any]) -> tuple[str | None, tuple[str, ...]]:
    """Return the next token: an absent, null or empty one ends the chain, as the SDK has it."""
    tokens: list[Any] = []
    for one in found:
        known = None if one == "" else one
        if known not in tokens:
            tokens.append(known)
    if len(tokens) > 1:
        return BROKEN, (f"holds {len(tokens)} different values of {_TOKEN}",)
    token = tokens[0] if tokens else None
    if token is None or isinstance(token, str):
        return token, ()
    return BROKEN, (f"has a {_TOKEN} that is {_kind(token)} and not a string",)


def _loads(body: bytes) -> tuple[Any, list[tuple[str, Any]]]:
    """Return the value of a body and, if it is an object, its members in their order."""
    last: list[tuple[str, Any]] = []

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal last  # the outer object is the last one to be complete
        last = pairs
        return dict(pairs)

    value = json.loads(
        body.removeprefix(_BOM),
        object_pairs_hook=keep,
        parse_float=_finite,
        parse_int=_whole,
        parse_constant=str,
    )
    return value, last


def _finite(text: str) -> float | str:
    # A float too large for a double is kept as its digits, as the API's JSON protocol
    # writes what JSON has no number for ("NaN", "Infinity").
    number = float(text)
    return number if math.isfinite(number) else text


def _whole(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:  # thousands of digits, which Python refuses to convert
        return text


def _kind(value: Any) -> str:
    return "null" if value is None else _KINDS.get(type(value), "a number")


def _beginning(body: bytes) -> str:
    """Return how a body begins that is not JSON, without quoting more of it than a tag."""
    if not body.strip():
        return ": it is empty"
    if found := _MARKUP.match(body):
        kind = "HTML" if found[1].lower().startswith(_HTML) else "XML or HTML"
        return f": it begins with {found[1].decode()} and looks like {kind}"
    if body.startswith(b"\x1f\x8b"):
        return ": it begins like gzip"
    if body.lstrip()[:1] == b"{":
        return ", though it begins like it: it may be cut off"
    return ""
