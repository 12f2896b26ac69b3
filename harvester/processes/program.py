"""Starting a process that reads."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys

import anyio
from anyio.abc import Process

from harvester.errors import StartError
from harvester.processes.link import Link
from harvester.processes.ring import Ring, shared_memory

# The same modules as here, wherever they were found, and nothing from the working folder.
_PROGRAM = """
import sys
sys.path[:] = sys.argv[1:]
from harvester.start import quick_imports
with quick_imports():
    from harvester.processes.worker import main
main()
"""
# Keys are lent, so that these are not needed there.
_SECRET_VARIABLES = frozenset(
    {
        "AWS_ACCESS_KEY_ID",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SECURITY_TOKEN",
        "AWS_SESSION_TOKEN",
    }
)


_log = logging.getLogger("harvester")


async def start_process() -> tuple[Process, Link]:
    """Start a process, and return it with this end of its link.

    Raises:
        StartError: it cannot be started.
    """
    if not sys.executable:
        raise StartError("no process can be started: it is not known where Python is")
    variables = {name: text for name, text in os.environ.items() if name not in _SECRET_VARIABLES}
    try:
        link, theirs = _connection()
    except OSError as error:
        raise _not_started(error) from error
    try:
        with theirs:
            process = await anyio.open_process(
                [sys.executable, "-P", "-c", _PROGRAM, *sys.path],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=None,
                env=variables,
                # What a terminal sends to all in the foreground is for the first process.
                start_new_session=True,
            )
    except BaseException as error:
        link.close()
        if isinstance(error, OSError):
            raise _not_started(error) from error
        raise
    return process, link


def link_of(end: socket.socket) -> Link:
    """Return the link of a process that was started, over the socket that it was given."""
    _, memory, *_ = socket.recv_fds(end, 1, 1)
    return Link(end, outgoing=_ring_of(memory[0]) if memory else None)


def _connection() -> tuple[Link, socket.socket]:
    """Return a link, and its other end: `link_of` makes one of that."""
    ours, theirs = socket.socketpair()
    try:
        ring = _ring(ours)
    except BaseException:
        ours.close()
        theirs.close()
        raise
    return Link(ours, incoming=ring), theirs


def _ring(end: socket.socket) -> Ring | None:
    """Return one end of a ring, and pass the other on; None where a limit is in the way.

    Such as that of a file's size, which the kernel takes shared memory for. Pages then go
    through the socket.
    """
    try:
        memory = shared_memory()
    except OSError as error:
        _log.debug("without shared memory: %s", error.strerror, extra={"event": "no_shared_memory"})
        socket.send_fds(end, [b"\0"], [])
        return None
    passed = os.dup(memory)
    try:
        ring = _ring_of(memory)
        socket.send_fds(end, [b"\0"], [passed] if ring is not None else [])
    finally:
        os.close(passed)
    return ring


def _ring_of(memory: int) -> Ring | None:
    """Return one end of a ring in memory whose descriptor is closed; None if that cannot be had."""
    try:
        return Ring(memory)
    except OSError as error:
        _log.debug("without shared memory: %s", error.strerror, extra={"event": "no_shared_memory"})
        return None
    finally:
        os.close(memory)


def _not_started(error: OSError) -> StartError:
    return StartError(f"no process can be started: {error.strerror}")
