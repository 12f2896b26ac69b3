"""Raw bodies: decoded whole or refused, never taken for an empty page."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.aws.bodies import decode_line, decode_list, decode_page
from harvester.errors import DamagedAnswerError, TransientError
from harvester.model import BROKEN, Finding, Page

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
        b'{"findings": [],}',
        b"{'findings': []}",
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


@pytest.mark.parametrize(
    ("body", "titles", "token", "reason"),
    [
        (
            b'{"findings": [{"title": "a"}], "nextToken": 7}',
            ["a"],
            BROKEN,
            "has a nextToken that is a number and not a string",
        ),
        (
            b'{"findings": [{"title": "a"}], "nextToken": {"a": 1}}',
            ["a"],
            BROKEN,
            "has a nextToken that is an object and not a string",
        ),
        (
            b'{"findings": [{"title": "a"}], "nextToken": false}',
            ["a"],
            BROKEN,
            "has a nextToken that is a boolean and not a string",
        ),
        (
            b'{"nextToken": "A", "findings": [{"title": "a"}], "nextToken": null}',
            ["a"],
            BROKEN,
            "holds 2 different values of nextToken",
        ),
        (
            rb'{"nextToken": "A", "findings": [{"title": "a"}], "nextT\u006fken": "B"}',
            ["a"],
            BROKEN,
            "holds 2 different values of nextToken",
        ),
        (
            b'{"findings": [{"title": "a"}, null, {"title": "b"}, 5], "nextToken": "A"}',
            ["a", "b"],
            "A",
            "holds 4 findings, of which 2 are not objects (the first is null)",
        ),
        (
            b'{"findings": [{"title": "a"}], "findings": [{"title": "b"}]}',
            ["a", "b"],
            None,
            "holds findings 2 times, with different values",
        ),
        (
            b'{"findings": [{"title": "a"}], "findings": null}',
            ["a"],
            None,
            "holds findings 2 times, with different values",
        ),
        (
            b'{"findings": [{"title": "a\xff"}]}',
            ["a\ufffd"],
            None,
            "holds bytes that are not UTF-8",
        ),
        (b'{"findings": [{"title": "a"}]} x', ["a"], None, "goes on behind the end of its JSON"),
        (
            b'{"findings": [{"title": "a"}, {"b": ' + b"[" * 1015 + b"]" * 1015 + b"}]}",
            ["a"],
            None,
            "holds 2 findings, of which 1 are nested too deep",
        ),
    ],
    ids=lambda one: repr(one)[:60],
)
def test_a_doubt_about_the_envelope_keeps_the_good_findings(
    body: bytes, titles: list[str], token: str | None, reason: str
) -> None:
    with pytest.raises(DamagedAnswerError) as caught:
        _decode(body)

    assert caught.value.code == "UnexpectedAnswer"
    assert caught.value.message == f"the body of {len(body)} bytes {reason}"
    page = caught.value.page
    assert page is not None
    assert [finding["title"] for finding in _findings(page)] == titles
    assert page.next_token == token


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"findings": [{"title": "a"}], "nextToken": "A"}',
        b'\r\n {"findings": [{"title": "a"}], "nextToken": "A"}\n\n ',
        b'{"requestId": 7, "findings": [{"title": "a"}], "nextToken": "A", "total": {"of": [1]}}',
        b'{"requestId": {}, "requestId": null, "nextToken": "A", "findings": [{"title": "a"}]}',
        b'{"nextToken": "A", "findings": [{"title": "a"}], "nextToken": "A"}',
        b'{"findings": [{"title": "a"}], "findings": [{"title": "a"}], "nextToken": "A"}',
        '{"findings": [{"title": "a"}], "nextToken": "A"}'.encode("utf-16"),
    ],
    ids=repr,
)
def test_an_odd_envelope_without_a_doubt_is_a_page(body: bytes) -> None:
    page = _decode(body)

    assert [finding["title"] for finding in _findings(page)] == ["a"]
    assert page.next_token == "A"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "is not JSON: it is empty"),
        (b" \n", "is not JSON: it is empty"),
        (
            b" <!DOCTYPE html><p>Sign in</p>",
            "is not JSON: it begins with <!DOCTYPE and looks like HTML",
        ),
        (b"<html>", "is not JSON: it begins with <html and looks like HTML"),
        (b"<Error><Code>x", "is not JSON: it begins with <Error and looks like XML or HTML"),
        (b"\x1f\x8b\x08", "is not JSON: it begins like gzip"),
        (b'{"findings": [{"ti', "is not JSON, though it begins like it: it may be cut off"),
        (b"Bad Gateway", "is not JSON"),
        (b'{"findings": [' + b"[" * 100_000, "is nested too deep to be read"),
        (b"null", "is JSON, but null and not an object with a list of findings"),
        (b"[1]", "is JSON, but a list and not an object with a list of findings"),
        (b'{"Findings": []}', "is a JSON object without a list of findings"),
        (b'{"findings": "x"}', "is a JSON object whose findings are a string and not a list"),
    ],
    ids=lambda one: repr(one)[:40],
)
def test_a_refusal_says_which_part_of_a_body_cannot_be_read(body: bytes, reason: str) -> None:
    with pytest.raises(DamagedAnswerError) as caught:
        _decode(body)

    assert caught.value.message == f"the body of {len(body)} bytes {reason}"
    assert caught.value.page is None


@given(st.binary(max_size=200))
def test_noise_is_damaged(noise: bytes) -> None:
    with pytest.raises(DamagedAnswerError):
        _decode(noise)


@given(st.integers(0, len(_WHOLE) - 1), st.integers(0, 255))
def test_a_changed_byte_never_raises_anything_else(position: int, byte: int) -> None:
    spoiled = _WHOLE[:position] + bytes([byte]) + _WHOLE[position + 1 :]
    try:
        page = _decode(spoiled)
    except DamagedAnswerError as error:
        if error.page is None:
            return
        page = error.page
    assert len(page.lines) == 2


@pytest.mark.parametrize(
    ("answer", "token"),
    [
        ({"findings": []}, None),
        ({"findings": [], "nextToken": None}, None),
        ({"findings": [], "nextToken": ""}, None),
        ({"findings": [{}], "nextToken": ""}, None),
        ({"findings": [], "nextToken": "A" * 65_535}, "A" * 65_535),
        ({"findings": [], "nextToken": "漏 \ud800"}, "漏 \ud800"),
        ({"findings": [], "nextToken": "0"}, "0"),
    ],
)
def test_the_next_token(answer: dict[str, Any], token: str | None) -> None:
    page = _decode(json.dumps(answer))
    assert (len(page.lines), page.next_token) == (len(answer["findings"]), token)


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
    for end in (b'""', b"null"):
        assert decode_list(body.replace(b'"B"', end), "imagePipelineList", **read)[1] is None
    for doubt in (b"5", b'"B","nextToken":"C"'):
        with pytest.raises(DamagedAnswerError, match="nextToken"):
            decode_list(body.replace(b'"B"', doubt), "imagePipelineList", **read)
    with pytest.raises(DamagedAnswerError, match="1 are not objects"):
        decode_list(body.replace(b'{"name": "one"}', b"null"), "imagePipelineList", **read)
    with pytest.raises(DamagedAnswerError, match=r"ListImagePipelines.*imageList"):
        decode_list(body, "imageList", **read)


@pytest.mark.parametrize("line", [b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}\n", b'{"a":\n'])
def test_a_line_that_cannot_be_read_is_not_taken_for_nothing(line: bytes) -> None:
    with pytest.raises(DamagedAnswerError):
        decode_line(line)
