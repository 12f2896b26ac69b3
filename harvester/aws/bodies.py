"""Raw bodies of Image Builder's answers: decoded whole, or refused; never taken for empty.

A page takes one of two roads. Most bodies are copied: checked as JSON, cut into findings, and
only the timestamps written anew, which takes a bit more than half of the time (bench/micro.py).
What is unusual in any way takes the other: decoded, rewritten and dumped again. Both give lines
that hold the same; tests/test_bodies.py compares them.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections.abc import Iterator
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

import msgspec

from harvester.aws.envelopes import (
    ESCAPED_LETTER,
    Envelope,
    UnreadableError,
    decode_json,
    open_envelope,
)
from harvester.errors import DamagedAnswerError
from harvester.model import Details, Facets, Finding, Page
from harvester.output.ndjson import encode_line, encode_lines
from harvester.timestamps import iso_json, iso_milliseconds

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
_CHUNK = 8192
_PIECE = 1 << 19


def decode_page(body: bytes, *, account: str, region: str) -> Page:
    """Return the page that a ListImageScanFindings body holds, its timestamps as ISO 8601.

    Raises:
        DamagedAnswerError: it holds no list of findings; or there is a doubt about the list or
            the next token, and then the error's `page` has the findings that can be read.
    """
    page = _copied(body)
    if page is not None:
        return page
    operation = "ListImageScanFindings"
    where = {"operation": operation, "account": account, "region": region}
    envelope = _envelope(body, "findings", **where)
    for finding in envelope.items:
        _rewrite_timestamps(finding)
    page, doubts = _encoded(envelope)
    if not doubts:
        return page
    error = _refused("UnexpectedAnswer", body, "; it ".join(doubts), **where)
    error.page = page
    raise error


def _encoded(envelope: Envelope) -> tuple[Page, tuple[str, ...]]:
    """Return the page of an envelope's findings, and all doubts about it."""
    try:
        return page_of(envelope.items, envelope.token), envelope.doubts
    except DamagedAnswerError:
        findings = [one for one in envelope.items if _can_be_written(one)]
    lost = len(envelope.items) - len(findings)
    doubt = f"holds {len(envelope.items):,} findings, of which {lost:,} are nested too deep"
    return page_of(findings, envelope.token), (*envelope.doubts, doubt)


def _can_be_written(finding: Finding) -> bool:
    try:
        encode_line(finding)
    except DamagedAnswerError:
        return False
    return True


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
    try:
        finding: Finding = decode_json(line)
    except (ValueError, RecursionError):
        raise DamagedAnswerError(
            "DamagedAnswer",
            "a line of findings cannot be decoded",
            operation="ListImageScanFindings",
        ) from None
    return finding


def _copied(body: bytes) -> Page | None:
    """Return the page of a body that has nothing unusual, copied as far as possible."""
    if b"\n" in body or b"\r" in body or ESCAPED_LETTER.search(body):
        return None
    try:
        _check_utf_8(body)
        lines, token = _cut(body)
        texts: list[bytes] = []
        looked: list[Facets] = []
        for piece in _pieces(lines):
            facets = _look_at(piece)
            texts.append(_with_timestamps(piece, facets))
            looked += facets
        return Page(b"".join(texts), looked, token)
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
    envelope = head[0] + tail
    token = _read_envelope(envelope).nextToken or None
    # A name that occurs twice has two values, of which the decoder shows one.
    if envelope.count(b'"findings"') > 1 or envelope.count(b'"nextToken"') > 1:
        raise ValueError("an unusual answer")
    comma = b", " if head[0].endswith(b" [") else b","
    text = body.replace(b"}%b{%b" % (comma, head[1]), b"}\n{" + head[1])
    return memoryview(text)[head.end() : len(text) - len(tail)], token


def _pieces(lines: memoryview) -> Iterator[memoryview | bytes]:
    """Yield lines in pieces that end where a line does, without its newline.

    A large page is read in a thread, and no other thread runs while one piece is decoded.
    """
    if len(lines) <= _PIECE:
        yield lines
        return
    text, start = bytes(lines), 0
    while len(text) - start > _PIECE and (end := text.find(b"\n", start + _PIECE)) >= 0:
        yield text[start:end]
        start = end + 1
    yield text[start:]


def _with_timestamps(lines: memoryview | bytes, looked: list[Facets]) -> bytes:
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

    An absent, null or empty token ends the chain. A listing about which there is a doubt is
    refused: accounts, images and counts that it lacks would go unnoticed.
    """
    where = {"operation": operation, "account": account, "region": region}
    envelope = _envelope(body, key, **where)
    if envelope.doubts:
        raise _refused("UnexpectedAnswer", body, "; it ".join(envelope.doubts), **where)
    return envelope.items, envelope.token


def _envelope(body: bytes, key: str, **where: str) -> Envelope:
    try:
        return open_envelope(body, key)
    except UnreadableError as error:
        raise _refused("DamagedAnswer", body, str(error), **where) from None


def _refused(
    code: str, body: bytes, reason: str, *, operation: str, account: str, region: str
) -> DamagedAnswerError:
    return DamagedAnswerError(
        code,
        f"the body of {len(body)} bytes {reason}",
        operation=operation,
        account=account,
        region=region,
        status=200,
    )


def _rewrite_timestamps(finding: Finding) -> None:
    for name in _TIMESTAMPS:
        if name in finding:
            finding[name] = iso_milliseconds(finding[name])
    details = finding.get("packageVulnerabilityDetails")
    if isinstance(details, dict):
        for name in _PACKAGE_TIMESTAMPS:
            if name in details:
                details[name] = iso_milliseconds(details[name])
