"""`harvester` on a platform, or on a file system, that lacks something.

    python -m tests.e2e.unusual NAME[=ERRNO] ARGUMENTS…

The functions of the standard library are replaced before anything of harvester's is imported.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import select
import signal
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_LINUX_ONLY: dict[Any, tuple[str, ...]] = {
    os: (
        *("fdatasync", "memfd_create", "copy_file_range", "sendfile", "splice", "eventfd"),
        *(
            "posix_fadvise",
            "posix_fallocate",
            "pidfd_open",
            "pipe2",
            "getrandom",
            "sync_file_range",
        ),
        *("sched_getaffinity", "sched_setaffinity", "setresuid", "setresgid", "fspath_bytes"),
        *("O_DIRECT", "O_TMPFILE", "O_PATH", "O_NOATIME", "O_RSYNC", "O_LARGEFILE"),
    ),
    select: ("epoll", "poll"),  # poll is missing on macOS where Python finds it broken
    signal: (
        *("sigtimedwait", "sigwaitinfo", "pidfd_send_signal", "SIGRTMIN", "SIGRTMAX", "SIGPWR"),
        *("SIGSTKFLT", "SIGPOLL"),
    ),
    fcntl: ("F_SETPIPE_SZ", "F_GETPIPE_SZ", "F_OFD_SETLK", "F_ADD_SEALS", "F_SETLEASE"),
    resource: ("prlimit", "RLIMIT_OFILE", "RUSAGE_THREAD"),
    socket: ("AF_NETLINK", "SOCK_CLOEXEC", "SOCK_NONBLOCK", "TCP_KEEPIDLE", "TCP_USER_TIMEOUT"),
}
_FULL_SYNC = 51
_MOST_FILES = 2048
_NOBODY = 65534


def _macos() -> None:
    for module, names in _LINUX_ONLY.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    control, limit, sync = fcntl.fcntl, resource.setrlimit, os.fsync

    def with_full_sync(file: Any, command: int, argument: Any = 0) -> Any:
        return sync(file) if command == _FULL_SYNC else control(file, command, argument)

    def setrlimit(which: int, limits: tuple[int, int]) -> None:
        if which == resource.RLIMIT_NOFILE and limits[0] > _MOST_FILES:
            raise ValueError("current limit exceeds maximum limit")
        limit(which, limits)

    fcntl.F_FULLFSYNC = _FULL_SYNC  # type: ignore[attr-defined]  # as on macOS
    fcntl.fcntl = with_full_sync
    resource.setrlimit = setrlimit


def _windows() -> None:
    sys.platform = "win32"
    for name in ("fcntl", "resource", "termios", "pwd", "grp"):
        sys.modules[name] = None  # type: ignore[assignment]  # so that its import fails


def _no_sync(number: int, *, folders_only: bool) -> None:
    for name in ("fsync", "fdatasync"):
        real = getattr(os, name)

        def sync(file: Any, real: Callable[[Any], None] = real) -> None:
            if not folders_only or stat.S_ISDIR(os.fstat(file).st_mode):
                raise _error(number)
            real(file)

        setattr(os, name, sync)


def _no_locks(number: int) -> None:
    def flock(*_: object) -> None:
        raise _error(number)

    fcntl.flock = flock


def _locks_of_nobody() -> None:
    fcntl.flock = lambda *_: None


class _Found:
    """What `stat` says, with some of it replaced."""

    def __init__(self, real: os.stat_result, **changes: int) -> None:
        self._real = real
        self.__dict__.update(changes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _found_as(change: Callable[[os.stat_result], dict[str, int]]) -> None:
    for name in ("stat", "lstat", "fstat"):
        real = getattr(os, name)

        def look(*given: Any, real: Callable[..., os.stat_result] = real, **named: Any) -> Any:
            found = real(*given, **named)
            return _Found(found, **change(found))

        setattr(os, name, look)


def _one_owner() -> None:
    _found_as(lambda _: {"st_uid": _NOBODY, "st_gid": _NOBODY})


def _one_mode(mode: int, number: int | None) -> None:
    def chmod(*_: object, **__: object) -> None:
        if number is not None:
            raise _error(number)

    os.chmod = os.fchmod = chmod
    _found_as(lambda found: {"st_mode": stat.S_IFMT(found.st_mode) | mode})


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def main() -> None:
    """Run the command line where something is missing."""
    name, _, code = sys.argv[1].partition("=")
    number: int = getattr(errno, code, errno.EPERM)
    without: dict[str, Callable[[], None]] = {
        "macos": _macos,
        "windows": _windows,
        "no folder sync": lambda: _no_sync(number, folders_only=True),
        "no sync": lambda: _no_sync(number, folders_only=False),
        "no locks": lambda: _no_locks(number),
        "locks of nobody": _locks_of_nobody,
        "one owner": _one_owner,
        "mode 777": lambda: _one_mode(0o777, number if code else None),
        "mode 755": lambda: _one_mode(0o755, number if code else None),
    }
    without[name]()
    sys.argv[:2] = [sys.argv[0]]
    from harvester.__main__ import main as run  # noqa: PLC0415  # after the replacement

    run()


PROGRAM = (sys.executable, "-m", "tests.e2e.unusual")
ENVIRONMENT = {"PYTHONPATH": f"{Path(__file__).parents[2]}"}

if __name__ == "__main__":
    main()
