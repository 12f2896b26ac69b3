"""System calls that differ between Linux, macOS and unusual file systems."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from harvester.unsupported import WINDOWS

if sys.platform == "win32":
    raise ImportError(WINDOWS)

import fcntl
import resource
import select

_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY}
_UNSUPPORTED_FOLDER = {*_UNSUPPORTED, errno.EBADF, errno.EISDIR}

_OPEN_FILES = (8192, 4096, 2048, 1024, 512)


def sync_data(file: int) -> bool:
    """Make a file's content durable; return whether its file system can do that."""
    # macOS has no fdatasync.
    return _sync(file, data_only=hasattr(os, "fdatasync"))


def sync_file(file: int) -> bool:
    """Make a file's content and attributes durable; return whether its file system can do that."""
    return _sync(file, data_only=False)


def sync_folder(folder: Path) -> bool:
    """Make the names in a folder durable; return whether its file system can do that."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _sync(descriptor, data_only=False, unsupported=_UNSUPPORTED_FOLDER)
    finally:
        os.close(descriptor)


def _sync(file: int, *, data_only: bool, unsupported: set[int] = _UNSUPPORTED) -> bool:
    try:
        if not _full_sync(file):
            (os.fdatasync if data_only else os.fsync)(file)
    except OSError as error:
        if error.errno not in unsupported:
            raise
        return False
    return True


def _full_sync(file: int) -> bool:
    """Flush the drive's own cache too, which fsync leaves alone on macOS; False elsewhere."""
    command = getattr(fcntl, "F_FULLFSYNC", None)
    if command is None:
        return False
    try:
        fcntl.fcntl(file, command)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return False  # a network file system: fsync is all there is
    return True


def can_write_now(descriptor: int) -> bool:
    """Return whether a write to a pipe, socket or terminal would not block."""
    if hasattr(select, "poll"):  # removed by Python where the system's own is broken (macOS)
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        return bool(poll.poll(0))
    return bool(select.select([], [descriptor], [], 0)[1])


def open_file_limits() -> tuple[int | None, int | None]:
    """Return the soft and the hard limit of open files, None for no limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _limit(soft), _limit(hard)


def raise_open_file_limit() -> None:
    """Raise the soft limit of open files to 8,192, or as far as the system allows.

    macOS refuses values above `kern.maxfilesperproc`, even where the hard limit is unlimited.
    """
    soft, hard = open_file_limits()
    if soft is None:
        return
    for wanted in sorted({min(one, hard or one) for one in _OPEN_FILES}, reverse=True):
        if wanted <= soft:
            return
        try:
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (wanted, resource.RLIM_INFINITY if hard is None else hard)
            )
        except (OSError, ValueError):
            continue
        return


def _limit(value: int) -> int | None:
    return None if value == resource.RLIM_INFINITY else value
