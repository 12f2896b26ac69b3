"""The summary file: it never tells of an earlier run than the last one."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec

from harvester.errors import OutputError
from harvester.output.parents import check_parent
from harvester.output.workspace import (
    absolute,
    cannot_write,
    check_replaceable,
    make_private,
    write_private,
)
from harvester.summary import Problem, Summary, SweepStatus, TargetCounts
from harvester.timestamps import iso


def check_summary_path(path: str, folder: Path | None = None) -> None:
    """Raise OutputError where a summary could not be written later.

    Args:
        path: the summary's path.
        folder: the output directory of the run, below which missing directories are made.
    """
    target = absolute(path)
    check_parent(target, folder)
    try:
        make_private(target.parent)
    except OSError as error:
        raise cannot_write(target, error) from error
    if target.is_dir():
        raise OutputError(f"{target} is a folder: the summary needs a file name")
    check_replaceable(target)
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{target} cannot be written: the folder is not writable")


def write_summary(summary: Summary, path: str) -> None:
    """Write a summary under its name, whole, readable by this user only.

    Where there is no room beside the summary of before, that one is removed first: what it says
    is no longer true in any case.

    Raises:
        OutputError: it cannot be written.
    """
    target = absolute(path)
    try:
        try:
            write_private(target, summary.as_json())
        except OSError:
            withdraw_summary(path)
            write_private(target, summary.as_json())
    except OSError as error:
        raise cannot_write(target, error) from error


def withdraw_summary(path: str) -> None:
    """Remove a summary that is no longer true, or empty the file where it cannot be removed."""
    target = absolute(path)
    with suppress(OSError):
        if not stat.S_ISREG(target.lstat().st_mode):
            return
        try:
            target.unlink()
        except OSError:
            os.truncate(target, 0)


def note_failure(
    path: str,
    *,
    run_id: str,
    started: datetime,
    finished: datetime,
    status: SweepStatus,
    code: str,
    message: str,
    hint: str | None,
) -> None:
    """Write the summary of a run that ended before it could begin; one of its own stays.

    Raises:
        OutputError: it cannot be written.
    """
    if _is_ended(absolute(path), run_id):
        return
    try:
        check_summary_path(path)
    except OutputError:
        withdraw_summary(path)
        raise
    problem = Problem(
        account=None,
        region=None,
        status="failed",
        stage="sweep",
        code=code,
        message=message,
        hint=hint,
    )
    summary = Summary(
        run_id=run_id,
        started_at=iso(started),
        finished_at=iso(finished),
        seconds=round((finished - started).total_seconds(), 3),
        status=status,
        findings=0,
        pages=0,
        requests=0,
        throttled=0,
        retries=0,
        targets=TargetCounts(),
        problems=(problem,),
    )
    write_summary(summary, path)


def _is_ended(path: Path, run_id: str) -> bool:
    """Return whether a file is the summary of a run that ended."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):  # to open a pipe would block
            return False
        found = msgspec.json.decode(path.read_bytes())
    except (OSError, ValueError):
        return False
    own = isinstance(found, dict) and found.get("run_id") == run_id
    return own and found.get("status") != "running"
