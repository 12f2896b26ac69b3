"""From a body to lines: what json.loads reads back is exactly what the body held."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import botocore.session
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harvester.aws.bodies import decode_page
from harvester.errors import DamagedAnswerError
from harvester.output.ndjson import encode_line, encode_lines


@dataclass(frozen=True)
class Raw:
    """A value by how it is written in a body, and what is expected to come out of the line."""

    text: str
    expected: Any


def _text(value: str) -> Raw:
    escaped = json.dumps(value)
    expected = json.loads(escaped)  # two halves of a surrogate pair become one character
    try:
        expected.encode()
    except UnicodeEncodeError:
        return Raw(escaped, expected)
    return Raw(json.dumps(expected, ensure_ascii=len(value) % 2 == 0), expected)


def _moment(milliseconds: int) -> Raw:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    expected = moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    return Raw(repr(milliseconds / 1000), expected)


_STRINGS = st.text(st.characters(exclude_categories=())).map(_text)
_NUMBERS = st.one_of(
    st.integers(),
    st.integers(-(10**400), 10**400),
    st.sampled_from([2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**18, 10**19]),
    st.floats(allow_nan=False, allow_infinity=False),
).map(lambda number: Raw(repr(number), number))
_ODDITIES = st.sampled_from(
    [Raw(text, text) for text in ("NaN", "Infinity", "-Infinity", "1e400", "-1E+999", "9" * 5000)]
    + [Raw("1E5", 1e5), Raw("1.0", 1.0), Raw("-0.0", -0.0), Raw("1e-400", 0.0)]
    + [Raw("0.1234567890123456789012", 0.12345678901234568)]
)
_CONSTANTS = st.sampled_from([Raw("true", True), Raw("false", False), Raw("null", None)])


def _array(items: list[Raw]) -> Raw:
    text = ", ".join(item.text for item in items)
    return Raw(f"[{text}]", [item.expected for item in items])


def _object(items: dict[str, tuple[Raw, Raw]]) -> Raw:
    pairs = items.values()
    text = ",\n".join(f"{name.text}: {value.text}" for name, value in pairs)
    return Raw(f"{{{text}}}", {name.expected: value.expected for name, value in pairs})


def _objects(values: st.SearchStrategy[Raw]) -> st.SearchStrategy[Raw]:
    pairs = st.lists(st.tuples(_STRINGS, values), max_size=5)
    return pairs.map(lambda some: _object({name.expected: (name, value) for name, value in some}))


_VALUES = st.recursive(
    st.one_of(_STRINGS, _NUMBERS, _ODDITIES, _CONSTANTS),
    lambda values: st.one_of(st.lists(values, max_size=4).map(_array), _objects(values)),
    max_leaves=20,
)
_TIMES = st.integers(-62_135_596_800_000, 253_402_300_799_999).map(_moment)


@cache
def _from_the_model() -> st.SearchStrategy[Raw]:
    model = botocore.session.Session().get_service_model("imagebuilder")
    return _of_shape(model.shape_for("ImageScanFinding"))


def _of_shape(shape: Any) -> st.SearchStrategy[Raw]:
    if shape.type_name == "structure":
        members = {name: _of_shape(member) for name, member in shape.members.items()}
        return st.fixed_dictionaries({}, optional=members).map(
            lambda some: _object({name: (_text(name), value) for name, value in some.items()})
        )
    if shape.type_name == "list":
        return st.lists(_of_shape(shape.member), max_size=3).map(_array)
    kinds = {"string": _STRINGS, "timestamp": _TIMES, "boolean": _CONSTANTS}
    return kinds.get(shape.type_name, _NUMBERS)


def _read(line: bytes) -> Any:
    """A line as Python holds it: what it has no number for, as digits."""

    def double(digits: str) -> float | str:
        return digits if math.isinf(float(digits)) else float(digits)

    def whole(digits: str) -> int | str:
        return digits if len(digits) > sys.get_int_max_str_digits() else int(digits)

    return json.loads(line.decode("utf-8"), parse_float=double, parse_int=whole)


def _check(findings: list[Raw]) -> None:
    body = f'{{"findings": {_array(findings).text}, "requestId": "x"}}'
    # On several lines it is decoded and dumped; on one it may be copied.
    for form in (body, body.replace("\n", " ")):
        page = decode_page(form.encode(), account="111122223333", region="us-east-1")
        assert len(page.facets) == len(page.lines) == len(findings)
        for line, finding in zip(page.lines, findings, strict=True):
            assert line.endswith(b"}\n")
            # The repr tells 1 from 1.0 and 0.0 from -0.0, and sees the order of keys.
            assert repr(_read(line)) == repr(finding.expected)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_objects(_VALUES), max_size=3))
@example([_object({"": (_text("\ud800"), _text("\udc00 \n\r\u2028\x00"))})])
@example(
    [
        _object(
            {"a": (_text("a"), Raw("NaN", "NaN")), "b": (_text("b"), Raw("1" * 19, int("1" * 19)))}
        )
    ]
)
def test_any_json_comes_out_as_it_went_in(findings: list[Raw]) -> None:
    _check(findings)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_findings_of_the_service_model_keep_all_but_the_form_of_timestamps(
    data: st.DataObject,
) -> None:
    _check(data.draw(st.lists(_from_the_model(), max_size=2)))


@pytest.mark.parametrize("depth", [10, 200, 252, 260, 600, 900, 950, 1000, 1015, 1023, 5000])
@pytest.mark.parametrize("leaf", ["1", "NaN", '"\\ud800"', "1" * 30])
def test_deep_nesting_is_kept_or_refused(depth: int, leaf: str) -> None:
    body = f'{{"findings": [{{"a": {"[" * depth}{leaf}{"]" * depth}}}]}}'.encode()
    try:
        (line,) = decode_page(body, account="1", region="r").lines
    except DamagedAnswerError:
        assert depth > 500
        return
    text = '"NaN"' if leaf == "NaN" else leaf

    expected = f'{{"a":{"[" * depth}{text}{"]" * depth}}}\n'.encode()
    assert line.replace(b" ", b"") == expected


def test_no_findings_are_no_bytes() -> None:
    assert encode_lines([]) == b""
    assert encode_line({}) == b"{}\n"
