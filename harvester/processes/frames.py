"""Messages as frames of bytes, and back: no I/O.

A frame is a prefix, the message, and bytes that belong to it: the text of a page, which is
passed on as it is, here or in a ring.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import msgspec

from harvester.processes.messages import AnyMessage, Message
from harvester.processes.ring import Ring

# Whether the message is JSON; where the text is in the ring, 0 if it follows the message; bytes
# of the message, and of the text.
_PREFIX = struct.Struct("!?QII")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(AnyMessage).decode


def frame(message: Message, text: bytes = b"", *, place: int = 0) -> list[bytes]:
    """Return the parts of a frame, in their order; without the text if it has a place in a ring."""
    as_json = False
    try:
        body = _encode(message)
    except (UnicodeEncodeError, OverflowError):
        # A service may send lone surrogates in a token or a severity, and a count of any size:
        # only JSON holds them.
        as_json = True
        body = json.dumps(msgspec.to_builtins(message)).encode("ascii")
    head = _PREFIX.pack(as_json, place, len(body), len(text)) + body
    return [head, text] if text and not place else [head]


class Frames:
    """Frames put together again from pieces of any size, in one buffer that is used over and over.

    The buffer grows with the largest frame.

    Args:
        ring: holds the texts that are not in their frames.
        size: of the buffer at first, in bytes.
    """

    def __init__(self, ring: Ring | None = None, size: int = 1 << 20) -> None:
        self._ring = ring
        self._freed = 0
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
            found.append(one)
        if self._begin == self._end:
            self._begin = self._end = 0
        return found

    def freed(self) -> int:
        """Return how much of the ring is free again since the last time."""
        freed, self._freed = self._freed, 0
        return freed

    def _next(self) -> tuple[Any, bytes] | None:
        """Return the next message with its text, if its frame is whole."""
        body = self._begin + _PREFIX.size
        if body > self._end:
            return None
        as_json, place, size, length = _PREFIX.unpack_from(self._buffer, self._begin)
        text = body + size
        end = text if place else text + length
        if end > self._end:
            return None
        message = _message(self._buffer[body:text], as_json=as_json)
        self._begin = end
        if place and self._ring is not None:
            found, spent = self._ring.take(place, length)
            self._freed += spent
            return message, found
        return message, bytes(self._buffer[text:end])

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
