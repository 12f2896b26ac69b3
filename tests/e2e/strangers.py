"""A service that is not kind: it refuses with whatever text it was given."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from xml.sax.saxutils import escape

import orjson
from aiohttp import web

from tests.serving import serving

_IDENTITY = (
    '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
    "<GetCallerIdentityResult><Arn>arn:aws:iam::{0}:user/me</Arn><UserId>AIDA1</UserId>"
    "<Account>{0}</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
)
Words = Callable[[web.BaseRequest, bytes], str]


@asynccontextmanager
async def refusing(words: Words, *, xml: bool, caller: str = "") -> AsyncIterator[str]:
    """A server that answers with 403 and a message; yields its URL.

    With `caller`, an account id, it does say who calls.
    """

    async def handle(request: web.BaseRequest) -> web.Response:
        asked = await request.read()
        if caller and b"Action=GetCallerIdentity" in asked:
            return web.Response(content_type="text/xml", body=_IDENTITY.format(caller).encode())
        text = words(request, asked)
        if not xml:
            headers = {"x-amzn-ErrorType": "AccessDeniedException"}
            return web.Response(status=403, headers=headers, body=orjson.dumps({"message": text}))
        allowed = "".join(each if each >= " " else f"&#{ord(each)};" for each in escape(text))
        body = (
            '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>'
            f"<Type>Sender</Type><Code>AccessDenied</Code><Message>{allowed}</Message></Error>"
            "<RequestId>1</RequestId></ErrorResponse>"
        )
        return web.Response(status=403, content_type="text/xml", body=body.encode())

    async with serving(handle) as url:
        yield url


@asynccontextmanager
async def answering(*bodies: bytes) -> AsyncIterator[str]:
    """An Image Builder with these bodies as one chain of pages; yields its URL.

    A body's `nextToken` is the place of the next one, as text. It counts nothing.
    """

    async def handle(request: web.BaseRequest) -> web.Response:
        asked = orjson.loads(await request.read())
        if not request.raw_path.endswith("/ListImageScanFindings"):
            return web.Response(status=403, body=b'{"message": "no"}')
        return web.Response(body=bodies[int(asked.get("nextToken", "0"))])

    async with serving(handle) as url:
        yield url
