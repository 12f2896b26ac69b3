"""An answer's body, read within bounds: one without an end fills no memory."""

from __future__ import annotations

from typing import Any

import aiohttp
import anyio
from botocore.exceptions import ConnectionClosedError

from harvester.errors import MOST_KEPT

MOST_BYTES = 64 << 20
"""The longest body that is read. A page of 100 findings has some hundred thousand bytes."""

_LARGE_BYTES = 4 << 20
_LARGE_AT_ONCE = 2


class BodyTooLargeError(Exception):
    """A body that goes on beyond the bound; `head` is how it begins."""

    def __init__(self, head: bytes) -> None:
        super().__init__(f"the body goes on beyond {MOST_BYTES >> 20} MiB")
        self.head = head


class BodyReader:
    """Reads the bodies of one run's answers.

    What is large is read two at a time, the others wait with what they have: so even where
    all answers are without an end, memory is bounded, by 4 MiB a call and 64 MiB for each of
    the two.
    """

    def __init__(self) -> None:
        self._large = anyio.Semaphore(_LARGE_AT_ONCE)

    async def read(self, response: aiohttp.ClientResponse) -> bytes:
        """Return the whole body of an answer.

        Raises:
            BodyTooLargeError: it is too long.
            ConnectionClosedError: it ends before its end.
            TimeoutError: for a while, nothing came.
        """
        try:
            return await self._read(response)
        except BaseException as error:
            response.close()  # not for another request: the rest of the body is on the way
            if isinstance(error, aiohttp.ClientError) and not isinstance(error, TimeoutError):
                raise ConnectionClosedError(endpoint_url=str(response.url), error=error) from error
            raise

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        blocks: list[bytes] = []
        size, large = 0, False
        try:
            while block := await response.content.readany():
                blocks.append(block)
                size += len(block)
                if size > _LARGE_BYTES and not large:
                    await self._large.acquire()
                    large = True
                if size > MOST_BYTES:
                    raise BodyTooLargeError(_head(blocks))
        finally:
            if large:
                self._large.release()
        return b"".join(blocks)


def _head(blocks: list[bytes]) -> bytes:
    head = bytearray()
    for block in blocks:
        head += block
        if len(head) > 2 * MOST_KEPT:
            break
    return bytes(head)


def read_by(reader: BodyReader, base: type[Any]) -> type[Any]:
    """Return a class of the SDK's HTTP sessions whose answers' bodies `reader` reads."""

    class Bounded(base):  # type: ignore[misc]  # the SDK is untyped
        async def send(self, request: Any) -> Any:
            request.stream_output = True  # else the SDK reads the body, however long it is
            response = await super().send(request)
            response._content = await reader.read(response.raw)  # noqa: SLF001  # what it caches
            return response

    return Bounded
