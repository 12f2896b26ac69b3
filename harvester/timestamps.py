"""Timestamps: from the wire's epoch seconds to ISO 8601 in UTC with milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The years 1 to 9999, all that ISO 8601 writes with four digits, in epoch milliseconds.
_FIRST = -62_135_596_800_000
_LAST = 253_402_300_799_999


def iso(moment: datetime) -> str:
    """Return an aware datetime in UTC as `2026-03-01T12:30:45.123Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_milliseconds(value: Any) -> Any:
    """Return a timestamp as the API sends it (epoch seconds) in the form of the output.

    A text that holds epoch seconds or another ISO 8601 form is rewritten too. What is no
    timestamp, or lies outside the years 1 to 9999, is returned as it came, so that nothing
    is lost.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _from_epoch(value)
    if isinstance(value, str):
        return _from_text(value)
    return value


def _from_epoch(seconds: float) -> Any:
    if not _FIRST <= seconds * 1000 <= _LAST:
        return seconds  # also where it is not a number at all
    return iso(_EPOCH + timedelta(milliseconds=min(round(seconds * 1000), _LAST)))


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
