"""Timestamps: from the wire's epoch seconds to ISO 8601 in UTC with milliseconds."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

_EPOCH = date(1970, 1, 1)
# The years 1 to 9999, all that ISO 8601 writes with four digits, in epoch milliseconds.
_FIRST = -62_135_596_800_000
_LAST = 253_402_300_799_999
_MINUTE = 60_000
_DAY = 1440
# A finding has four timestamps: put together from parts, one takes a fifth of the time that
# datetime.isoformat does (bench/micro.py).
_MINUTES = [f"T{minute // 60:02}:{minute % 60:02}:" for minute in range(_DAY)]
_SECONDS = [f"{second:02}." for second in range(60)]
_MILLISECONDS = [f"{millisecond:03}Z" for millisecond in range(1000)]


def iso(moment: datetime) -> str:
    """Return an aware datetime in UTC as `2026-03-01T12:30:45.123Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_milliseconds(value: Any) -> Any:
    """Return a timestamp as the API sends it (epoch seconds) in the form of the output.

    A text that holds epoch seconds or another ISO 8601 form is rewritten too. What is no
    timestamp, or lies outside the years 1 to 9999, is returned as it came, so that nothing
    is lost.
    """
    kind = type(value)
    if kind is float or kind is int:
        return _from_epoch(value)
    if kind is str:
        return _from_text(value)
    return value


def _from_epoch(seconds: float) -> Any:
    if not _FIRST <= seconds * 1000 <= _LAST:
        return seconds  # also where it is not a number at all
    minute, millisecond = divmod(min(round(seconds * 1000), _LAST), _MINUTE)
    day, minute = divmod(minute, _DAY)
    second, millisecond = divmod(millisecond, 1000)
    return _day(day) + _MINUTES[minute] + _SECONDS[second] + _MILLISECONDS[millisecond]


@lru_cache(maxsize=16_384)
def _day(number: int) -> str:
    return (_EPOCH + timedelta(days=number)).isoformat()


def _from_text(text: str) -> str:
    try:
        rewritten = _from_epoch(float(text))
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
            return iso(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
        except (ValueError, OverflowError):
            return text
    return rewritten if isinstance(rewritten, str) else text
