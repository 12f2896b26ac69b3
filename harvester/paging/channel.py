"""The one way a room asks AWS: paced, bounded, signed, retried and counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, TypeVar

import anyio

from harvester.clock import Clock
from harvester.concurrency import in_thread
from harvester.errors import (
    DamagedAnswerError,
    ExpiredCredentialsError,
    ServiceError,
    ThrottledError,
    TransientError,
)
from harvester.events import Listener, RequestRetried, RequestSent, RequestThrottled
from harvester.names import operation_name
from harvester.paging.pacer import Pacer
from harvester.paging.retry import RetryPolicy, call_patiently
from harvester.paging.slots import FairSlots, Slot
from harvester.turns import TurnBudget

T = TypeVar("T")
EventT = TypeVar("EventT", RequestSent, RequestThrottled, RequestRetried)

# Together: what hangs costs a target two times five seconds, and no more.
_HURRIED = RetryPolicy(fault_attempts=3, fault_seconds=8.0, throttle_seconds=60.0, throttle_cap=0.0)
_HURRIED_SECONDS = 5.0
_ROOM = 128
_LARGE_BYTES = 1 << 20  # of an answer that is read in a thread: some 400 findings


class Keys(Protocol):
    """Credentials as a channel needs them: see `harvester.aws.credentials`."""

    async def current(self) -> Any:
        """Return signing keys that are good now."""
        ...

    def expire(self, refused: Any) -> None:
        """Note that the service called these keys expired."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked of AWS: a client method with its parameters, of an account in a region."""

    service: str
    region: str
    operation: str
    parameters: dict[str, Any]
    account: str | None = None


class Wire(Protocol):
    """One attempt at one call: see `harvester.aws.clients.Clients`."""

    async def open(self, service: str, region: str) -> None:
        """Make ready for calls, so that the first of them is not held up."""
        ...

    async def call(self, call: Call, signer: Any) -> Any:
        """Make one call, signed by `signer`."""
        ...


@dataclass(frozen=True, slots=True)
class _ShortWire:
    """A wire whose calls may take five seconds and no more."""

    wire: Wire

    async def open(self, service: str, region: str) -> None:
        await self.wire.open(service, region)

    async def call(self, call: Call, signer: Any) -> Any:
        with anyio.move_on_after(_HURRIED_SECONDS):
            return await self.wire.call(call, signer)
        raise TransientError(
            "Timeout",
            f"no complete answer within {_HURRIED_SECONDS:.0f} seconds",
            operation=call.operation,
            account=call.account,
            region=call.region,
        )


@dataclass(frozen=True, slots=True)
class Exchange:
    """What all channels of a run share.

    `slots` are for calls under way; `room` is for pages, from then until they are written: a
    sink that stands still soon stops all calls, however many queries there are.
    """

    wire: Wire
    slots: FairSlots
    emit: Listener
    clock: Clock
    policy: RetryPolicy
    room: FairSlots = field(default_factory=lambda: FairSlots(_ROOM))
    turns: TurnBudget = field(default_factory=TurnBudget)

    def channel(
        self,
        service: str,
        region: str,
        credentials: Keys,
        *,
        account: str | None = None,
        max_rate: float | None = None,
        start: float | None = None,
    ) -> Channel:
        """Return a new channel with a pacer of its own: see `Pacer`."""
        pacer = Pacer(self.clock, max_rate=max_rate, start=start)
        return Channel(self, service, region, credentials, pacer, account)


@dataclass(frozen=True, slots=True)
class Channel:
    """The calls of one account to one service in one region."""

    exchange: Exchange
    service: str
    region: str
    credentials: Keys
    pacer: Pacer
    account: str | None = None

    def hurried(self, attempts: int = _HURRIED.fault_attempts) -> Channel:
        """Return the same channel for calls that can be done without: it gives up soon."""
        wire, policy = _ShortWire(self.exchange.wire), replace(_HURRIED, fault_attempts=attempts)
        return replace(self, exchange=replace(self.exchange, wire=wire, policy=policy))

    def place(self) -> Slot:
        """Return a place for one page: see `Exchange.room`."""
        return self.exchange.room.slot((self.account, self.region))

    async def call(
        self,
        operation: str,
        parameters: dict[str, Any],
        read: Callable[[Any], T],
        *,
        place: Slot | None = None,
    ) -> T:
        """Return `read(answer)` of the client method `operation`, asking again where it helps.

        With a `place`, that is waited for, and held for what is returned until the caller gives
        it back.

        `read` raises `DamagedAnswerError` for an answer that is not what the API promises,
        which is then asked for again. Raises a `ServiceError` when that comes to nothing.
        """
        return await call_patiently(
            lambda: self._attempt(operation, parameters, read, place),
            policy=self.exchange.policy,
            clock=self.exchange.clock,
            on_error=lambda error: self.exchange.emit(
                self._about(RequestRetried, operation, code=error.code)
            ),
        )

    async def _attempt(
        self,
        operation: str,
        parameters: dict[str, Any],
        read: Callable[[Any], T],
        place: Slot | None,
    ) -> T:
        signer = await self.credentials.current()
        await self.exchange.wire.open(self.service, self.region)
        slot = self.exchange.slots.slot((self.account, self.region))

        async def admit() -> None:
            if place is not None:
                await place.acquire()
            await slot.acquire()

        try:
            try:
                await self.pacer.turn(admit)
                answer = await self._send(operation, parameters, signer)
            finally:
                slot.release()
            return await self._read(partial(_read, read, answer, signer), answer)
        except BaseException:
            if place is not None:
                place.release()
            raise

    async def _read(self, read: Callable[[], T], answer: Any) -> T:
        """Return what `read` makes of an answer, without holding up the event loop."""
        if isinstance(answer, bytes) and len(answer) > _LARGE_BYTES:
            with anyio.CancelScope(shield=True):  # an answer that has arrived is to be used
                return await in_thread(read)
        return await self.exchange.turns.run(read)

    def _about(self, kind: type[EventT], operation: str, **more: str) -> EventT:
        """Return an event about a request of this channel."""
        return kind(
            service=self.service,
            operation=operation_name(operation),
            account=self.account,
            region=self.region,
            **more,
        )

    async def _send(self, operation: str, parameters: dict[str, Any], signer: Any) -> Any:
        """Make one call now, and note what it says about the pace and the credentials."""
        exchange = self.exchange
        call = Call(self.service, self.region, operation, parameters, self.account)
        exchange.emit(self._about(RequestSent, operation))
        sent = exchange.clock.now()
        try:
            answer = await exchange.wire.call(call, signer)
        except ThrottledError as error:
            exchange.emit(self._about(RequestThrottled, operation, code=error.code))
            self.pacer.throttled(sent)
            raise
        except ServiceError as error:
            # Whatever it was, it was let through: to the pace it is a success. A call that
            # never arrived says nothing.
            if error.status is not None:
                self.pacer.succeeded(sent)
            else:
                self.pacer.unanswered()
            if isinstance(error, ExpiredCredentialsError):
                self.credentials.expire(signer)
            raise
        except BaseException:
            self.pacer.unanswered()
            raise
        self.pacer.succeeded(sent)
        return answer


def _read(read: Callable[[Any], T], answer: Any, signer: Any) -> T:
    try:
        return read(answer)
    except DamagedAnswerError as error:
        if isinstance(answer, bytes):
            secrets = (getattr(signer, "secret_key", None), getattr(signer, "token", None))
            error.keep(answer, secrets)
        raise
