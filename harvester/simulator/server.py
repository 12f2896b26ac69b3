"""The simulator as a server on loopback: sockets in, sockets out."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

import anyio
from aiohttp import web

from harvester.simulator.behaviour import Behaviour
from harvester.simulator.faults import Delivery, Faults
from harvester.simulator.gateway import Gateway, Reply
from harvester.simulator.keyring import Keyring
from harvester.simulator.ledger import Ledger
from harvester.simulator.organization import Organization
from harvester.simulator.services import build_services
from harvester.simulator.signatures import Received
from harvester.simulator.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

    from harvester.simulator.behaviour import Identity
    from harvester.simulator.ledger import RequestRecord
    from harvester.simulator.protocols import Answer
    from harvester.simulator.target import Finding

_DRIPS: Final = 8
_FILLER: Final = b"and so on " * 100_000
# How long requests under way may go on at the end; none at all would mean for ever to aiohttp.
_GRACE: Final = 0.01
_CLEANUP_SECONDS: Final = 5.0
# SO_LINGER on with no time: closing then sends a reset instead of a polite end.
_ABORT: Final = struct.pack("ii", 1, 0)


class Simulator:
    """An AWS on loopback, for as long as its `async with` block lasts.

    `port` 0 takes any free one. `rng` draws the faults, by default one seeded with `faults.seed`.
    `clock` gives seconds since the epoch, `monotonic` seconds of a clock that never goes back.
    With `keep_requests` False, requests are only counted. `page_cache_bytes` bounds the encoded
    pages that are kept in memory. Entering raises OSError where the port is taken.
    """

    def __init__(
        self,
        organization: Organization | None = None,
        *,
        behaviour: Behaviour | None = None,
        faults: Faults | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        keep_requests: bool = True,
        page_cache_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self.organization = Organization.generate() if organization is None else organization
        self.behaviour = behaviour or Behaviour()
        self.host = host
        self.port = port
        faults = faults or Faults()
        self._rng = rng or random.Random(faults.seed)
        self._ledger = Ledger(keep=keep_requests)
        self._keyring = Keyring(self.organization, self.behaviour.credentials_resolver)
        self._store = Store(self.organization, page_cache_bytes)
        services = build_services(
            self.organization,
            self._store,
            self.behaviour,
            lambda: self.faults,
            keyring=self._keyring,
            clock=clock,
        )
        self._gateway = Gateway(
            self.organization,
            services,
            self.behaviour,
            faults,
            keyring=self._keyring,
            ledger=self._ledger,
            rng=self._rng,
            clock=clock,
            monotonic=monotonic,
        )
        self._clock = clock
        self._runner: web.ServerRunner | None = None
        self._connections: set[asyncio.Task[object]] = set()
        self._closed_port: socket.socket | None = None

    @property
    def faults(self) -> Faults:
        """What goes wrong from now on; may be set while the simulator runs."""
        return self._gateway.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._gateway.faults = faults

    @property
    def url(self) -> str:
        """Where it listens; the port is known once the block is entered."""
        return f"http://{self.host}:{self.port}"

    @property
    def refused_url(self) -> str:
        """An address that refuses every connection; known once the block is entered.

        The port is taken and nobody listens on it. Give it to the SDK as the endpoint of a service
        (`AWS_ENDPOINT_URL_IMAGEBUILDER`).
        """
        if self._closed_port is None:
            raise RuntimeError("the refusing port is open inside of the simulator's block only")
        return f"http://{self.host}:{self._closed_port.getsockname()[1]}"

    def add_findings(self, account: str, region: str, findings: Sequence[Finding]) -> None:
        """Add findings behind those of a target, while the simulator runs.

        Chains under way see them, as in the real service. `organization` is the one with them.
        """
        target = self.organization.target(account, region)
        self.organization = self.organization.with_target(account, region, target.plus(findings))
        self._store.exchange(self.organization)

    @property
    def requests(self) -> list[RequestRecord]:
        """All requests so far, in the order of their answers."""
        return self._ledger.requests

    def count(self, **wanted: str | None) -> int:
        """How many requests there were with these values.

        Keys: `service`, `operation`, `account`, `region`, `code` (None is a success), `fault`.
        """
        return self._ledger.count(**wanted)

    def credentials(self, account: str | None = None) -> Identity:
        """The lasting access key of an account's user, by default of the management account."""
        return self._keyring.user(account or self.organization.management)

    def environment(self, account: str | None = None, region: str | None = None) -> dict[str, str]:
        """The variables that make the SDK a caller in an account, by default the management one."""
        caller = self.credentials(account)
        region = region or self.organization.regions[0]
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": caller.access_key_id,
            "AWS_SECRET_ACCESS_KEY": caller.secret_key,
            # Empty, so that a token left over in the caller's shell is not sent along.
            "AWS_SESSION_TOKEN": "",
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    async def __aenter__(self) -> Self:
        """Listen."""
        server = web.Server(self._handle, access_log=None, lingering_time=0.0)
        runner = web.ServerRunner(server, shutdown_timeout=_GRACE)
        await runner.setup()
        self._runner = runner
        try:
            site = web.TCPSite(runner, self.host, self.port, backlog=1024)
            await site.start()
        except OSError:
            await runner.cleanup()
            raise
        self.port = int(runner.addresses[0][1])
        self._closed_port = _closed_port(self.host)
        self._keyring.user(self.organization.management)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop at once: requests under way are dropped."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        if self._closed_port is not None:
            self._closed_port.close()
            self._closed_port = None
        with anyio.move_on_after(_CLEANUP_SECONDS, shield=True):
            await runner.cleanup()
            # The server cancels what is under way, but does not wait until it has ended.
            if self._connections:
                await asyncio.wait(self._connections)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        if task is not None and task not in self._connections:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        body = await request.read()
        path, _, query = request.raw_path.partition("?")
        reply = self._gateway.reply(Received(request.method, path, query, request.headers, body))
        if reply.delivery is Delivery.CLOSED:
            return _hang_up(request, reset=False)
        delay = reply.delay + self.behaviour.latency + self.behaviour.jitter * random.random()
        if delay > 0:
            await asyncio.sleep(delay)
        if reply.delivery is Delivery.RESET:
            return _hang_up(request, reset=True)
        if reply.delivery is Delivery.HUNG:
            await asyncio.Event().wait()  # until the simulator stops
        if request.transport is None:
            # The caller left meanwhile; there is nobody to answer.
            return web.Response()
        return await self._deliver(request, reply)

    async def _deliver(self, request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
        answer = reply.answer
        if self.faults.clock_skew:
            date = formatdate(self._clock() + self.faults.clock_skew, usegmt=True)
            answer = replace(answer, headers={**answer.headers, "Date": date})
        if reply.delivery is Delivery.TRUNCATED:
            return await _truncate(request, answer)
        if reply.delivery is Delivery.SLOW:
            return await _drip(request, answer, self.faults.slow_seconds)
        if reply.delivery is Delivery.UNENDING:
            return await _never_end(request, answer)
        return web.Response(body=answer.body, status=answer.status, headers=answer.headers)


def _closed_port(host: str) -> socket.socket:
    """A port that is taken but not listened on, so that connections to it are refused."""
    bound = socket.socket()
    bound.bind((host, 0))
    return bound


def _hang_up(request: web.BaseRequest, *, reset: bool) -> web.Response:
    """Drop the connection without an answer; the response returned goes nowhere."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if reset and connection is not None:
            with suppress(OSError):  # the caller left meanwhile
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
        transport.abort()
    return web.Response()


async def _begin(request: web.BaseRequest, answer: Answer, length: int) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = length
    await response.prepare(request)
    return response


async def _truncate(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    """Promise the whole body, send half of it, and end the connection."""
    response = await _begin(request, answer, len(answer.body) + 1)
    with suppress(ConnectionError):
        await response.write(answer.body[: (len(answer.body) + 1) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


async def _never_end(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    """Send the body without its end, and then more for as long as the caller takes it."""
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.enable_chunked_encoding()
    await response.prepare(request)
    with suppress(ConnectionError):
        await response.write(answer.body[:-2] + b',{"title":"')
        while True:
            await response.write(_FILLER)
    return response


async def _drip(request: web.BaseRequest, answer: Answer, seconds: float) -> web.StreamResponse:
    """Send the body bit by bit, `seconds` from the first to the last."""
    response = await _begin(request, answer, len(answer.body))
    step = max(1, -(-len(answer.body) // _DRIPS))
    # A caller who has had enough and leaves is what a slow body is for.
    with suppress(ConnectionError):
        for start in range(0, len(answer.body), step):
            await asyncio.sleep(seconds / _DRIPS)
            await response.write(answer.body[start : start + step])
    return response
