"""A server that gives the answers of another one again, at a small part of what they cost there.

What was not asked before is passed on, and its answer kept; what was is answered from memory, and
no signature is checked. So a contestant can be faster than the simulator makes pages.
"""

from __future__ import annotations

import asyncio
import json
import re
from types import TracebackType
from typing import Final, Self

_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
#: Who asks, where and what: the first line, the operation, the key and the region of a signature.
_WHAT: Final = re.compile(rb"\r\nx-amz-target: *([^\r]+)", re.IGNORECASE)
_WHO: Final = re.compile(rb"Credential=([^/]+)/[0-9]+/([^/]+)/")
_BUFFER: Final = 1 << 20


class Replay:
    """Answers as the server at a port of loopback did; listens for as long as its block lasts.

    With `enlarge`, a page of findings holds each of them so many times.

    Attributes:
        answered: how many requests there were. passed_on: how many of them were new.
    """

    def __init__(self, port: int, enlarge: int = 1) -> None:
        self.answered = self.passed_on = 0
        self._port = port
        self._enlarge = enlarge
        self._known: dict[bytes, bytes] = {}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()

    @property
    def url(self) -> str:
        """Where it listens."""
        if self._server is None:
            raise RuntimeError("it does not listen")
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def answer(self, head: bytes, body: bytes, transport: asyncio.Transport) -> None:
        """Answer a request now, or as soon as its answer is known."""
        self.answered += 1
        who, what = _WHO.search(head), _WHAT.search(head)
        key = b"\n".join(
            [head[: head.index(b"\r")], *(who.groups() if who else ()), what[1] if what else b""]
        )
        known = self._known.get(key + body)
        if known is not None:
            transport.write(known)
            return
        task = asyncio.ensure_future(self._pass_on(key + body, head + _END + body, transport))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, key: bytes, request: bytes, transport: asyncio.Transport) -> None:
        self.passed_on += 1
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=_BUFFER)
        try:
            writer.write(request)
            head = await reader.readuntil(_END)
            length = _LENGTH.search(head)
            answer = head + await reader.readexactly(int(length[1]) if length else 0)
        finally:
            writer.close()
        if self._enlarge > 1 and b"ListImageScanFindings " in request[: request.index(b"\r")]:
            answer = _enlarged(answer, self._enlarge)
        if head.startswith(b"HTTP/1.1 200"):
            self._known[key] = answer
        transport.write(answer)


def _enlarged(answer: bytes, times: int) -> bytes:
    """Return an answer whose page holds each of its findings so many times."""
    head, _, body = answer.partition(_END)
    page = json.loads(body)
    page["findings"] *= times
    body = json.dumps(page, separators=(",", ":")).encode()
    return _LENGTH.sub(b"\r\nContent-Length: %d" % len(body), head) + _END + body


class _Connection(asyncio.Protocol):
    """One connection of a contestant: one request after the other."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._arrived = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._arrived += data
        head, end, rest = self._arrived.partition(_END)
        length = _LENGTH.search(head)
        size = int(length[1]) if length else 0
        if end and len(rest) >= size and self._transport is not None:
            self._arrived = rest[size:]
            self._replay.answer(head, rest[:size], self._transport)
