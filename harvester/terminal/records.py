"""Log records as lines: text for people, JSON for machines, clean of control sequences."""

from __future__ import annotations

import json
import logging
import math
from datetime import UTC, datetime
from typing import Any

from harvester.aws import SDK_LOGGERS
from harvester.text import printable, redact
from harvester.timestamps import iso

_LONGEST = 2000
_LONGEST_TRACEBACK = 20_000
_OURS = "harvester"
# The other attributes of a record are those that its caller gave as `extra`.
_OF_EVERY_RECORD = frozenset({*vars(logging.makeLogRecord({})), "asctime", "message"})
_HEAD = ("time", "level", "event", "message", "run_id")


class TextLine(logging.Formatter):
    """A line for a person: date, time and zone, level, message, hint."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        stamp = datetime.fromtimestamp(record.created, UTC).astimezone()
        line = f"{stamp.isoformat(timespec='seconds')} {record.levelname.lower():<7} "
        line += _clean(record.getMessage())
        rest = fields_of(record)
        if hint := rest.pop("hint", None):
            line += f" → {hint}"
        if record.exc_info:
            line += f" exception={_traceback(self, record)}"
        if hasattr(record, "event"):  # its message has all that its fields say
            return line
        return " ".join((line, *(f"{key}={value}" for key, value in rest.items())))


class JsonLine(logging.Formatter):
    """A JSON object for a machine."""

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self._run_id = run_id

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        head = {
            "time": iso(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "event": event_of(record),
            "message": _clean(record.getMessage()),
            "run_id": self._run_id,
        }
        rest = {key: value for key, value in fields_of(record).items() if key not in _HEAD}
        if record.exc_info:
            rest["exception"] = _traceback(self, record)
        return json.dumps(head | rest, default=repr)

    def wrap(self, text: str) -> str:
        """Return a line that somebody wrote to stderr as a record."""
        fields = {"event": "stderr_text", "levelno": logging.WARNING, "levelname": "WARNING"}
        return self.format(logging.makeLogRecord({**fields, "msg": "%s", "args": (text,)}))

    def lost(self, lines: int) -> str:
        """Return the record that tells how many lines were dropped."""
        fields = {"event": "log_lines_lost", "lines": lines, "levelname": "WARNING"}
        message = "lines were dropped, because stderr did not take them"
        return self.format(logging.makeLogRecord({**fields, "msg": message})) + "\n"


def event_of(record: logging.LogRecord) -> str:
    """Return the stable name of what a record tells of."""
    given = getattr(record, "event", None)
    if given is not None:
        return str(given)
    name = record.name.partition(".")[0]
    if name == _OURS:
        return f"{record.module}_{record.levelname.lower()}"
    if record.name == "py.warnings":
        return "python_warning"
    return "sdk_log" if name in SDK_LOGGERS else "log"


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a record's caller gave beside the message, clean, without empty fields."""
    return {
        key: (_clean_value(value) if key != "traceback" else printable(value, _LONGEST_TRACEBACK))
        for key, value in vars(record).items()
        if key not in _OF_EVERY_RECORD and value is not None
    }


def _clean_value(value: Any) -> Any:
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, list | tuple):
        return [_clean_value(one) for one in value]
    if isinstance(value, dict):
        return {_clean(str(key)): _clean_value(one) for key, one in value.items()}
    return _clean(str(value))


def _clean(text: str) -> str:
    return printable(redact(text), _LONGEST)


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    if not record.exc_info:
        return ""
    return printable(redact(formatter.formatException(record.exc_info)), _LONGEST_TRACEBACK)
