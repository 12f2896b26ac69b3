"""From the SDK's findings to lines of NDJSON, for the contestants that use its paginator."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import orjson

_OPTIONS: Final = orjson.OPT_APPEND_NEWLINE | orjson.OPT_PASSTHROUGH_DATETIME


def to_lines(findings: Iterable[Any]) -> bytes:
    """The findings as lines, their timestamps in UTC with milliseconds."""
    return b"".join(orjson.dumps(finding, _iso, _OPTIONS) for finding in findings)


def _iso(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    raise TypeError
