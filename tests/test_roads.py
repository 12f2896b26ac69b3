"""A page's two roads: what is copied from a body must hold what decoding the body gives.

A newline behind a body means nothing in JSON, but it is unusual, and so it sends the body down
the safe road: decoded, rewritten, dumped.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from operator import itemgetter
from typing import Any

import botocore.session
import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harvester.aws.bodies import decode_line, decode_page, page_of
from harvester.errors import DamagedAnswerError
from harvester.model import Finding, Page
from harvester.simulator.generator import make_findings
from harvester.timestamps import iso_milliseconds

_FILTERS = ("severity", "imagePipelineArn", "imageBuildVersionArn", "vulnerabilityId")
_FIRST = ("firstObservedAt", "updatedAt")
_PACKAGE = ("vendorCreatedAt", "vendorUpdatedAt")
_slow = settings(suppress_health_check=[HealthCheck.too_slow], max_examples=300)


def _page(body: bytes) -> Page | None:
    try:
        return decode_page(body, account="111122223333", region="us-east-1")
    except DamagedAnswerError as error:
        return replace(error.page, doubt=error) if error.page else None


def _safe(body: bytes) -> Page | None:
    return _page(body + b"\n")


def _refuse(constant: str) -> None:
    raise AssertionError(constant)


def _is_json(body: bytes) -> bool:
    for loads in (orjson.loads, lambda text: json.loads(text, parse_int=str)):
        try:
            loads(body)
        except (ValueError, RecursionError):
            continue
        return True
    return False


def _check(body: bytes) -> None:
    page, safe = _page(body), _safe(body)
    if page is None or safe is None:
        assert page is safe, "refused by one road only"
        return
    assert _is_json(body) or page.doubt
    assert (page.doubt is None) is (safe.doubt is None)
    assert page.next_token == safe.next_token
    assert len(page.lines) == len(page.facets) == len(safe.lines)
    for line, other in zip(page.lines, safe.lines, strict=True):
        assert line.startswith(b"{")
        assert line.endswith(b"}\n")
        json.loads(line.decode("utf-8"), parse_constant=_refuse, parse_int=str)
        # The repr tells 1 from 1.0 and 0.0 from -0.0, and sees the order of names.
        assert repr(decode_line(line)) == repr(decode_line(other))
    for facets, others in zip(page.facets, safe.facets, strict=True):
        for name in _FILTERS:
            assert repr(facets.value(name)) == repr(others.value(name))


def _rewritten(finding: Finding) -> Finding:
    details = finding["packageVulnerabilityDetails"]
    times = {name: iso_milliseconds(details[name]) for name in _PACKAGE if name in details}
    return {
        **finding,
        **{name: iso_milliseconds(finding[name]) for name in _FIRST},
        "packageVulnerabilityDetails": {**details, **times},
    }


_REAL = make_findings(60)


def _body(findings: list[Finding], *, spaced: bool = True, ascii_only: bool = False) -> bytes:
    answer = {"requestId": "b3d9", "findings": findings, "nextToken": "AAAA"}
    separators = (", ", ": ") if spaced else (",", ":")
    return json.dumps(answer, ensure_ascii=ascii_only, separators=separators).encode()


@pytest.mark.parametrize("ascii_only", [True, False])
def test_usual_findings_are_copied_but_for_their_timestamps(*, ascii_only: bool) -> None:
    page = _page(_body(_REAL, ascii_only=ascii_only))
    lines = [json.dumps(_rewritten(one), ensure_ascii=ascii_only).encode() for one in _REAL]

    assert page is not None
    expected = [line.replace(b'edAt": ', b'edAt":') + b"\n" for line in lines]
    assert page.lines == expected, "all other spaces of the body are still there"
    assert page.next_token == "AAAA"
    _check(_body(_REAL, ascii_only=ascii_only))


@pytest.mark.parametrize("spaced", [True, False])
def test_a_large_page_is_the_same_on_both_roads(*, spaced: bool) -> None:
    body = _body([{**one, "n": n} for n in range(100) for one in _REAL], spaced=spaced)
    assert len(body) > 2 << 20
    page = _page(body)
    assert page is not None
    assert len(page.lines) == len(page.facets) == 100 * len(_REAL)
    _check(body)
    spoiled = body[: len(body) // 2] + b"\x00" + body[len(body) // 2 :]
    assert _page(spoiled) is None


def test_timestamps_with_an_exponent_are_copied_as_well() -> None:
    """As Java writes doubles, and with it many services."""
    body = rb'{"findings":[{"a":  1,"updatedAt":1.767571200123E9,"firstObservedAt":1.7675712E9}]}'
    page = _page(body)

    assert page is not None
    wanted = b'{"a":  1,"updatedAt":"2026-01-05T00:00:00.123Z","firstObservedAt":"2026-01-05T00:00:00.000Z"}'
    assert page.lines == [wanted + b"\n"]
    _check(body)


def test_the_road_to_compare_with_is_the_other_one() -> None:
    safe = _safe(_body(_REAL))

    assert safe is not None
    assert safe.text == page_of([_rewritten(finding) for finding in _REAL], None).text
    assert safe.text != getattr(_page(_body(_REAL)), "text", None)


@pytest.mark.parametrize(
    "body",
    [
        # The same number in a place that is no timestamp's, and in one that is written oddly.
        rb'{"findings":[{"other":{"updatedAt":5},"updated\u0041t":5}]}',
        rb'{"findings":[{"other":{"updatedAt":5},"updatedAt" :5}]}',
        rb'{"findings":[{"other":{"updatedAt":5},"updatedAt":  5}]}',
        rb'{"findings":[{"other":{"updatedAt":5e3},"updatedAt" :5}]}',
        rb'{"findings":[{"other":{"updatedAt":5e3},"\u0075pdatedAt":5}]}',
        rb'{"findings":[{"updatedAt":{"updatedAt":5}},{"updat\u0065dAt":5}]}',
        rb'{"findings":[{"vendorCreatedAt":5,"packageVulnerabilityDetails":{"vendorCreatedAt" :5}}]}',
        rb'{"findings":[{"modifiedAt":5,"updatedAt" :5}]}',
        rb'{"findings":[{"updatedAt":5e3,"updatedAt" :5}]}',
        rb'{"findings":[{"updatedAt":5,"updatedAt":5}]}',
        rb'{"findings":[{"updatedAt":5e3},{"firstObservedAt":5E0}]}',
        rb'{"findings":[{"updatedAt":-5}]}',
        rb'{"findings":[{"updatedAt":5E0},{"updatedAt":5.0E1},{"updatedAt":0.0005E4}]}',
        rb'{"findings":[{"updatedAt":5E-1},{"updatedAt":5E+1}]}',
        rb'{"findings":[{"updatedAt":1.7675712001234E9}]}',
        rb'{"findings":[{"updatedAt":2.53402300799999E11}]}',
        rb'{"findings":[{"updatedAt":253402300799.9999999}]}',
        rb'{"findings":[{"updatedAt":1E300}]}',
        rb'{"findings":[{"updatedAt":253402300800}]}',
        b'{"findings":[{"updatedAt":5,\r"a":1}]}',
        b'{"findings":[],"nextToken":""}',
        rb'{"findings":[{"updatedAt":"5","other":{"updatedAt":5},"firstObserv\u0065dAt":5}]}',
        rb'{"findings":[{"title":"edAt\":5","updatedAt":5,"edAt\"":5}]}',
        # Not UTF-8, where nothing looks at it.
        b'{"requestId":"\xff","findings":[{"a":1}]}',
        b'{"\xff":1,"findings":[{"a":1}]}',
        b'{"findings":[{"b":"\xff"}],"findings":[{"a":1}]}',
        b'{"findings":[{"a":"' + b"x" * 8173 + b"\xc3" + b'"}]}',
        b'{"findings":[{"a":"\xed\xa0\x80"}]}',
        b'{"findings":[{"a":"' + "\U0001f525".encode() * 9000 + b'"}],"nextToken":"\xc3\xa9"}',
        b'{"findings":[{"a":1}],"findings":[{"updatedAt":5},{}],"nextToken":"A","nextToken":null}',
        b'\xef\xbb\xbf{"findings":[{"a":1}]}',
        # Cut in a place where no finding ends, or not in one where it does.
        b'{"findings":[{"a":[{"a":1},{"a":2}]},{"a":3}]}',
        b'{"findings":[{"a":[[{"a":1},{"a":2}]]},{"b":3}]}',
        b'{"findings":[{"a":1},{"b":2},{"a":3}]}',
        b'{"findings":[{"a":1},{"a":2}, {"a":3}]}',
        b'{"findings": [{"a":1},{"a":2}, {"a":3}]}',
        rb'{"findings":[{"a":"},{\"a\":1"},{"a":"}]"}],"nextToken":"}]"}',
        b'{"findings":[{"a":1},{"a":2}],"nextToken":"},{"}',
        b'{"nextToken":"[","findings":[{"a":1}],"requestId":"]"}',
        b'{"findings":[],"nextToken":"[{"a":1}]"}',
        b'{"findings":[{"a":1}]]}',
        b'{"findings":[{"a":1}}]}',
        b'{"findings":[{"a":1}],"findings":[]}',
        b'{"findings":[{"a":1}],"findings":"x"}',
        rb'{"findings":[{"a":1}],"f\u0069ndings":[]}',
        b'{"findings":"x","findings":[{"a":1}]}',
        b'{"findings":[{"a":1},{"a":2}],"nextToken":5}',
        b'{"findings":[{"a":1},{"a":2}],"nextToken":"A"} ',
        b'{"findings":[{"a":1},{"a":2}],"nextToken":"A"}{}',
        b'{"findings":[{"a":1},],"nextToken":"A"}',
        b'{"findings":[{"a":1}],"nextToken":""}',
        b'{"findings":[{"a":1},null],"nextToken":"A"}',
        b'{"findings":[{"a":1},{"a":2}],"other":[{"a":3},{"a":4}]}',
        b'{"findings":[{"a":' + b'{"updatedAt":[' * 300 + b"5" + b"]}" * 300 + b"}]}",
    ],
    ids=lambda body: repr(body[:60]),
)
def test_what_was_made_to_mislead_does_not(body: bytes) -> None:
    _check(body)


# JSON as text and, for lists and objects, as tuples: so that one document has one style.
_Tree = Any
_Trees = st.SearchStrategy[_Tree]
_NUMBERS = ["5", "5.0", "1.5", "0", "-5", "5e3", "1E+3", "1e5", "1e999", "-0", "1e-400", " 5"]
_NUMBERS += ["123456789012345678901234567890", "18446744073709551616", "9" * 5000]
_NUMBERS += ["253402300800", "253402300799.9995", "0.1234567890123456789012"]
_TEXTS = [r'"edAt\":1"', '"edAt"', '"5"', '"2026-01-01T01:00:00+01:00"', '"1e999"', '"},{"']
_TEXTS += [r'"\u0041"', r'"\\u0041"', r'"\ud83d\ude00"', r'"\ud800"', '"\x7f\u2028"']
_NO_JSON = ["NaN", "Infinity", "-Infinity", "05", "5.", ".5", "+5", "5e", "--5", "nul", "", "[,]"]
_NO_JSON += ['{"a"}', "{5:5}", '"\t"', '"\0"', r'"\x"', r'"\u12"', '"\ud800"']
_times = st.sampled_from(
    ["5", "5", "1.5", "1767571200.123", "1.767571200123E9", "1.5E9", "253402300799.999", "0"]
)
_texts = st.text(max_size=5).flatmap(
    lambda text: st.sampled_from([json.dumps(text), json.dumps(text, ensure_ascii=False)])
)


def _rarely(trees: _Trees, often: _Trees) -> _Trees:
    return st.integers(0, 19).flatmap(lambda dice: trees if dice == 19 else often)  # the last


def _name(name: str) -> st.SearchStrategy[str]:
    plain, at = f'"{name}"', len(name) // 2
    escaped = f'"{name[:at]}\\u{ord(name[at]):04x}{name[at + 1 :]}"'
    return _rarely(st.sampled_from([escaped, f"{plain} ", f"{plain}\t"]), st.just(plain))


def _objects(values: _Trees) -> _Trees:
    names = st.sampled_from([*_FIRST, *_PACKAGE, "other", "edAt"]).flatmap(_name)
    return st.lists(st.tuples(names, values), max_size=3).map(lambda some: ("{", *some))


def _arrays(values: _Trees) -> _Trees:
    return st.lists(values, max_size=3).map(lambda some: ("[", *some))


_anything: _Trees = st.recursive(
    st.sampled_from([*_NUMBERS, *_TEXTS, "null", "true", "{}", "[]"]) | _times | _texts,
    lambda inner: _arrays(inner) | _objects(inner),
    max_leaves=6,
)


@cache
def _findings(*, odd: bool) -> _Trees:
    model = botocore.session.Session().get_service_model("imagebuilder")
    return _of_shape(model.shape_for("ImageScanFinding"), odd=odd)


def _of_shape(shape: Any, *, odd: bool) -> _Trees:
    """What the service model allows, and unknown members; if odd, now and then anything else."""
    if shape.type_name == "structure":
        of_members = [
            st.tuples(
                _name(name) if odd else st.just(f'"{name}"'),
                _rarely(_anything if odd else st.just("null"), _of_shape(member, odd=odd)),
            )
            for name, member in shape.members.items()
        ]
        once = None if odd else itemgetter(0)
        members = st.lists(st.one_of(of_members), max_size=8, unique_by=once)
        unknown = st.tuples(st.sampled_from(['"new"', '"edAt"']), _anything)
        return st.tuples(members, _rarely(st.tuples(unknown), st.just(()))).map(
            lambda both: ("{", *both[0], *both[1])
        )
    if shape.type_name == "list":
        return _arrays(_of_shape(shape.member, odd=odd))
    times = _times | st.sampled_from(_NUMBERS) if odd else _times
    kinds = {"timestamp": times, "boolean": st.sampled_from(["true", "false"]), "string": _texts}
    return kinds.get(shape.type_name, st.sampled_from(["9.8", "10", "0.0"]))


def _text(tree: _Tree, comma: str, colon: str) -> str:
    if isinstance(tree, str):
        return tree
    kind, *items = tree
    if kind == "[":
        return f"[{comma.join(_text(item, comma, colon) for item in items)}]"
    pairs = (f"{name}{colon}{_text(value, comma, colon)}" for name, value in items)
    return f"{{{comma.join(pairs)}}}"


@st.composite
def _bodies(draw: st.DrawFn, *, odd: bool) -> bytes:
    comma = draw(st.sampled_from([",", ", ", ",\t", " , ", ",\n  ", "\r,"]))
    colon = draw(st.sampled_from([":", ": ", ":\t", " : "] if odd else [":", ": "]))
    findings = draw(st.lists(_findings(odd=odd), max_size=3))
    token = draw(st.sampled_from(['"A"', "null", r'"\u00e9"', *['""'] * odd]))
    members = [("requestId", '"x"'), ("findings", ("[", *findings)), ("nextToken", token)]
    if odd:
        names = ("findings", "nextToken", "x")
        wrong = st.tuples(st.sampled_from(names), _anything | st.sampled_from(_NO_JSON))
        members += draw(st.lists(wrong, max_size=1))
        members = draw(st.permutations(members))
    tree = ("{", *((f'"{name}"', value) for name, value in members))
    return _text(tree, comma, colon).encode("utf-8", "surrogatepass")


@_slow
@given(_bodies(odd=False))
def test_what_the_service_model_allows_is_the_same_on_both_roads(body: bytes) -> None:
    assert _page(body) is not None
    _check(body)


@_slow
@given(_bodies(odd=True))
def test_what_it_does_not_allow_is_the_same_or_refused_by_both(body: bytes) -> None:
    _check(body)


_BODIES = [_body([one], spaced=spaced) for one in _REAL[:12] for spaced in (True, False)]
_BODIES += [_body(_REAL[at : at + 3], spaced=spaced) for at in (20, 30) for spaced in (True, False)]
_PIECES = [
    b'"',
    b"\\",
    b"{",
    b"}",
    b",",
    b":",
    b" ",
    b"\n",
    b"\0",
    b"0",
    b"5",
    b"e",
    b".",
    b"-",
    b"\xff",
]
_PIECES += [
    b"\xc3",
    b"\xa9",
    b"\xed\xa0\x80",
    rb"\u0041",
    b"null",
    b'"updatedAt":5,',
    b'"x":{"edAt":5},',
]
_PIECES += [text.encode("utf-8", "surrogatepass") for text in _NO_JSON]
_pieces = st.sampled_from([b"", *_PIECES]) | st.binary(min_size=1, max_size=2)


_seconds = st.integers(0, 2**31) | st.integers(253_402_300_790, 253_402_300_801) | st.just(0)
_fractions = st.text("0459", max_size=9) | st.from_regex(r"[0-9]{3}(0{0,30}[59]?)", fullmatch=True)


@given(st.lists(st.tuples(_seconds, _fractions), min_size=1, max_size=4))
@example([(0, "0005"), (5, "000"), (5, ""), (1767571200, "1234999"), (1767571200, "9995")])
@example([(253_402_300_799, "999")])
@example([(253_402_300_799, "9990"), (253_402_300_799, "9995")])
def test_any_digits_of_a_timestamp_are_the_same(moments: list[tuple[int, str]]) -> None:
    numbers = [f"{seconds}.{fraction}".rstrip(".") for seconds, fraction in moments]
    findings = ",".join(f'{{"updatedAt":{number},"firstObservedAt":5}}' for number in numbers)
    _check(f'{{"findings":[{findings}]}}'.encode())


@st.composite
def _spoiled(draw: st.DrawFn) -> bytes:
    """A real body with some bytes changed, taken out or put in; half of them at timestamps or ends."""
    body = draw(st.sampled_from(_BODIES))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(body)))
        if draw(st.booleans()):
            near = draw(st.sampled_from([b'edAt"', b'},{"', b'}, {"', b"}]"]))
            place = max(0, body.find(near, place) + draw(st.integers(-10, 12)))
        body = body[:place] + draw(_pieces) + body[place + draw(st.integers(0, 2)) :]
    return body


@_slow
@given(_spoiled())
@example(_BODIES[0].replace(b"requestId", b"request\xffId"))
def test_a_spoiled_body_is_the_same_or_refused_by_both(body: bytes) -> None:
    _check(body)
