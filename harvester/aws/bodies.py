"""Raw bodies of Image Builder's answers: decoded whole, or refused; never taken for empty.

A page takes one of two roads. Most bodies are copied: checked as JSON, cut into findings, and
only the timestamps written anew, which takes a bit more than half of the time (bench/micro.py).
What is unusual in any way takes the other: decoded, rewritten and dumped again. Both give lines
that hold the same; tests/test_bodies.py compares them.
"""

from __future__ import annotations

import json
import math
import re
from codecs import getincrementaldecoder
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

import msgspec
import orjson

from harvester.errors import DamagedAnswerError
from harvester.model import Details, Facets, Finding, Page
from harvester.output.ndjson import encode_lines
from harvester.timestamps import iso_json, iso_milliseconds

# orjson reads integers beyond 64 bits as floats and so changes them; 19 digits in a row is
# where that can begin. Such a body, rare, is decoded by the standard library instead. (A
# regular expression finds them too, in ten times the time: bench/micro.py.)
_DIGITS_TO_ZERO = bytes(48 if byte in b"0123456789" else 0 for byte in range(256))
_LONG_NUMBER = b"0" * 19

_TIMESTAMPS = ("firstObservedAt", "updatedAt")
_PACKAGE_TIMESTAMPS = ("vendorCreatedAt", "vendorUpdatedAt")


class _Envelope(msgspec.Struct):
    findings: list[None]
    nextToken: str | None = None  # noqa: N815  # the API's name


# Before the findings come only texts, if anything: so this bracket is where they begin. The
# group is the name with which the first of them begins, and most likely all.
_HEAD = re.compile(rb'\{(?:"[A-Za-z]+": ?"[^"\\]*", ?)*"findings": ?\[(?=\{("[^"\\]+":))')
_read_envelope = msgspec.json.Decoder(_Envelope).decode
_look_at = msgspec.json.Decoder(Facets).decode_lines
_as_moments = msgspec.json.Decoder(list[datetime], strict=False).decode
_as_json = msgspec.json.Encoder().encode
# The names of all four timestamps end in this, and nothing but a name or a text can. The group
# is None where a number, whole and of a usual form, does not follow at once.
_TIMESTAMP = re.compile(rb'At"(?:: ?([0-9.E]+)(?=[,}]))?')
_ITEM = len(b'"2026-01-02T03:04:05.678001Z",')
_MICROSECOND = timedelta(microseconds=1)
_first_of, _updated_of = map(attrgetter, _TIMESTAMPS)
_created_of, _vendor_updated_of = map(attrgetter, _PACKAGE_TIMESTAMPS)
_details_of = attrgetter("packageVulnerabilityDetails")
# Letters need no escape; a name written with one would be a timestamp that is not found above.
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")
_CHUNK = 8192


def decode_page(body: bytes, *, account: str, region: str) -> Page:
    """Return the page that a ListImageScanFindings body holds, its timestamps as ISO 8601.

    Raises:
        DamagedAnswerError: it is not JSON with a list of findings, each an object, and a
            next token that is a string or absent.
    """
    page = _copied(body)
    if page is not None:
        return page
    findings, token = decode_list(
        body, "findings", operation="ListImageScanFindings", account=account, region=region
    )
    for finding in findings:
        _rewrite_timestamps(finding)
    return page_of(findings, token)


def page_of(findings: list[Finding], token: str | None) -> Page:
    """Return a page of decoded findings.

    Raises:
        DamagedAnswerError: one is nested hundreds of levels deep, as no finding is.
    """
    return Page(encode_lines(findings), [_facets(one) for one in findings], token)


def decode_line(line: bytes) -> Finding:
    """Return the finding that a line of output holds.

    Raises:
        DamagedAnswerError: it is nested too deep for a decoder, as no finding is.
    """
    finding: Finding | None = _decode(line)
    if finding is None:
        raise DamagedAnswerError(
            "DamagedAnswer",
            "a finding is nested too deep to be read",
            operation="ListImageScanFindings",
        )
    return finding


def _copied(body: bytes) -> Page | None:
    """Return the page of a body that has nothing unusual, copied as far as possible."""
    if b"\n" in body or b"\r" in body or _ESCAPED_LETTER.search(body):
        return None
    try:
        _check_utf_8(body)
        lines, token = _cut(body)
        facets = _look_at(lines)
        return Page(_with_timestamps(lines, facets), facets, token)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
        return None


