"""The folder beside an output where its work stands until it is finished; one run at a time."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from harvester.errors import OutputBusyError, OutputError

_PRIVATE_FOLDER = 0o700
_PRIVATE_FILE = 0o600
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_TRIES = 1000
_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_log = logging.getLogger("harvester")


class Workspace:
    """A private folder, locked by the run that uses it.

    It is on the same file system as the output, so that a finished file can be moved to its
    name at once. A lock that a dead run left behind is not in the way: the kernel freed it.
    It is this user's and nobody else may write there: so what an unfinished run left in it can
    be trusted, and leads nowhere else.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: int | None = None
        self._doubtful = False  # whether others could write there

    def open(self) -> None:
        """Make the folder, and lock it. What an unfinished run left stays in it.

        Raises:
            OutputBusyError: another run holds it.
            OutputError: it cannot be made or used.
        """
        try:
            changed = make_private(self.folder.parent)
            # The run before us may remove the folder between our open and our lock.
            if not any(self._try_lock() for _ in range(_TRIES)):
                raise OutputError(f"{self.folder} cannot be made and locked")
            for folder in (*changed, self.folder.parent):
                sync_folder(folder)
            if self._doubtful:
                _log.warning("what others may have changed in %s is thrown away", self.folder)
                self._clear()
        except OSError as error:
            self.close()
            raise cannot_write(self.folder, error) from error

    def create(self, name: str, *, keep: bool = False) -> int:
        """Return a descriptor of a private file in the folder, for reading and writing.

        The file is new and empty, but for one that is there and to `keep`.
        """
        flags = _OPEN | (0 if keep else os.O_TRUNC)
        return os.open(self.folder / name, flags, _PRIVATE_FILE)

    def open_file(self, name: str) -> int:
        """Return a descriptor of a file in the folder, for reading."""
        return os.open(self.folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def size(self, name: str) -> int:
        """Return the size in bytes of a file in the folder, 0 where it is not there."""
        try:
            found = (self.folder / name).lstat()
        except FileNotFoundError:
            return 0
        return found.st_size if stat.S_ISREG(found.st_mode) else 0

    def remove(self) -> None:
        """Remove the folder and all in it; keep the lock until then.

        What cannot be removed stays, and is warned of.
        """
        if self._lock is None:
            return
        try:
            self._clear()
            # Last, and not the folder with all in it: the next run may be in it already.
            (self.folder / "lock").unlink()
            self.folder.rmdir()
        except OSError as error:
            _log.warning("%s cannot be removed: %s", self.folder, error.strerror or error)

    def _clear(self) -> None:
        for leftover in self.folder.iterdir():
            if leftover.name != "lock":
                _remove(leftover)

    def close(self) -> None:
        """Let go of the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take(self) -> None:
        """Make sure that the folder is this user's, and that no other can write there."""
        try:
            folder = os.open(self.folder, os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.EACCES):
                raise self._in_the_way() from None
            raise
        try:
            found = os.fstat(folder)
            if found.st_uid != os.geteuid():
                raise self._in_the_way()
            self._doubtful |= bool(found.st_mode & _WRITABLE_BY_OTHERS)
            if stat.S_IMODE(found.st_mode) != _PRIVATE_FOLDER:
                os.fchmod(folder, _PRIVATE_FOLDER)
        finally:
            os.close(folder)

    def _in_the_way(self) -> OutputError:
        return OutputError(f"{self.folder} is in the way: not a folder of this user")

    def _try_lock(self) -> bool:
        try:
            make_private(self.folder)
            self._take()
            lock = os.open(self.folder / "lock", _OPEN, _PRIVATE_FILE)
        except FileNotFoundError:  # removed under our feet by the run before us
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            current = (self.folder / "lock").stat()
        except BlockingIOError:
            os.close(lock)
            raise OutputBusyError(
                f"another run is writing to this output (it holds {self.folder})",
                hint="wait for it to end, or give another --output",
            ) from None
        except FileNotFoundError:
            os.close(lock)
            return False
        if current.st_ino != os.fstat(lock).st_ino:
            os.close(lock)
            return False
        self._lock = lock
        return True


def _remove(leftover: Path) -> None:
    if leftover.is_dir() and not leftover.is_symlink():
        shutil.rmtree(leftover)
    else:
        leftover.unlink()


def make_private(folder: Path) -> list[Path]:
    """Make a folder and those above it, readable by this user only; one that is there stays.

    Returns the folders that hold a new one: its name is durable once they are synced.
    """
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(_PRIVATE_FOLDER, exist_ok=True)
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
            os.fsync(descriptor)
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


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cannot_write(path: Path, error: OSError) -> OutputError:
    """Return the project's error for one of the file system's."""
    return OutputError(
        f"{path} cannot be written: {error.strerror or error}",
        hint="check the folder, its permissions and the free space, or give another --output",
    )
