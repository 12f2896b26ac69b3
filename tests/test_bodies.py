"""Raw bodies: decoded whole or refused, never taken for an empty page."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.aws.bodies import decode_line, decode_list, decode_page
from harvester.errors import DamagedAnswerError, TransientError
from harvester.model import Finding, Page

_WHOLE = json.dumps(
    {
        "requestId": "b3d9",
        "findings": [
            {"title": "CVE-2026-1 Ünïcode 漏洞 🔒", "severity": "HIGH", "firstObservedAt": 1.5},
            {"title": 'quoted "text" \\ and \n', "inspectorScore": 9.8, "fixAvailable": None},
        ],
        "nextToken": "AAAA",
    },
    ensure_ascii=False,
).encode()


def _decode(body: bytes | str) -> Page:
    body = body.encode() if isinstance(body, str) else body
    page = decode_page(body, account="111122223333", region="us-east-1")
    assert len(page.facets) == len(page.lines)
    return page


def _findings(page: Page) -> list[Finding]:
    return [decode_line(line) for line in page.lines]


def test_a_whole_body_is_a_page() -> None:
    page = _decode(_WHOLE)

    assert [finding["title"][:10] for finding in _findings(page)] == ["CVE-2026-1", 'quoted "te']
    assert _findings(page)[0]["firstObservedAt"] == "1970-01-01T00:00:01.500Z"
    assert page.next_token == "AAAA"


@pytest.mark.parametrize("length", range(len(_WHOLE)))
def test_a_body_cut_at_any_byte_is_damaged(length: int) -> None:
    with pytest.raises(DamagedAnswerError):
        _decode(_WHOLE[:length])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b"{}",
        b"true",
        b"0",
        b'"findings"',
        b"<html><body>502 Bad Gateway</body></html>",
        b"<?xml version='1.0'?><findings/>",
        b"Service Unavailable",
        b'{"Findings": []}',
        b'{"findings": null}',
        b'{"findings": {}}',
        b'{"findings": "[]"}',
        b'{"findings": 0}',
        b'{"findings": [null]}',
        b'{"findings": [[]]}',
        b'{"findings": ["finding"]}',
        b'{"findings": [{"title": "one"}, 2]}',
        b'{"findings": [], "nextToken": ""}',
        b'{"findings": [], "nextToken": 1}',
        b'{"findings": [], "nextToken": ["A"]}',
        b'{"findings": [], "nextToken": {}}',
        b'{"findings": [], "nextToken": false}',
        b'{"findings": []} trailing',
        b'{"findings": []}{"findings": []}',
        b'{"findings": [],}',
        b"{'findings': []}",
        b'{"findings": [{"title": "\xff\xfe"}]}',
        b'{"findings": [{"title": "raw \n newline"}]}',
        b'{"findings": [{"epoch": 01}]}',
        b"\x1f\x8b\x08\x00\x00\x00",
        b'{"findings": [' + b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:40]),
)
def test_what_is_not_a_page_is_damaged(body: bytes) -> None:
    with pytest.raises(DamagedAnswerError) as caught:
        _decode(body)

    error = caught.value
    assert isinstance(error, TransientError), "so that it is asked for again"
    assert (error.code, error.operation) == ("DamagedAnswer", "ListImageScanFindings")
    assert (error.account, error.region, error.status) == ("111122223333", "us-east-1", 200)
    assert "\n" not in str(error)


@given(st.binary(max_size=200))
def test_noise_is_damaged(noise: bytes) -> None:
    with pytest.raises(DamagedAnswerError):
        _decode(noise)


@given(st.integers(0, len(_WHOLE) - 1), st.integers(0, 255))
def test_a_changed_byte_never_raises_anything_else(position: int, byte: int) -> None:
    spoiled = _WHOLE[:position] + bytes([byte]) + _WHOLE[position + 1 :]
    try:
        page = _decode(spoiled)
    except DamagedAnswerError:
        return
    assert len(page.lines) == 2


@pytest.mark.parametrize(
    ("answer", "token"),
    [
        ({"findings": []}, None),
        ({"findings": [], "nextToken": None}, None),
        ({"findings": [], "nextToken": "A" * 65_535}, "A" * 65_535),
        ({"findings": [], "nextToken": "漏 \ud800"}, "漏 \ud800"),
        ({"findings": [], "nextToken": "0"}, "0"),
    ],
)
def test_the_next_token(answer: dict[str, Any], token: str | None) -> None:
    assert _decode(json.dumps(answer)) == Page(b"", [], token)


def test_only_the_four_timestamps_of_the_api_are_rewritten() -> None:
    times = {"firstObservedAt": 1.5, "updatedAt": 2, "vendorCreatedAt": 3, "vendorUpdatedAt": 4}
    finding = {**times, "packageVulnerabilityDetails": times, "other": times}
    (found,) = _findings(_decode(json.dumps({"findings": [finding]})))

    assert found["other"] == times
    assert found["firstObservedAt"] == "1970-01-01T00:00:01.500Z"
    assert found["updatedAt"] == "1970-01-01T00:00:02.000Z"
    assert (found["vendorCreatedAt"], found["vendorUpdatedAt"]) == (3, 4)
    details = found["packageVulnerabilityDetails"]
    assert (details["firstObservedAt"], details["updatedAt"]) == (1.5, 2)
    assert details["vendorCreatedAt"] == "1970-01-01T00:00:03.000Z"
    assert details["vendorUpdatedAt"] == "1970-01-01T00:00:04.000Z"


@pytest.mark.parametrize("details", [None, [], "text", 1, [{"vendorCreatedAt": 3}]])
def test_package_details_of_another_type_are_kept(details: Any) -> None:
    finding = {"packageVulnerabilityDetails": details, "updatedAt": None}

    assert _findings(_decode(json.dumps({"findings": [finding]}))) == [finding]


def test_other_listings_are_read_by_their_own_key() -> None:
    body = b'{"imagePipelineList": [{"name": "one"}], "nextToken": "B"}'
    read = {"operation": "ListImagePipelines", "account": "1", "region": "r"}

    assert decode_list(body, "imagePipelineList", **read) == ([{"name": "one"}], "B")
    with pytest.raises(DamagedAnswerError, match=r"ListImagePipelines.*imageList"):
        decode_list(body, "imageList", **read)


@pytest.mark.parametrize("line", [b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}\n", b'{"a":\n'])
def test_a_line_that_cannot_be_read_is_not_taken_for_nothing(line: bytes) -> None:
    with pytest.raises(DamagedAnswerError):
        decode_line(line)
