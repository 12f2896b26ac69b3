"""Logs on stderr, as text or JSON, clean of control sequences and of the SDK's secrets."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from harvester.settings import LogSettings
from harvester.text import printable, redact

_LEVELS = {
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": logging.DEBUG,
}
# Their debug logs hold secret keys, session tokens and external ids, and what an error of
# theirs quotes is not redacted.
_SDK = ("aiobotocore", "aiohttp", "boto3", "botocore", "urllib3")
_LONGEST = 2000


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


def configure_logs(settings: LogSettings) -> None:
    """Send the logs of this process to stderr.

    The SDK's loggers say nothing below errors, at `trace` below info: never debug. Its
    warnings come with tracebacks of what is told in a line of our own.
    """
    as_json = settings.format == "json"
    stamp = "iso" if as_json else "%H:%M:%S"
    renderer: Any = structlog.processors.JSONRenderer() if as_json else _as_text
    handler = _Stderr()
    handler.addFilter(_without_secrets)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.TimeStamper(fmt=stamp, utc=as_json),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _clean,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("harvester").setLevel(_LEVELS[settings.level])
    for name in _SDK:
        level = logging.INFO if settings.level == "trace" else logging.ERROR
        logging.getLogger(name).setLevel(level)
    for name in list(root.manager.loggerDict):
        if _is_sdk(name.rpartition(".")[0]):  # what else set a level there is overruled
            logging.getLogger(name).setLevel(logging.NOTSET)
    logging.captureWarnings(True)


def _is_sdk(name: str) -> bool:
    return name.partition(".")[0] in _SDK


def _without_secrets(record: logging.LogRecord) -> bool:
    if not _is_sdk(record.name):
        return True
    record.exc_info = record.exc_text = record.stack_info = None
    return record.levelno >= logging.INFO


def _clean(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if not isinstance(value, int | float | None):
            event[key] = printable(redact(str(value)), _LONGEST)
    return event


def _as_text(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> str:
    stamp, level, text = event.pop("timestamp"), event.pop("level"), event.pop("event")
    rest = "".join(f" {key}={value}" for key, value in event.items())
    return f"{stamp} {level:<7} {text}{rest}"
