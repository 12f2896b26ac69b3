"""Timestamps: ISO 8601 in UTC with milliseconds, or left as they came."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.utils import parse_timestamp
from hypothesis import given
from hypothesis import strategies as st

from harvester.timestamps import iso, iso_json, iso_milliseconds


@pytest.mark.parametrize(
    ("wire", "output"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (-0.0, "1970-01-01T00:00:00.000Z"),
        (1772368245.123, "2026-03-01T12:30:45.123Z"),
        (1772368245, "2026-03-01T12:30:45.000Z"),
        (1772368245.9994, "2026-03-01T12:30:45.999Z"),
        (1772368245.9996, "2026-03-01T12:30:46.000Z"),
        (59.9999, "1970-01-01T00:01:00.000Z"),
        (86399.9999, "1970-01-02T00:00:00.000Z"),
        (0.001, "1970-01-01T00:00:00.001Z"),
        (-0.001, "1969-12-31T23:59:59.999Z"),
        (-1, "1969-12-31T23:59:59.000Z"),
        (951782400, "2000-02-29T00:00:00.000Z"),
        (-62135596800, "0001-01-01T00:00:00.000Z"),
        (253402300799.999, "9999-12-31T23:59:59.999Z"),
        ("1772368245.123", "2026-03-01T12:30:45.123Z"),
        ("1.772368245123E9", "2026-03-01T12:30:45.123Z"),
        ("0", "1970-01-01T00:00:00.000Z"),
        ("2026-03-01T12:30:45.123Z", "2026-03-01T12:30:45.123Z"),
        ("2026-03-01T12:30:45Z", "2026-03-01T12:30:45.000Z"),
        ("2026-03-01T12:30:45.123456Z", "2026-03-01T12:30:45.123Z"),
        ("2026-03-01T12:30:45.123+02:00", "2026-03-01T10:30:45.123Z"),
        ("2026-03-01T00:30:45-05:30", "2026-03-01T06:00:45.000Z"),
        ("2026-03-01T12:30:45", "2026-03-01T12:30:45.000Z"),
        ("2026-03-01", "2026-03-01T00:00:00.000Z"),
    ],
)
def test_timestamps_are_written_in_one_form(wire: Any, output: str) -> None:
    assert iso_milliseconds(wire) == output


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        None,
        [],
        {},
        [1772368245],
        253402300800,
        -62135596801,
        1e20,
        -1e20,
        1e308,
        10**400,
        -(10**400),
        math.inf,
        -math.inf,
        "",
        "NaN",
        "Infinity",
        "-inf",
        "1e400",
        "9" * 5000,
        "1e20",
        "yesterday",
        "2026-13-01T00:00:00Z",
        "2026-02-30",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "\ud800",
    ],
)
def test_what_is_no_timestamp_stays_as_it_is(value: Any) -> None:
    kept = iso_milliseconds(value)

    assert kept == value
    assert type(kept) is type(value)


@pytest.mark.parametrize(
    "digits", [b"253402300800", b"-62135596801", b"1e20", b"9" * 5000, b"NaN", b"Infinity", b""]
)
def test_digits_of_no_timestamp_are_refused(digits: bytes) -> None:
    with pytest.raises(ValueError, match=r"outside|could not convert"):
        iso_json(digits)


def test_what_is_not_a_number_stays_so() -> None:
    assert math.isnan(iso_milliseconds(math.nan))


_MILLISECONDS = st.integers(-62_000_000_000_000, 253_000_000_000_000)


@given(_MILLISECONDS)
def test_the_same_moment_as_the_sdk_reads(milliseconds: int) -> None:
    wire = milliseconds / 1000
    # The SDK keeps microseconds, where a float's last digits show: 19.997999 is 19.998.
    moment = parse_timestamp(wire) + timedelta(microseconds=500)

    assert iso_milliseconds(wire) == iso(moment)
    assert iso_milliseconds(repr(wire)) == iso_milliseconds(wire)
    assert json.loads(iso_json(repr(wire).encode())) == iso_milliseconds(wire)


@given(_MILLISECONDS)
def test_every_millisecond_is_kept(milliseconds: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    output = iso_milliseconds(milliseconds / 1000)

    assert datetime.fromisoformat(output) == moment
    assert len(output) == len("2026-03-01T12:30:45.123Z")
    assert iso_milliseconds(output) == output


@given(st.one_of(st.integers(), st.floats(), st.text(), st.booleans()))
def test_nothing_raises(value: Any) -> None:
    result = iso_milliseconds(value)

    assert result is value or isinstance(result, str) or math.isnan(result) or result == value
