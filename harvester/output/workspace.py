"""The folder beside an output where its work stands until it is finished; one run at a time."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from harvester.errors import OutputError
from harvester.output.lock import NAME as LOCK
from harvester.output.lock import OWNER, owner_of, taken_over, try_lock
from harvester.output.trust import PRIVATE_FILE, PRIVATE_FOLDER, is_ours, take_private
from harvester.portability import sync_file, sync_folder

__all__ = [
    "Workspace",
    "absolute",
    "cannot_write",
    "check_replaceable",
    "make_private",
    "sync_folder",
    "write_private",
]

_TRIES = 1000
_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_CHECK = "check the folder, its permissions and the free space, or give another --output"
_ROOM = (
    "free some space, or give another --output: until a sweep ends it needs about twice the size "
    "of its output, beside the output of the sweep before"
)
_log = logging.getLogger("harvester")


class Workspace:
    """A private folder, locked by the run that uses it.

    It is on the same file system as the output, so that a finished file can be moved to its
    name at once. A lock that a dead run left behind is not in the way: the kernel freed it.
    Where the lock excludes nobody, as on some network file systems, a token in the folder says
    which run took it last; the run before finds that out and stops.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: int | None = None
        self._token = b""
        self._was_open = False  # others could write there
        self._fixed = False  # the mount has no owners or modes of its own
        self._durable = True  # its file system can sync

    def open(self) -> None:
        """Make the folder, and lock it. What an unfinished run left stays in it.

        Raises:
            OutputBusyError: another run holds it.
            OutputError: it cannot be made, locked or used.
        """
        try:
            changed = make_private(self.folder.parent)
            self._lock_it()
            if self._was_open:
                self._clear_untrusted()
            for folder in (*changed, self.folder.parent):
                self._durable &= sync_folder(folder)
        except OSError as error:
            self.close()
            raise cannot_write(self.folder, error) from error
        except BaseException:
            self.close()
            raise

    def claim(self) -> None:
        """Make this run the owner of the folder, and warn where its file system lacks something.

        Raises OSError.
        """
        self._token = secrets.token_hex(16).encode("ascii")
        new = self.temporary(OWNER)
        file = self.create(new)
        try:
            os.write(file, self._token)
            self._durable &= sync_file(file)
        finally:
            os.close(file)
        (self.folder / new).replace(self.folder / OWNER)
        self._durable &= sync_folder(self.folder)
        self._warn()

    def check_owner(self) -> None:
        """Raise OutputBusyError where another run has claimed the folder in spite of the lock."""
        if not self.is_owner():
            raise taken_over(self.folder)

    def is_owner(self) -> bool:
        """Return whether no other run has claimed the folder since this one did."""
        return not self._token or owner_of(self.folder) == self._token

    def failure(self, error: OSError) -> OutputError:
        """Return the error of a call that failed in the folder."""
        with suppress(OSError):
            if not self.is_owner():
                return taken_over(self.folder)
        return cannot_write(self.folder, error)

    def temporary(self, name: str) -> str:
        """Return the name of a file that no other run uses, until it gets its real name."""
        return f"{name}.{self._token.decode('ascii')[:12] or 'new'}"

    def create(self, name: str, *, keep: bool = False) -> int:
        """Return a descriptor of a private file in the folder, for reading and writing.

        The file is new and empty, but for one that is there and to `keep`.
        """
        flags = _OPEN | (0 if keep else os.O_TRUNC)
        return os.open(self.folder / name, flags, PRIVATE_FILE)

    def create_numbered(self, name: str) -> tuple[str, int]:
        """Return the name and a descriptor of a new file: `name`, or `name-2` and so on."""
        number = 1
        while True:
            numbered = name if number == 1 else f"{name}-{number}"
            try:
                return numbered, os.open(self.folder / numbered, _OPEN | os.O_EXCL, PRIVATE_FILE)
            except FileExistsError:
                number += 1

    def open_file(self, name: str) -> int:
        """Return a descriptor of a file in the folder, for reading."""
        return os.open(self.folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def keep_only(self, names: Collection[str]) -> None:
        """Remove everything in the folder but these files, the lock and the owner's token."""
        for leftover in self.folder.iterdir():
            if leftover.name not in (LOCK, OWNER, *names):
                _remove(leftover)

    def remove(self, *, keep: Collection[str] = ()) -> None:
        """Remove the folder and all in it, but for files to `keep`; keep the lock until then.

        What cannot be removed stays, and is warned of. Another run's folder is left alone.
        """
        if self._lock is None:
            return
        try:
            if not self.is_owner():
                return
            self.keep_only(keep)
            if keep:
                return
            # Last, and not the folder with all in it: the next run may be in it already.
            (self.folder / OWNER).unlink(missing_ok=True)
            (self.folder / LOCK).unlink()
            self.folder.rmdir()
        except OSError as error:
            _log.warning(
                "%s cannot be removed: %s",
                self.folder,
                error.strerror or error,
                extra={"event": "work_not_removed"},
            )

    def close(self) -> None:
        """Let go of the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _lock_it(self) -> None:
        # The run before us may remove the folder between our open and our lock.
        if not any(self._try_lock() for _ in range(_TRIES)):
            raise OutputError(f"{self.folder} cannot be made and locked")

    def _try_lock(self) -> bool:
        try:
            make_private(self.folder)
            self._make_ours()
        except FileNotFoundError:  # removed under our feet by the run before us
            return False
        self._lock = try_lock(self.folder)
        return self._lock is not None

    def _make_ours(self) -> None:
        """Make sure that the folder is this user's, and private where modes exist."""
        try:
            folder = os.open(self.folder, os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.EACCES):
                raise self._not_ours() from None
            raise
        try:
            if not is_ours(folder):
                raise self._not_ours()
            access = take_private(folder)
        finally:
            os.close(folder)
        self._was_open |= access.was_open
        self._fixed = access.fixed

    def _not_ours(self) -> OutputError:
        return OutputError(
            f"{self.folder} exists but is not a folder of this user",
            hint="remove it, or give another --output",
        )

    def _clear_untrusted(self) -> None:
        leftovers = [one for one in self.folder.iterdir() if one.name != LOCK]
        if leftovers:
            _log.warning(
                "%s was writable by other users: the unfinished sweep in it is discarded",
                self.folder,
                extra={"event": "unfinished_discarded"},
            )
        for leftover in leftovers:
            _remove(leftover)

    def _warn(self) -> None:
        """Say once what the file system lacks, and what that means."""
        lacks = []
        if not self._durable:
            lacks.append("cannot make files durable (fsync): a power cut may cost them")
        if self._fixed:
            lacks.append("keeps no owners or modes: other users of it may read or change the files")
        if lacks:
            _log.warning(
                "%s: the file system %s",
                self.folder,
                "; it ".join(lacks),
                extra={"event": "file_system_lacks"},
            )


def _remove(leftover: Path) -> None:
    if leftover.is_dir() and not leftover.is_symlink():
        shutil.rmtree(leftover)
    else:
        leftover.unlink(missing_ok=True)  # another run that is not kept out may remove it as well


def make_private(folder: Path) -> list[Path]:
    """Make a folder and those above it, readable by this user only; one that is there stays.

    Returns the folders that hold a new one: its name is durable once they are synced.
    """
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(PRIVATE_FOLDER, exist_ok=True)
    return [each.parent for each in missing]


def write_private(path: Path, data: bytes) -> None:
    """Write a file, readable by this user only, that appears under its name at once and whole.

    Raises OSError; nothing is left beside the file then.
    """
    make_private(path.parent)
    # A name that nobody can have foreseen: two runs may write the same file.
    descriptor, part = tempfile.mkstemp(".part", f".{path.name}.", path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            sync_file(descriptor)
        Path(part).replace(path)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)  # noqa: PTH108
        raise
    sync_folder(path.parent)


def check_replaceable(path: Path) -> None:
    """Raise OutputError where a file could not take a name without doing harm.

    A finished file takes the place of what has its name. That must be an ordinary file: a
    link would be cut from what it leads to, and a pipe or a device (`/dev/stdout` is a link
    to one) taken from its readers.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise cannot_write(path, error) from error
    if stat.S_ISLNK(mode):
        raise OutputError(
            f"{path} is a symbolic link, which would be replaced and not followed",
            hint="give the path that it leads to, or remove it",
        )
    if not stat.S_ISREG(mode):
        raise OutputError(f"{path} is no ordinary file, and would be replaced by one")


def absolute(path: str) -> Path:
    """Return a path that no longer depends on the working folder.

    Raises:
        OutputError: there is no working folder any more.
    """
    try:
        return Path(path).absolute()
    except OSError as error:
        raise cannot_write(Path(path), error) from error


def cannot_write(path: Path, error: OSError) -> OutputError:
    """Return the project's error for one of the file system's."""
    return OutputError(
        f"{path} cannot be written: {error.strerror or error}",
        hint=_ROOM if error.errno in (errno.ENOSPC, errno.EDQUOT) else _CHECK,
    )
