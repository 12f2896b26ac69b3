"""Messages over one end of a socket pair: whole, in order, no faster than they are taken."""

from __future__ import annotations

import socket
from collections import deque
from itertools import islice
from typing import Any

import anyio
import anyio.lowlevel

from harvester.processes.frames import Frames, frame
from harvester.processes.messages import Message, Taken
from harvester.processes.ring import Ring

_BUFFER = 1 << 20
_WAITING = 1 << 22
"""How many bytes may wait to be sent, beside those in a ring."""

_PARTS_AT_ONCE = 64


class Link:
    """One end; `carry` has to run for what is posted to be sent.

    When the other process is gone, what is posted is dropped, and the messages end.

    Args:
        end: the socket; its other end is the other process's.
        outgoing, incoming: rings for texts that are posted in turn.
    """

    def __init__(
        self, end: socket.socket, *, outgoing: Ring | None = None, incoming: Ring | None = None
    ) -> None:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._end = end
        self._rings = [ring for ring in (outgoing, incoming) if ring is not None]
        self._outgoing = outgoing
        self._frames = Frames(incoming)
        self._parts: deque[bytes | memoryview] = deque()
        self._waiting = 0  # bytes in parts
        self._posted = anyio.Event()
        self._moved = anyio.Event()
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
        self._post(frame(message, text))

    async def post_in_turn(self, message: Message, text: bytes) -> None:
        """Send a message once there is room for it; those who wait for that are served in turn.

        Not to be cancelled: what was read is passed on, also by a process that is to stop.
        """
        with anyio.CancelScope(shield=True):
            async with self._turn:
                while not self._gone and (ring := self._outgoing) and ring.fits(len(text)):
                    # The frame first: what is in the ring has to be told, or all that comes
                    # later would be taken for something else.
                    parts = frame(message, text, place=ring.place)
                    if self._waiting <= _WAITING and ring.put(text):
                        self._post(parts)
                        return
                    await self._some_moved()
                while self._waiting > _WAITING:
                    await self._some_moved()
                self.post(message, text)

    def hear_no_more(self) -> None:
        """Do without the outgoing ring: what is free in it, only messages would tell."""
        self._outgoing = None
        self._moved.set()

    async def carry(self) -> None:
        """Send what is posted, until the other process is gone."""
        try:
            while True:
                while self._parts:
                    await self._send_some()
                self._posted = anyio.Event()
                await self._posted.wait()
        except OSError:
            self._lose()

    async def flush(self) -> None:
        """Wait until all that was posted is sent."""
        while self._parts:
            await self._some_moved()

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
                size = 0
            if not size:
                self._lose()
                return []
            found = self._frames.take(size)
            if freed := self._frames.freed():
                self.post(Taken(freed))
            if found := [one for one in found if not self._is_taken(one[0])]:
                return found

    def close(self) -> None:
        """Let go of the socket and the rings."""
        self._end.close()
        for ring in self._rings:
            ring.close()

    def _post(self, parts: list[bytes]) -> None:
        if self._gone:
            return
        self._parts += parts
        self._waiting += sum(map(len, parts))
        self._posted.set()

    def _is_taken(self, message: Message) -> bool:
        """Note what the other process has taken out of a ring; return whether that was said."""
        if not isinstance(message, Taken):
            return False
        if self._outgoing is not None:
            self._outgoing.free(message.spent)
            self._moved.set()
        return True

    def _lose(self) -> None:
        self._gone = True
        self._parts.clear()
        self._waiting = 0
        self._moved.set()

    async def _some_moved(self) -> None:
        """Wait until something was sent, or taken out of a ring, or the other process is gone."""
        if self._moved.is_set():
            self._moved = anyio.Event()
        await self._moved.wait()

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
        self._moved.set()