def _cut(body: bytes) -> tuple[memoryview, str | None]:
    """Return what are the findings' lines, if each of them is an object; and the next token.

    Commas are made newlines wherever findings seem to meet. Should that be elsewhere, what is
    left is no object; and if every line is one, then these are the items of the list.

    Raises:
        ValueError, MsgspecError: there are no findings, or it is an unusual answer.
    """
    head = _HEAD.match(body)
    end = body.rfind(b"}]") + 1
    if head is None:
        raise ValueError("no list of findings")
    tail = body[end:]
    token = _read_envelope(head[0] + tail).nextToken
    if token == "" or b'"findings"' in tail:
        raise ValueError("an unusual answer")
    comma = b", " if head[0].endswith(b" [") else b","
    text = body.replace(b"}%b{%b" % (comma, head[1]), b"}\n{" + head[1])
    return memoryview(text)[head.end() : len(text) - len(tail)], token


def _with_timestamps(lines: memoryview, looked: list[Facets]) -> bytes:
    """Return lines, a newline after each, the timestamps in their new form.

    Raises:
        TypeError, ValueError, OverflowError: not all timestamps can be found or rewritten.
    """
    parts: list[bytes] = _TIMESTAMP.split(lines)
    digits = parts[1::2]
    # Those in the text must be those that were looked at: none deeper down, none twice. All that
    # were looked at are in the text, since no name is escaped; so where there are as many, there
    # are no others.
    if len(digits) != _timestamps_in(looked):
        raise ValueError("other timestamps than were looked at")
    parts[1::2] = _rewritten(digits)
    parts.append(b"\n")
    return b"".join(parts)


def _timestamps_in(looked: list[Facets]) -> int:
    details = [one for one in map(_details_of, looked) if one is not None]
    missing = [*map(_first_of, looked)].count(None) + [*map(_updated_of, looked)].count(None)
    missing += [*map(_created_of, details)].count(None)
    missing += [*map(_vendor_updated_of, details)].count(None)
    return 2 * (len(looked) + len(details)) - missing


def _rewritten(digits: list[bytes]) -> list[bytes]:
    """Return what stands for timestamps in digits.

    Raises:
        TypeError, ValueError, OverflowError: one is None, or has no other form.
    """
    if not digits:
        return []
    # msgspec reads and writes them in a third of the time (bench/micro.py), but to the
    # microsecond, and whole seconds without a fraction. A microsecond later, each is written in
    # full, and ends in 001 unless it was finer than milliseconds.
    moments = _as_moments(b"[%b]" % b",".join(digits))
    text = _as_json([moment + _MICROSECOND for moment in moments])
    items = (b'At":' + text[1:-1] + b",").replace(b'001Z",', b'Z"\nAt":').split(b"\n")
    if len(items) != len(digits) + 1 or len(text) != len(digits) * _ITEM + 1:
        return [b'At":' + iso_json(one) for one in digits]
    del items[-1]
    return items


def _check_utf_8(body: bytes) -> None:
    # msgspec checks only the texts that it decodes. In pieces, since the memory for a whole page
    # of wide characters is often new to the process. The last byte is a brace or a space: no
    # character is left open.
    if not body.isascii():
        decode = getincrementaldecoder("utf-8")().decode
        for start in range(0, len(body), _CHUNK):
            decode(body[start : start + _CHUNK])


def _facets(finding: Finding) -> Facets:
    details = finding.get("packageVulnerabilityDetails")
    return Facets(
        finding.get("severity"),
        finding.get("imagePipelineArn"),
        finding.get("imageBuildVersionArn"),
        packageVulnerabilityDetails=(
            Details(details.get("vulnerabilityId")) if isinstance(details, dict) else None
        ),
    )


def decode_list(
    body: bytes, key: str, *, operation: str, account: str, region: str
) -> tuple[list[dict[str, Any]], str | None]:
    """Return the objects under `key` and the next token of a listing's body.

    Only an absent token ends a chain; an empty text is no token, and so the answer is damaged.
    """
    answer = _decode(body)
    items = answer.get(key) if isinstance(answer, dict) else None
    token = answer.get("nextToken") if isinstance(answer, dict) else None
    if (
        not isinstance(items, list)
        or not all(isinstance(item, dict) for item in items)
        or not (token is None or (isinstance(token, str) and token))
    ):
        raise DamagedAnswerError(
            "DamagedAnswer",
            f"the body of {len(body)} bytes is not JSON with a list of {key}",
            operation=operation,
            account=account,
            region=region,
            status=200,
        )
    return items, token


def _decode(body: bytes) -> Any:
    if _LONG_NUMBER not in body.translate(_DIGITS_TO_ZERO):
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass  # perhaps a lone surrogate or NaN, which the standard library reads
    try:
        return json.loads(body, parse_float=_finite, parse_int=_whole, parse_constant=str)
    except (ValueError, RecursionError):
        return None


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


def _rewrite_timestamps(finding: Finding) -> None:
    for name in _TIMESTAMPS:
        if name in finding:
            finding[name] = iso_milliseconds(finding[name])
    details = finding.get("packageVulnerabilityDetails")
    if isinstance(details, dict):
        for name in _PACKAGE_TIMESTAMPS:
            if name in details:
                details[name] = iso_milliseconds(details[name])
