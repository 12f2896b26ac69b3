"""Reporting a failure that ends the command: on stderr, in the log format, and in the summary."""

from __future__ import annotations

import logging
import sys
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime

from harvester.aws import SDK_LOGGERS
from harvester.errors import (
    HarvesterError,
    OutputClosedError,
    OutputError,
    ServiceError,
    SettingsError,
    StartError,
)
from harvester.hints import hint_for_code
from harvester.invocation import Invocation
from harvester.settings import LogSettings
from harvester.signals import Interrupted
from harvester.summary_file import note_failure
from harvester.terminal.logs import configure_logs
from harvester.text import printable, redact

_USAGE = 2
_INTERNAL = 1
_LONGEST = 1000
_log = logging.getLogger("harvester")
_EVENTS: tuple[tuple[type[HarvesterError], str], ...] = (
    (SettingsError, "settings_error"),
    (StartError, "start_error"),
    (OutputClosedError, "output_closed"),
    (OutputError, "output_error"),
)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the command ends, and its exit code.

    Attributes:
        event: the stable name of the kind of failure.
        message: one line.
        code: the service's error code, or the name of the error's class.
    """

    event: str
    message: str
    exit_code: int
    code: str
    hint: str | None = None
    error: BaseException | None = None


def failure_of(error: BaseException) -> Failure:
    """Return an error that ended the command as a failure."""
    if isinstance(error, Interrupted):
        message = f"{error.number.name}: stopped before anything was read"
        return Failure("interrupted", message, 128 + error.number, "Interrupted")
    if not isinstance(error, HarvesterError):
        message = f"internal error ({type(error).__name__}): please report this"
        return Failure("internal_error", message, _INTERNAL, type(error).__name__, error=error)
    event = next((name for kind, name in _EVENTS if isinstance(error, kind)), "error")
    cause = error if isinstance(error, ServiceError) else error.__cause__
    code = cause.code if isinstance(cause, ServiceError) else type(error).__name__
    return Failure(event, str(error), error.exit_code, code, _hint_of(error))


def usage_failure(message: str, command: str) -> Failure:
    """Return the failure for a command line that cannot be understood."""
    return Failure("usage_error", message, _USAGE, "UsageError", f"see {command} --help")


def report(failure: Failure, invocation: Invocation) -> int:
    """Write a failure to stderr and to the summary file, and return the exit code."""
    if invocation.log_format == "json":
        _log_json(failure, invocation)
    else:
        _print(failure)
    _note_in_summary(failure, invocation)
    return failure.exit_code


def _print(failure: Failure) -> None:
    if sys.stderr is None:
        return
    lines = [f"harvester: {printable(failure.message, _LONGEST)}"]
    if failure.hint and failure.event == "usage_error":
        lines.append(f"  {failure.hint}")
    elif failure.hint:
        lines.append(f"  hint: {printable(failure.hint, _LONGEST)}")
    lines += [f"  {printable(line, _LONGEST)}" for line in _trace(failure).splitlines()]
    sys.stderr.write("\n".join(lines) + "\n")


def _log_json(failure: Failure, invocation: Invocation) -> None:
    configure_logs(LogSettings(format="json"), run_id=invocation.run_id)
    fields = {"event": failure.event, "code": failure.code, "hint": failure.hint}
    traced = {"exit_code": failure.exit_code, "traceback": _trace(failure) or None}
    _log.error("%s", failure.message, extra={**fields, **traced})


def _trace(failure: Failure) -> str:
    """Return the traceback of an internal error, without the words of the SDK's own errors."""
    if failure.event != "internal_error" or failure.error is None:
        return ""
    error = failure.error
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = "".join(traceback.format_tb(error.__traceback__))
    is_sdk = type(error).__module__.partition(".")[0] in SDK_LOGGERS
    return redact(f"{frames}{type(error).__name__}{'' if is_sdk else f': {error}'}")


def _note_in_summary(failure: Failure, invocation: Invocation) -> None:
    """Say in the summary file of a sweep that it failed, unless its run has said so itself."""
    path = invocation.summary
    if path is None or failure.event == "output_closed":
        return
    try:
        note_failure(
            path,
            run_id=invocation.run_id,
            started=invocation.started,
            finished=datetime.now(UTC),
            status="interrupted" if failure.event == "interrupted" else "failed",
            code=failure.code,
            message=printable(failure.message, _LONGEST),
            hint=failure.hint,
        )
    except OutputError as error:
        _log.debug("%s", error, extra={"event": "summary_not_written"})


def _hint_of(error: HarvesterError) -> str | None:
    if isinstance(error.__cause__, ServiceError):
        return hint_for_code(error.__cause__.code, error.__cause__.message) or error.hint
    return error.hint
