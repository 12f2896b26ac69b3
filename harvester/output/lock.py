"""The lock of a work folder, and the token that shows where a lock excludes nobody."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from harvester.errors import OutputBusyError, OutputError
from harvester.output.trust import PRIVATE_FILE

NAME = "lock"
OWNER = "owner"

_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LOCKS = {
    errno.ENOLCK,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EINVAL,
    errno.EBADF,
}
_GONE = {errno.ENOENT, errno.ESTALE, errno.ENOTDIR}


def try_lock(folder: Path) -> int | None:
    """Return a descriptor that holds the folder's lock, None where the folder was removed.

    Raises:
        OutputBusyError: another run holds it.
        OutputError: the file system has no locks.
        OSError: the lock's file cannot be opened.
    """
    try:
        file = os.open(folder / NAME, _OPEN, PRIVATE_FILE)
    except FileNotFoundError:  # removed under our feet by the run before us
        return None
    try:
        if _lock(file, folder):
            held, file = file, -1
            return held
    finally:
        if file != -1:
            os.close(file)
    return None


def _lock(file: int, folder: Path) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputBusyError(
            f"another run is writing to this output (it holds {folder})",
            hint="wait for it to end, or give another --output",
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise OutputError(
            f"{folder} cannot be locked: its file system does not support file locks "
            f"(flock: {error.strerror})",
            hint="give an --output on a file system with locks, or enable them on this mount",
        ) from error
    try:
        return os.fstat(file).st_ino == (folder / NAME).stat().st_ino
    except FileNotFoundError:
        return False


def owner_of(folder: Path) -> bytes:
    """Return the token of the run that took the folder last, empty where there is none."""
    try:
        file = os.open(folder / OWNER, _READ)
    except OSError as error:
        if error.errno in _GONE:
            return b""
        raise
    with os.fdopen(file, "rb") as stream:
        return stream.read(1024)


def taken_over(folder: Path) -> OutputBusyError:
    """Return the error of a run whose folder another run has taken in spite of the lock."""
    return OutputBusyError(
        f"another run has taken over this output: the lock in {folder} does not exclude other "
        "runs on this file system",
        hint="start one sweep of an output at a time, or give an --output on a file system whose "
        "locks work on all hosts",
    )
