"""Logs on stderr, as text or JSON, without secrets; equal causes are told once."""

from __future__ import annotations

import copy
import logging
import sys

from harvester.aws import SDK_LOGGERS
from harvester.settings import LogSettings
from harvester.terminal import stderr
from harvester.terminal.grouping import Grouping
from harvester.terminal.records import JsonLine, TextLine

_LEVELS = {
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": logging.DEBUG,
}
_FAILURE = "target_finished"


class _Handler(logging.Handler):
    """Writes to whatever stderr is now: the progress display puts itself in between."""

    def __init__(
        self, formatter: logging.Formatter, grouping: Grouping | None, least: int = logging.DEBUG
    ) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._grouping = grouping
        self._least = least

    def emit(self, record: logging.LogRecord) -> None:
        record = _as_error(record)
        if record.levelno < self._least:
            return
        try:
            for one in self._grouping(record) if self._grouping else [record]:
                line = self.format(one)
                if isinstance(self.formatter, JsonLine):
                    stderr.put_line(line)
                elif sys.stderr is not None:
                    sys.stderr.write(line + "\n")
        except Exception:  # noqa: BLE001  # a log line never ends a sweep
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the base's name
        """Drop the record: a report of the failure would go to the same stream."""


def configure_logs(settings: LogSettings, *, run_id: str = "", tables: bool = False) -> None:
    """Send the logs of this process to stderr.

    The SDK's loggers are silent below errors, at `trace` below info: never debug. Their
    warnings come with tracebacks of failures that have a line of the project's own.

    Args:
        settings: the level and the format.
        run_id: on each line of JSON.
        tables: whether a summary for people follows, so that the log need not repeat it.
    """
    root = logging.getLogger()
    root.handlers[:] = [_handler(settings, run_id, tables=tables)]
    root.setLevel(logging.WARNING)
    # Failed targets are warnings of the library, and errors of the command.
    quiet = settings.level == "error"
    ours = logging.WARNING if quiet else _LEVELS[settings.level]
    logging.getLogger("harvester").setLevel(ours)
    for name in SDK_LOGGERS:
        level = logging.INFO if settings.level == "trace" else logging.ERROR
        logging.getLogger(name).setLevel(level)
    for name in list(root.manager.loggerDict):
        if _is_sdk(name.rpartition(".")[0]):  # what else set a level there is overruled
            logging.getLogger(name).setLevel(logging.NOTSET)
    logging.captureWarnings(True)


def _handler(settings: LogSettings, run_id: str, *, tables: bool) -> _Handler:
    is_json = settings.format == "json"
    formatter = JsonLine(run_id) if is_json else TextLine()
    stderr.wrap_lines(formatter.wrap if isinstance(formatter, JsonLine) else None)
    if isinstance(formatter, JsonLine):
        stderr.note_losses(formatter.lost)
    verbose = settings.level in ("debug", "trace")
    grouping = None if verbose else Grouping(counted=not is_json, recap=not tables)
    handler = _Handler(formatter, grouping, _LEVELS[settings.level])
    handler.addFilter(_without_secrets)
    if tables and not is_json:
        handler.addFilter(_is_not_last)
    return handler


def _is_sdk(name: str) -> bool:
    return name.partition(".")[0] in SDK_LOGGERS


def _without_secrets(record: logging.LogRecord) -> bool:
    if not _is_sdk(record.name):
        return True
    record.exc_info = record.exc_text = record.stack_info = None
    return record.levelno >= logging.INFO


def _as_error(record: logging.LogRecord) -> logging.LogRecord:
    """Return a failed target as an error, any other record as it is."""
    if getattr(record, "event", None) != _FAILURE or record.levelno != logging.WARNING:
        return record
    record = copy.copy(record)
    record.levelno, record.levelname = logging.ERROR, "ERROR"
    return record


def _is_not_last(record: logging.LogRecord) -> bool:
    return getattr(record, "event", None) != "sweep_finished"
