"""What stands between a command and the service: TLS with a private authority, and a proxy."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import aiohttp
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_NAMES = ("localhost", "*.us-east-1.amazonaws.com", "*.us-east-1.api.aws")
_PASSED_ON = ("Content-Type", "x-amzn-ErrorType")
_Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def certificate(folder: Path) -> Path:
    """A certificate of its own authority, for AWS's names, with its key: one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority for tests")])
    names = [*map(x509.DNSName, _NAMES), x509.IPAddress(ip_address("127.0.0.1"))]
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = folder / "authority.pem"
    path.write_bytes(
        signed.public_bytes(pem)
        + key.private_bytes(pem, form, encryption_algorithm=serialization.NoEncryption())
    )
    return path


@asynccontextmanager
async def tls(port: int, certified: Path) -> AsyncIterator[int]:
    """Speak TLS with whoever connects, and pass on what they say; yields the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certified)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _join(reader, writer, port)

    async with _server(serve, context) as bound:
        yield bound


@asynccontextmanager
async def tunnel(port: int, asked: list[str]) -> AsyncIterator[str]:
    """A proxy that connects to `port` whatever it is asked for, and notes that; yields its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, place, _ = (await reader.readuntil(b"\r\n\r\n")).decode().split(" ", 2)
        asked.append(f"{method} {place}")
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await _join(reader, writer, port)

    async with _server(serve, None) as bound:
        yield f"http://127.0.0.1:{bound}"


@asynccontextmanager
async def plain_proxy(to: str, asked: list[str]) -> AsyncIterator[str]:
    """A proxy that hands requests to one URL, and notes whom they are for; yields its URL."""

    async def handle(request: web.BaseRequest) -> web.Response:
        asked.append(request.raw_path)
        url, body = to + request.rel_url.path, await request.read()
        async with http.request(request.method, url, headers=request.headers, data=body) as answer:
            headers = {name: answer.headers[name] for name in answer.headers if name in _PASSED_ON}
            return web.Response(status=answer.status, headers=headers, body=await answer.read())

    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession() as http:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _server(serve: _Serve, context: ssl.SSLContext | None) -> AsyncIterator[int]:
    async with asyncio.TaskGroup() as group:
        serving: set[asyncio.Task[None]] = set()

        async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError, EOFError):  # those who leave without a word
                await serve(reader, writer)
            writer.close()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            serving.add(group.create_task(guarded(reader, writer)))

        server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
        yield server.sockets[0].getsockname()[1]
        server.close()
        for task in serving:
            task.cancel()


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    further, back = await asyncio.open_connection("127.0.0.1", port)

    async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(1 << 16):
                sink.write(data)
                await sink.drain()
        sink.close()

    try:
        await asyncio.gather(pass_on(reader, back), pass_on(further, writer))
    finally:
        back.close()
