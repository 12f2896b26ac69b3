"""Logs of the processes that read: said by the first one, in its way and on its stderr."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from harvester.aws import SDK_LOGGERS
from harvester.processes.messages import Said

_OURS = "harvester"
_FIELDS = ("event", "account", "region", "code", "page_size")


def levels() -> dict[str, int]:
    """Return the levels of this process's loggers, for other processes to keep to.

    The SDK's debug logs hold secrets: they are never asked for.
    """
    names = {name: logging.getLogger(name).getEffectiveLevel() for name in ("", *SDK_LOGGERS)}
    found = {name: max(level, logging.INFO) for name, level in names.items()}
    return {**found, _OURS: logging.getLogger(_OURS).getEffectiveLevel()}


def forward_logs(wanted: Mapping[str, int], post: Callable[[Said], None]) -> None:
    """Post the log records of this process, from these levels on, in place of writing them.

    To be called on the event loop: that is where `post` is called, whatever thread logs.
    """
    logging.getLogger().handlers[:] = [_Forwarder(post)]
    for name, level in wanted.items():
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(True)


def say(said: Said) -> None:
    """Log what another process said."""
    logging.getLogger(said.logger).log(said.level, "%s", said.text, extra=said.fields)


class _Forwarder(logging.Handler):
    def __init__(self, post: Callable[[Said], None]) -> None:
        super().__init__()
        self._post = post
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.partition(".")[0] in SDK_LOGGERS:
            # What an error of theirs quotes is not redacted.
            record.exc_info = record.exc_text = None
        found = {name: getattr(record, name, None) for name in _FIELDS}
        fields: dict[str, str | int | float] = {
            name: value for name, value in found.items() if isinstance(value, str | int)
        }
        said = Said(record.name, record.levelno, self.format(record), fields)
        if threading.get_ident() == self._thread:
            self._post(said)
            return
        with suppress(RuntimeError):  # the loop is closed, and there is nobody to tell
            self._loop.call_soon_threadsafe(self._post, said)
