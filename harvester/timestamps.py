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
_SECONDS = [b"%02d." % second for second in range(60)]
_MILLISECONDS = [b"%03dZ" % millisecond for millisecond in range(1000)]


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


def iso_bytes(digits: bytes) -> bytes:
    """Return epoch seconds, as JSON writes them, in the form of the output.

    Raises:
        ValueError: they are no number, or lie outside the years 1 to 9999.
    """
    seconds = float(digits)
    if not _FIRST <= seconds * 1000 <= _LAST:
        raise ValueError("outside the years 1 to 9999")
    return _form(seconds)


def _from_epoch(seconds: float) -> Any:
    if not _FIRST <= seconds * 1000 <= _LAST:
        return seconds  # also where it is not a number at all
    return _form(seconds).decode()


def _form(seconds: float) -> bytes:
    minute, millisecond = divmod(min(round(seconds * 1000), _LAST), _MINUTE)
    second, millisecond = divmod(millisecond, 1000)
    return _minute(minute) + _SECONDS[second] + _MILLISECONDS[millisecond]


@lru_cache(maxsize=65_536)
def _minute(number: int) -> bytes:
    day, minute = divmod(number, _DAY)
    return f"{_EPOCH + timedelta(days=day)}T{minute // 60:02}:{minute % 60:02}:".encode()


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
