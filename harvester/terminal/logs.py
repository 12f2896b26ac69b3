"""Logs on stderr, as text or JSON, clean of control sequences and of the SDK's secrets."""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import UTC, datetime
from typing import Any, TextIO

from harvester.aws import SDK_LOGGERS
from harvester.settings import LogSettings
from harvester.text import printable, redact
from harvester.timestamps import iso

_LEVELS = {
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": logging.DEBUG,
}
_LONGEST = 2000
# The other attributes of a record are what its caller gave as `extra`.
_OF_EVERY_RECORD = frozenset({*vars(logging.makeLogRecord({})), "asctime", "message"})


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to whatever stderr is now: the progress display puts itself in between."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        """Keep none: it is looked up each time."""


class _Text(logging.Formatter):
    """A clean line for a person."""

    def format(self, record: logging.LogRecord) -> str:
        event, rest = _read(self, record)
        stamp = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = record.levelname.lower()
        return " ".join((f"{stamp} {level:<7} {event}", *(f"{k}={v}" for k, v in rest.items())))


class _Json(logging.Formatter):
    """A JSON object for a machine."""

    def format(self, record: logging.LogRecord) -> str:
        event, rest = _read(self, record)
        stamp = iso(datetime.fromtimestamp(record.created, UTC))
        head = {"timestamp": stamp, "level": record.levelname.lower(), "event": event}
        return json.dumps(head | rest, default=repr)


def _read(formatter: logging.Formatter, record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    """Return what a record says, and what it says beside that, all of it clean."""
    rest = {key: value for key, value in vars(record).items() if key not in _OF_EVERY_RECORD}
    if record.exc_info:
        rest["exception"] = formatter.formatException(record.exc_info)
    clean = {
        key: value if isinstance(value, int | float | None) else _clean(str(value))
        for key, value in rest.items()
    }
    return _clean(record.getMessage()), clean


def _clean(text: str) -> str:
    return printable(redact(text), _LONGEST)


def configure_logs(settings: LogSettings) -> None:
    """Send the logs of this process to stderr.

    The SDK's loggers say nothing below errors, at `trace` below info: never debug. Its
    warnings come with tracebacks of what is told in a line of our own.
    """
    handler = _Stderr()
    handler.addFilter(_without_secrets)
    handler.setFormatter(_Json() if settings.format == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("harvester").setLevel(_LEVELS[settings.level])
    for name in SDK_LOGGERS:
        level = logging.INFO if settings.level == "trace" else logging.ERROR
        logging.getLogger(name).setLevel(level)
    for name in list(root.manager.loggerDict):
        if _is_sdk(name.rpartition(".")[0]):  # what else set a level there is overruled
            logging.getLogger(name).setLevel(logging.NOTSET)
    logging.captureWarnings(True)


def _is_sdk(name: str) -> bool:
    return name.partition(".")[0] in SDK_LOGGERS


def _without_secrets(record: logging.LogRecord) -> bool:
    if not _is_sdk(record.name):
        return True
    record.exc_info = record.exc_text = record.stack_info = None
    return record.levelno >= logging.INFO
