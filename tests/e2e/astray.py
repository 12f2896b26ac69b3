"""Places where requests must not arrive, and ways that lead there."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.serving import serving


@dataclass
class Listener:
    """A server that notes what it was sent; `url` says where."""

    url: str = ""
    heard: list[str] = field(default_factory=list)


@asynccontextmanager
async def listening(
    status: int = 403, headers: dict[str, str] | None = None
) -> AsyncIterator[Listener]:
    """A server that answers everything with a status and, perhaps, a Location to go to."""
    listener = Listener()

    async def handle(request: web.BaseRequest) -> web.Response:
        listener.heard.append(f"{request.headers} {await request.read()!r}")
        return web.Response(status=status, headers=headers)

    async with serving(handle) as listener.url:
        yield listener


class Authority:
    """A certificate authority in a folder; `bundle` is what to trust."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        own = self._builder(self._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.bundle = folder / "bundle.pem"
        self.bundle.write_bytes(_pem(own.sign(self._key, hashes.SHA256())))

    def server(self, host: str) -> ssl.SSLContext:
        """What a server needs that has a certificate for this host."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(host)]
        with suppress(ValueError):
            names = [x509.IPAddress(ip_address(host))]
        builder = self._builder(x509.Name([]), key).add_extension(
            x509.SubjectAlternativeName(names), critical=True
        )
        kept = self._folder / f"{host}.pem"
        kept.write_bytes(
            _pem(builder.sign(self._key, hashes.SHA256()))
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(kept)
        return context

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@asynccontextmanager
async def passing_on(
    port: int, tls: ssl.SSLContext | None = None, *, login: str = ""
) -> AsyncIterator[Listener]:
    """A door to a port of this machine, by TLS if so, or after a proxy's CONNECT if asked so.

    It hears the first lines that it is sent. With a `login`, a CONNECT needs that header's value.
    """
    listener = Listener()
    tasks: set[asyncio.Task[object]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        with suppress(OSError):
            writer.close()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            tasks.add(task)
        with suppress(OSError, asyncio.IncompleteReadError):
            first = await reader.readuntil(b"\r\n")
            listener.heard.append(first.decode())
            tunnel = first.startswith(b"CONNECT")
            headers = await reader.readuntil(b"\r\n\r\n") if tunnel else b""
            if tunnel and login.encode() not in headers:
                writer.write(b"HTTP/1.1 407 Login\r\nContent-Length: 0\r\n\r\n")
                writer.close()
                await writer.wait_closed()
                return
            there, back = await asyncio.open_connection("127.0.0.1", port)
            if tunnel:
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                back.write(first)
            await asyncio.gather(copy(reader, back), copy(there, writer))

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=tls)
    listener.url = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield listener
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
