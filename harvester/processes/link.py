"""Messages over one end of a socket pair: whole, in order, no faster than they are taken."""

from __future__ import annotations

import socket
from collections import deque
from itertools import islice
from typing import Any

import anyio
import anyio.lowlevel

from harvester.processes.frames import Frames, frame
from harvester.processes.messages import Message

_BUFFER = 1 << 20
_WAITING = 1 << 22
"""How many bytes may wait to be sent: enough to read on while the first process makes a second's
findings durable."""

_PARTS_AT_ONCE = 64


class Link:
    """One end; `carry` has to run for what is posted to be sent.

    When the other process is gone, what is posted is dropped, and the messages end.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._end = end
        self._frames = Frames()
        self._parts: deque[bytes | memoryview] = deque()
        self._waiting = 0  # bytes in parts
        self._posted = anyio.Event()
        self._sent = anyio.Event()
        self._turn = anyio.Lock(fast_acquire=True)
        self._gone = False

    @property
    def idle(self) -> bool:
        """Whether all that was posted is sent."""
        return not self._parts

    @property
    def closed(self) -> bool:
        """Whether its socket was let go of."""
        return self._end.fileno() < 0

    def post(self, message: Message, text: bytes = b"") -> None:
        """Send a message soon."""
        if self._gone:
            return
        parts = frame(message, text)
        self._parts += parts
        self._waiting += sum(map(len, parts))
        self._posted.set()

    async def post_in_turn(self, message: Message, text: bytes) -> None:
        """Send a message once there is room for it; those who wait for that are served in turn.

        Not to be cancelled: what was read is passed on, also by a process that is to stop.
        """
        with anyio.CancelScope(shield=True):
            async with self._turn:
                while self._waiting > _WAITING:
                    await self._some_sent()
                self.post(message, text)

    async def carry(self) -> None:
        """Send what is posted, until the other process is gone."""
        try:
            while True:
                while self._parts:
                    await self._send_some()
                self._posted = anyio.Event()
                await self._posted.wait()
        except OSError:
            self._gone = True
            self._parts.clear()
            self._waiting = 0
            self._sent.set()

    async def flush(self) -> None:
        """Wait until all that was posted is sent."""
        while self._parts:
            await self._some_sent()

    async def _some_sent(self) -> None:
        if self._sent.is_set():
            self._sent = anyio.Event()
        await self._sent.wait()

    async def receive(self) -> list[tuple[Any, bytes]]:
        """Return the next messages, each with the bytes that belong to it; none at the end."""
        while True:
            # Here and nowhere below: who is cancelled between taking bytes and using them has
            # lost them.
            await anyio.lowlevel.checkpoint()
            try:
                size = self._end.recv_into(self._frames.room())
            except BlockingIOError:
                await anyio.wait_readable(self._end)
                continue
            except OSError:
                return []
            if not size:
                return []
            if found := self._frames.take(size):
                return found

    def close(self) -> None:
        """Let go of the socket."""
        self._end.close()

    async def _send_some(self) -> None:
        try:
            sent = self._end.sendmsg(islice(self._parts, _PARTS_AT_ONCE))
        except BlockingIOError:
            await anyio.wait_writable(self._end)
            return
        self._waiting -= sent
        while sent:
            part = self._parts.popleft()
            if len(part) > sent:
                self._parts.appendleft(memoryview(part)[sent:])
                break
            sent -= len(part)
        self._sent.set()
