"""Timestamps: from the wire's epoch seconds to ISO 8601 in UTC with milliseconds."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

_EPOCH = date(1970, 1, 1)
# The years 1 to 9999, all that ISO 8601 writes with four digits, in epoch milliseconds: as
# floats, which are compared with a float much faster than integers are.
_FIRST = -62_135_596_800_000.0
_LAST = 253_402_300_799_999.0
# A finding has four timestamps: put together from parts, one takes less than half of the time
# that datetime.isoformat does (bench/micro.py). The parts carry the quotes of a JSON text.
_SECONDS = [b"%02d:%02d." % divmod(second, 60) for second in range(3600)]
_MILLISECONDS = [b'%03dZ"' % millisecond for millisecond in range(1000)]


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


def iso_json(seconds: bytes | float) -> bytes:
    """Return epoch seconds, also as JSON writes them, as a JSON text in the form of the output.

    Raises:
        ValueError: they are no number, or lie outside the years 1 to 9999.
    """
    milliseconds = float(seconds) * 1000
    if not _FIRST <= milliseconds <= _LAST:
        raise ValueError("outside the years 1 to 9999")
    second, millisecond = divmod(round(milliseconds), 1000)
    hour, second = divmod(second, 3600)
    return _hour(hour) + _SECONDS[second] + _MILLISECONDS[millisecond]


def _from_epoch(seconds: float) -> Any:
    try:
        return iso_json(seconds)[1:-1].decode()
    except (ValueError, OverflowError):
        return seconds  # also where it is not a number at all


@lru_cache(maxsize=65_536)
def _hour(number: int) -> bytes:
    day, hour = divmod(number, 24)
    return f'"{_EPOCH + timedelta(days=day)}T{hour:02}:'.encode()


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
