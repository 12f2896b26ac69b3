"""Whether a work folder belongs to this user alone, also on mounts without owners or modes."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_PROBE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_MODES = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}


@dataclass(frozen=True, slots=True)
class Access:
    """Who can use a folder of this user.

    Attributes:
        was_open: others could write there until its mode was changed.
        fixed: the mount has no owners or modes of its own, so that it cannot be made private.
    """

    was_open: bool
    fixed: bool


def is_ours(folder: int) -> bool:
    """Return whether an open folder belongs to this user.

    Some mounts give every file the same owner (squashed root, `uid=`). There the folder is
    this user's if a file that this user creates in it gets that owner.
    """
    owner = os.fstat(folder).st_uid
    return owner == os.geteuid() or owner == _owner_of_new_file(folder)


def take_private(folder: int) -> Access:
    """Make an open folder of this user private, as far as its file system can."""
    before = stat.S_IMODE(os.fstat(folder).st_mode)
    if before != PRIVATE_FOLDER:
        try:
            os.fchmod(folder, PRIVATE_FOLDER)
        except OSError as error:
            if error.errno not in _NO_MODES:
                raise
    found = os.fstat(folder)
    after = stat.S_IMODE(found.st_mode)
    fixed = after & 0o777 != PRIVATE_FOLDER or found.st_uid != os.geteuid()
    open_before = bool(before & _WRITABLE_BY_OTHERS)
    return Access(was_open=open_before and not after & _WRITABLE_BY_OTHERS, fixed=fixed)


def _owner_of_new_file(folder: int) -> int | None:
    name = f".probe-{secrets.token_hex(8)}"
    try:
        file = os.open(name, _PROBE, PRIVATE_FILE, dir_fd=folder)
    except OSError:
        return None
    try:
        return os.fstat(file).st_uid
    finally:
        os.close(file)
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)
