"""Bodies without an end, dripping, cut off or very large, as they come over the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import pytest
from aiobotocore.credentials import AioCredentials
from aiohttp import web

from harvester import errors
from harvester.aws.answers import MOST_BYTES
from harvester.aws.bodies import decode_line, decode_page
from harvester.aws.clients import Clients
from harvester.paging.channel import Call
from tests.serving import serving

_MIB = 1 << 20
_GOOD = b'{"requestId":"1","findings":[]}'
_SIGNER = AioCredentials("AKIAEXAMPLE", "key/of/the/caller", "token+of+the+caller")
Behave = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Service:
    """Answers as told, and counts the bytes that went out."""

    def __init__(self) -> None:
        self.behave: Behave = self.good
        self.sent = 0
        self.url = ""

    async def good(self, request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        return web.Response(body=_GOOD)

    async def endless(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        token = request.headers["X-Amz-Security-Token"].encode()
        block = b'{"findings":[{"title":"' + token + b'"' + b" " * _MIB
        with suppress(ConnectionError):
            while True:
                await response.write(block)
                self.sent += len(block)
        return response

    async def promised(self, request: web.BaseRequest) -> web.StreamResponse:
        """As endless, with a length."""
        response = web.StreamResponse()
        response.content_length = 1 << 40
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(b" " * _MIB)
        return response

    async def dripping(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(b" ")
                await anyio.sleep(0.01)
        return response

    async def cut(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = len(_GOOD)
        await response.prepare(request)
        await response.write(_GOOD[:-3])
        assert request.transport is not None
        request.transport.close()
        return response

    async def silent(self, request: web.BaseRequest) -> web.StreamResponse:
        await anyio.sleep_forever()
        raise AssertionError(request)


@asynccontextmanager
async def asking(
    call_seconds: float = 30.0,
) -> AsyncIterator[tuple[Service, Callable[[], Awaitable[bytes]]]]:
    """A service, and what asks it for findings."""
    service = Service()
    async with serving(lambda request: service.behave(request)) as url:  # noqa: PLW0108  # it changes
        clients = Clients(
            profile=None, endpoint_url=url, max_connections=16, call_seconds=call_seconds
        )

        async def ask() -> bytes:
            body: bytes = await clients.call(
                Call("imagebuilder", "us-east-1", "list_image_scan_findings", {}), _SIGNER
            )
            return body

        async with clients:
            await clients.open("imagebuilder", "us-east-1")
            yield service, ask


# The first call of a region goes through the SDK, the others past it.
ROADS = pytest.mark.parametrize("earlier", [0, 1], ids=["by the SDK", "past it"])


@ROADS
@pytest.mark.parametrize("how", ["endless", "promised"])
async def test_a_body_without_an_end_is_given_up_at_its_bound(how: str, earlier: int) -> None:
    async with asking() as (service, ask):
        for _ in range(earlier):
            assert await ask() == _GOOD
        service.behave = getattr(service, how)
        with pytest.raises(errors.DamagedAnswerError) as caught:
            await ask()
        assert service.sent < MOST_BYTES + 16 * _MIB
        service.behave = service.good
        assert await ask() == _GOOD, "the connection is not used again"
    error = caught.value
    assert (error.code, error.message) == ("BodyTooLarge", "the body goes on beyond 64 MiB")
    assert error.body is not None
    assert errors.MOST_KEPT - 1000 < len(error.body) <= errors.MOST_KEPT
    assert str(_SIGNER.token).encode() not in error.body
    if how == "endless":
        assert error.body.startswith(b'{"findings":[{"title":"***"')


async def test_many_bodies_without_an_end_fill_no_memory_together() -> None:
    ended: list[int] = []

    async with asking() as (service, ask):
        assert await ask() == _GOOD
        service.behave = service.endless

        async def try_it() -> None:
            with pytest.raises(errors.DamagedAnswerError):
                await ask()
            ended.append(service.sent)

        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(try_it)
    # When the first has reached its bound, at most one other is beyond 4 MiB and what lies in
    # buffers.
    assert ended[0] < 2 * MOST_BYTES + 8 * 16 * _MIB
    assert len(ended) == 8


@ROADS
async def test_a_body_that_drips_ends_with_its_calls_time(earlier: int) -> None:
    async with asking(call_seconds=0.5) as (service, ask):
        for _ in range(earlier):
            assert await ask() == _GOOD
        for behave in (service.dripping, service.silent):
            service.behave = behave
            with pytest.raises(errors.TransientError) as caught:
                await ask()
            assert caught.value.code == "Timeout"
        service.behave = service.good
        assert await ask() == _GOOD


@ROADS
async def test_a_body_that_is_cut_off_is_asked_for_again(earlier: int) -> None:
    async with asking() as (service, ask):
        for _ in range(earlier):
            assert await ask() == _GOOD
        service.behave = service.cut
        with pytest.raises(errors.TransientError) as caught:
            await ask()
        assert caught.value.code == "ConnectionClosed"


async def test_a_page_with_a_text_of_fifty_megabytes_is_read_whole() -> None:
    body = b'{"findings":[{"title":"' + b"x" * (50 * _MIB) + b'"}]}'

    async def large(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        return web.Response(body=body)

    async with asking() as (service, ask):
        service.behave = large
        assert await ask() == body
    page = decode_page(body, account="111122223333", region="us-east-1")
    assert decode_line(page.text) == {"title": "x" * (50 * _MIB)}
