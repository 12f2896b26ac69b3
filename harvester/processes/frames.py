"""Messages as frames of bytes, and back: no I/O.

A frame is a prefix, the message, and bytes that belong to it: the text of a page, which is
passed on as it is.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import msgspec

from harvester.processes.messages import AnyMessage, Message

_PREFIX = struct.Struct("!?II")  # whether it is JSON, bytes of the message, bytes after it
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(AnyMessage).decode


def frame(message: Message, text: bytes = b"") -> list[bytes]:
    """Return the parts of a frame, in their order."""
    as_json = False
    try:
        body = _encode(message)
    except (UnicodeEncodeError, OverflowError):
        # A service may send lone surrogates in a token or a severity, and a count of any size:
        # only JSON holds them.
        as_json = True
        body = json.dumps(msgspec.to_builtins(message)).encode("ascii")
    head = _PREFIX.pack(as_json, len(body), len(text)) + body
    return [head, text] if text else [head]


class Frames:
    """Frames put together again from pieces of any size, in one buffer that is used over and over.

    The buffer grows with the largest frame.
    """

    def __init__(self, size: int = 1 << 20) -> None:
        self._buffer = memoryview(bytearray(size))
        self._begin = self._end = 0  # what has arrived and was not taken

    def room(self) -> memoryview:
        """Return where the next piece goes: never empty."""
        if len(self._buffer) - self._end < len(self._buffer) // 4:
            self._make_room()
        return self._buffer[self._end :]

    def take(self, size: int) -> list[tuple[Any, bytes]]:
        """Return the messages that are whole once so many bytes have been put into the room.

        Each comes with the bytes that belong to it.
        """
        self._end += size
        found: list[tuple[Any, bytes]] = []
        while (one := self._next()) is not None:
            as_json, body, text, self._begin = one
            message = _message(self._buffer[body:text], as_json=as_json)
            found.append((message, bytes(self._buffer[text : self._begin])))
        if self._begin == self._end:
            self._begin = self._end = 0
        return found

    def _next(self) -> tuple[bool, int, int, int] | None:
        """Return the next frame if it is whole: is it JSON, and where its parts begin and end."""
        body = self._begin + _PREFIX.size
        if body > self._end:
            return None
        as_json, body_size, text_size = _PREFIX.unpack_from(self._buffer, self._begin)
        text = body + body_size
        end = text + text_size
        return (as_json, body, text, end) if end <= self._end else None

    def _make_room(self) -> None:
        rest = self._buffer[self._begin : self._end]
        if len(rest) > len(self._buffer) // 2:
            self._buffer = memoryview(bytearray(2 * len(self._buffer)))
        self._buffer[: len(rest)] = rest
        self._begin, self._end = 0, len(rest)


def _message(body: memoryview, *, as_json: bool) -> Any:
    if as_json:
        return msgspec.convert(json.loads(bytes(body)), AnyMessage)
    return _decode(body)
