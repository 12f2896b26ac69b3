"""A process that has imported the command already, and forks for each run of it.

A run is a process of its own, with its own environment, directory and streams, and takes the way
of `python -m harvester` from `main` to its end. Only the imports, two thirds of a short run, are
made once for all runs. Tests of the first moments of a process start a real one.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import io
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

_LONGEST_ORDER = 1 << 18
_READY = b"ready\n"


async def run(
    arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], umask: int = -1
) -> tuple[int, bytes, bytes]:
    """Run the command to its end; return its exit code, stdout and stderr."""
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()
    order = {"arguments": list(arguments), "cwd": str(cwd), "env": dict(env), "umask": umask}
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(_server())
        socket.send_fds(connection, [json.dumps(order).encode()], [out_end, err_end])
        os.close(out_end)
        os.close(err_end)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        pid = int(await loop.sock_recv(connection, 64))
        try:
            async with asyncio.TaskGroup() as group:
                reading = [group.create_task(asyncio.to_thread(_read, end)) for end in (out, err)]
                code = int(await loop.sock_recv(connection, 64))
        except BaseException:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            raise
        return code, reading[0].result(), reading[1].result()
    finally:
        connection.close()


def _read(end: int) -> bytes:
    with open(end, "rb") as stream:  # a descriptor
        return stream.read()


@cache
def _server() -> str:
    """Start the server of this process, which ends with it; return where it listens."""
    folder = tempfile.TemporaryDirectory(prefix="forkserver-")
    atexit.register(folder.cleanup)
    path = f"{folder.name}/socket"
    process = subprocess.Popen(
        [sys.executable, __file__, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "AWS_EC2_METADATA_DISABLED": "true"},
        cwd=folder.name,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    atexit.register(process.wait)
    atexit.register(process.stdin.close)
    assert process.stdout.readline() == _READY
    process.stdout.close()
    return path


class Server:
    """Forks for each connection, and tells it the process and later its exit code."""

    def __init__(self, path: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(64)
        self._woken, self._wake = socket.socketpair()
        self._running: dict[int, socket.socket] = {}

    def serve(self) -> None:
        """Serve until stdin ends."""
        self._wake.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake.fileno())
        watched = selectors.DefaultSelector()
        for end in (self._listener, self._woken, sys.stdin.buffer):
            watched.register(end, selectors.EVENT_READ)
        os.write(1, _READY)
        while True:
            for key, _ in watched.select():
                if key.fileobj is self._listener:
                    self._fork(self._listener.accept()[0])
                elif key.fileobj is self._woken:
                    self._woken.recv(64)
                    self._reap()
                else:
                    return

    def _fork(self, connection: socket.socket) -> None:
        order, ends, _, _ = socket.recv_fds(connection, _LONGEST_ORDER, 2)
        pid = os.fork()
        if pid == 0:
            for other in (connection, self._listener, self._woken, self._wake):
                other.close()
            for other in self._running.values():
                other.close()
            _become(json.loads(order), ends)
        for end in ends:
            os.close(end)
        connection.send(b"%d" % pid)
        self._running[pid] = connection

    def _reap(self) -> None:
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            connection = self._running.pop(pid)
            with suppress(OSError):  # whoever asked has gone
                connection.send(b"%d" % os.waitstatus_to_exitcode(status))
            connection.close()


def _become(order: dict[str, Any], ends: Sequence[int]) -> NoReturn:
    """Run the command in this new process, as if it had been started by itself."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, end in enumerate((os.open(os.devnull, os.O_RDONLY), *ends)):
        os.dup2(end, number)
        os.close(end)
    sys.stdin = io.TextIOWrapper(open(0, "rb"), "utf-8")  # noqa: SIM115
    sys.stdout = io.TextIOWrapper(open(1, "wb", closefd=False), "utf-8")  # noqa: SIM115
    sys.stderr = io.TextIOWrapper(  # unlike stdout, written line by line and never refused
        open(2, "wb", closefd=False),  # noqa: SIM115
        "utf-8",
        "backslashreplace",
        line_buffering=True,
    )
    os.chdir(order["cwd"])
    if order["umask"] >= 0:
        os.umask(order["umask"])
    os.environ.clear()
    os.environ.update(order["env"])
    time.tzset()
    if os.environ.get("PYTHONWARNINGS") == "error":
        warnings.simplefilter("error")
    sys.argv = ["harvester", *order["arguments"]]
    try:
        from harvester.__main__ import main  # noqa: PLC0415

        main()
    finally:
        os._exit(1)  # it ends by itself: this is reached by an error alone


def _serve() -> None:
    from harvester.start import quick_imports  # noqa: PLC0415  # not by those who import `run`

    with quick_imports():
        import harvester.commands  # noqa: PLC0415
        import harvester.terminal.report  # noqa: F401, PLC0415
    gc.freeze()
    Server(sys.argv[1]).serve()


if __name__ == "__main__":
    _serve()
