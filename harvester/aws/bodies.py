"""Raw bodies of Image Builder's answers: decoded whole, or refused; never taken for empty."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

from harvester.errors import DamagedAnswerError
from harvester.model import Finding, Page
from harvester.timestamps import iso_milliseconds

# orjson reads integers beyond 64 bits as floats and so changes them; 19 digits in a row is
# where that can begin. Such a body, rare, is decoded by the standard library instead. (A
# regular expression finds them too, in ten times the time: bench/micro.py.)
_DIGITS_TO_ZERO = bytes(48 if byte in b"0123456789" else 0 for byte in range(256))
_LONG_NUMBER = b"0" * 19

_TIMESTAMPS = ("firstObservedAt", "updatedAt")
_PACKAGE_TIMESTAMPS = ("vendorCreatedAt", "vendorUpdatedAt")


def decode_page(body: bytes, *, account: str, region: str) -> Page:
    """Return the page that a ListImageScanFindings body holds, its timestamps as ISO 8601.

    Raises:
        DamagedAnswerError: it is not JSON with a list of findings, each an object, and a
            next token that is a string or absent.
    """
    findings, token = decode_list(
        body, "findings", operation="ListImageScanFindings", account=account, region=region
    )
    for finding in findings:
        _rewrite_timestamps(finding)
    return Page(findings, token)


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
