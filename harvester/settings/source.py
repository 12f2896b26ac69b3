"""Read the config file, and decide whether one that nobody named may be trusted.

The config file decides where credentials are sent. A file named by the user is trusted. A file
found in the working directory is trusted only if no other user can have written or replaced it.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harvester.errors import SettingsError
from harvester.settings.values import escaped

DEFAULT_FILE = "harvester.toml"
"""The config file that is read, where there is one, when none is named."""

MAX_FILE_BYTES = 1024 * 1024
"""A larger config file is refused: it is no config file."""

_ROOT = 0
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
# A FIFO in place of the file must not block.
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A config file that was read: its name as it was given, and its content.

    The content may hold the external id, so no repr shows it.
    """

    name: str
    text: str = field(repr=False)


def read_config(path: str | os.PathLike[str] | None) -> ConfigFile | None:
    """Return the config file, None if none was named and `./harvester.toml` does not exist.

    Raises SettingsError if the file cannot be read, or was found and is not to be trusted.
    """
    name = escaped(DEFAULT_FILE if path is None else os.fspath(path))
    try:
        if path is not None:
            with Path(path).open("rb") as stream:
                data = stream.read(MAX_FILE_BYTES + 1)
        else:
            data = _read_found()
    except FileNotFoundError:
        if path is None and not os.path.lexists(DEFAULT_FILE):
            return None
        raise SettingsError(f"{name}: there is no such file; a config file is TOML") from None
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingsError(f"{name}: cannot be read: {escaped(reason)}") from None
    if len(data) > MAX_FILE_BYTES:
        raise SettingsError(f"{name}: larger than 1 MiB, which no config file is")
    return ConfigFile(name, _decoded(name, data))


def _decoded(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{name}: not UTF-8 text (at line {line}); TOML must be") from None


def parse_config(file: ConfigFile) -> dict[str, Any]:
    """Return the tables and keys of a config file.

    Raises SettingsError with the line of what is no TOML.
    """
    try:
        return tomllib.loads(file.text)
    except RecursionError:
        raise SettingsError(f"{file.name}: not valid TOML: nested too deeply") from None
    except ValueError as error:  # beside TOMLDecodeError, an integer of thousands of digits
        reason = re.sub(r"\s+", " ", escaped(str(error)))[:200]
        raise SettingsError(f"{file.name}: not valid TOML: {reason}") from None


def _read_found() -> bytes:
    """Return the content of `./harvester.toml` once it is known to be trustworthy.

    A symbolic link is followed if the link, its directory, the target and the target's directory
    all pass. The opened file itself is examined, so that it cannot be exchanged in between.
    """
    _check(Path(DEFAULT_FILE).lstat(), "the file")
    _check(Path().stat(), f"its directory {Path.cwd()}")
    real = Path(os.path.realpath(DEFAULT_FILE))
    with _opened(real.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) as folder:
        _check(os.fstat(folder), f"its directory {real.parent}")
        with _opened(real.name, _OPEN, dir_fd=folder) as file:
            found = os.fstat(file)
            _check(found, "the file")
            if not stat.S_ISREG(found.st_mode):
                raise _distrust("it is not a regular file")
            with os.fdopen(file, "rb", closefd=False) as stream:
                return stream.read(MAX_FILE_BYTES + 1)


@contextmanager
def _opened(path: str | Path, flags: int, *, dir_fd: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, flags, dir_fd=dir_fd)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _check(found: os.stat_result, subject: str) -> None:
    """Raise SettingsError where others than this user and root can have written something."""
    if found.st_uid not in (os.geteuid(), _ROOT):
        raise _distrust(f"{subject} belongs to another user (uid {found.st_uid})")
    # Everybody may write to a link, as its mode says, and nobody can.
    if found.st_mode & _WRITABLE_BY_OTHERS and not stat.S_ISLNK(found.st_mode):
        raise _distrust(f"{subject} is writable by other users")


def _distrust(reason: str) -> SettingsError:
    return SettingsError(
        f"{DEFAULT_FILE}: not used, because {escaped(reason)}; it decides where credentials are"
        f" sent. Name it with -c {DEFAULT_FILE} if you trust it, or make it and its directory"
        " yours alone (chown, chmod go-w)"
    )
