"""The one way a room asks AWS: paced, bounded, signed, retried and counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
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
from harvester.paging.breaker import SLOW_CODE, SLOW_SECONDS, Verdict
from harvester.paging.learned import Learned
from harvester.paging.outages import Outages, Passage, RecalledError
from harvester.paging.pacer import Pacer
from harvester.paging.retry import RetryPolicy, call_patiently
from harvester.paging.seats import leave_seat, leave_seat_in
from harvester.paging.slots import FairSlots, Slot
from harvester.turns import TurnBudget

T = TypeVar("T")
EventT = TypeVar("EventT", RequestSent, RequestThrottled, RequestRetried)

# Together: what hangs costs a target two times five seconds, and no more.
_HURRIED = RetryPolicy(fault_attempts=3, fault_seconds=8.0, throttle_seconds=60.0, throttle_cap=0.0)
_HURRIED_SECONDS = 5.0
_ROOM = 128
_LARGE_BYTES = 1 << 20  # of an answer that is read in a thread: some 400 findings

# A call that has failed so often, or was throttled so often, waits without a seat.
_FAULTS_SEATED = 2
_THROTTLES_SEATED = 3


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
    sink that stands still soon stops all calls, however many queries there are. `outages` has
    calls wait together while a region or an account does not answer.
    """

    wire: Wire
    slots: FairSlots
    emit: Listener
    clock: Clock
    policy: RetryPolicy
    room: FairSlots = field(default_factory=lambda: FairSlots(_ROOM))
    turns: TurnBudget = field(default_factory=TurnBudget)
    outages: Outages = field(init=False)

    def __post_init__(self) -> None:
        """Make the breakers, all closed."""
        object.__setattr__(self, "outages", Outages(self.clock, self.slots, self.emit))

    def channel(
        self,
        service: str,
        region: str,
        credentials: Keys,
        *,
        account: str | None = None,
        max_rate: float | None = None,
        start: Learned | None = None,
        first: float | None = None,
    ) -> Channel:
        """Return a new channel with a pacer of its own: see `Pacer`."""
        pacer = Pacer(self.clock, max_rate=max_rate, start=start, first=first)
        return Channel(self, service, region, credentials, pacer, account)


@dataclass(frozen=True, slots=True)
class Channel:
    """The calls of one account to one service in one region.

    With a policy for `haste`, they can be done without, and are given up soon.
    """

    exchange: Exchange
    service: str
    region: str
    credentials: Keys
    pacer: Pacer
    account: str | None = None
    haste: RetryPolicy | None = None

    def hurried(self, attempts: int = _HURRIED.fault_attempts) -> Channel:
        """Return the same channel for calls that can be done without: it gives up soon."""
        return replace(self, haste=replace(_HURRIED, fault_attempts=attempts))

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
        about: str | None = None,
    ) -> T:
        """Return `read(answer)` of the client method `operation`, asking again where it helps.

        With a `place`, that is waited for, and held for what is returned until the caller gives
        it back. `about` is the account concerned, where that is not the channel's own.

        `read` raises `DamagedAnswerError` for an answer that is not what the API promises,
        which is then asked for again. Raises a `ServiceError` when that comes to nothing.
        """
        asking = _Asking(self, operation, about or self.account)
        return await call_patiently(
            lambda: asking.attempt(partial(self._attempt, asking, parameters, read, place)),
            policy=self.haste or self.exchange.policy,
            clock=asking.clock(),
            on_error=asking.failed,
        )

    async def ready(self) -> Any:
        """Return what signs the next request, and have a client that it leaves through."""
        timer = leave_seat_in(SLOW_SECONDS)
        try:
            signer = await self.credentials.current()
        finally:
            timer.cancel()
        await self.exchange.wire.open(self.service, self.region)
        return signer

    async def _attempt(
        self,
        asking: _Asking,
        parameters: dict[str, Any],
        read: Callable[[Any], T],
        place: Slot | None,
        passage: Passage,
    ) -> T:
        slots = self.exchange.slots
        slot = slots.slot((asking.account, self.region))

        async def admit() -> None:
            if place is not None:
                await place.acquire()
            if slots.waiting:
                self.exchange.outages.make_room()
            await slot.acquire()

        try:
            try:
                sent = await self.pacer.turn(admit)
                answer = await self._send(
                    asking.operation, parameters, asking.signer, passage, sent
                )
            finally:
                slot.release()
            return await self._read(partial(_read, read, answer, asking.signer), answer)
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

    def about(self, kind: type[EventT], operation: str, **more: str) -> EventT:
        """Return an event about a request of this channel."""
        return kind(
            service=self.service,
            operation=operation_name(operation),
            account=self.account,
            region=self.region,
            **more,
        )

    async def _send(
        self,
        operation: str,
        parameters: dict[str, Any],
        signer: Any,
        passage: Passage,
        sent: float,
    ) -> Any:
        """Make one call now, and note what it says about the pace and the credentials."""
        exchange = self.exchange
        call = Call(self.service, self.region, operation, parameters, self.account)
        try:
            answer = await exchange.outages.send(passage, lambda: self._ask(call, signer))
        except ThrottledError as error:
            exchange.emit(self.about(RequestThrottled, operation, code=error.code))
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
        except TimeoutError:
            self.pacer.unanswered()
            raise _too_slow(call, passage.seconds) from None
        except BaseException:
            self.pacer.unanswered()
            raise
        self.pacer.succeeded(sent)
        exchange.outages.answered(passage)
        return answer

    async def _ask(self, call: Call, signer: Any) -> Any:
        wire = _ShortWire(self.exchange.wire) if self.haste else self.exchange.wire
        self.exchange.emit(self.about(RequestSent, call.operation))
        return await wire.call(call, signer)


@dataclass(slots=True)
class _Asking:
    """One call with all its attempts, and what they have cost so far.

    Attributes:
        account: the account that it is about.
        shared_seconds: the time lost to failures that others share: no budget of the call's own
            is used up by it.
        faults, throttles: the failures of its own.
        timeouts: how many of its requests were not answered in time.
        signer: what the latest request was signed by.
    """

    channel: Channel
    operation: str
    account: str | None
    shared_seconds: float = 0.0
    faults: int = 0
    throttles: int = 0
    timeouts: int = 0
    signer: Any = None

    def clock(self) -> Clock:
        """Return a clock that stands still while the time is lost to shared failures."""
        clock = self.channel.exchange.clock
        return Clock(lambda: clock.now() - self.shared_seconds, clock.sleep)

    async def attempt(self, once: Callable[[Passage], Awaitable[T]]) -> T:
        """Return what `once` returns, which is repeated while its failures are shared."""
        channel, outages = self.channel, self.channel.exchange.outages
        now = channel.exchange.clock.now
        while True:
            self.signer = await channel.ready()
            began, before = now(), self.shared_seconds
            passage = await outages.enter(
                channel.service,
                channel.region,
                self.account,
                timeouts=self.timeouts,
                hurried=channel.haste is not None,
            )
            self.shared_seconds += now() - began
            try:
                return await once(passage)
            except RecalledError:
                pass
            except ServiceError as error:
                verdict = outages.failed(passage, error)
                if verdict is Verdict.OWN:
                    raise
                if verdict is Verdict.FINAL:
                    raise outages.final_error(passage, error) from error
                self._emit_retried(error)
            finally:
                outages.leave(passage)
            self.shared_seconds = before + now() - began

    def failed(self, error: ServiceError) -> None:
        """Note a failure of the call's own that is followed by another attempt."""
        self._emit_retried(error)
        if isinstance(error, ThrottledError):
            self.throttles += 1
            if self.throttles >= _THROTTLES_SEATED:
                leave_seat()
        elif isinstance(error, TransientError):
            self.faults += 1
            self.timeouts += error.code == SLOW_CODE
            if self.faults >= _FAULTS_SEATED:
                leave_seat()

    def _emit_retried(self, error: ServiceError) -> None:
        channel = self.channel
        channel.exchange.emit(channel.about(RequestRetried, self.operation, code=error.code))


def _too_slow(call: Call, seconds: float) -> TransientError:
    return TransientError(
        SLOW_CODE,
        f"no answer arrived in {seconds:.0f} seconds",
        operation=operation_name(call.operation),
        account=call.account,
        region=call.region,
    )


def _read(read: Callable[[Any], T], answer: Any, signer: Any) -> T:
    try:
        return read(answer)
    except DamagedAnswerError as error:
        if isinstance(answer, bytes):
            secrets = (getattr(signer, "secret_key", None), getattr(signer, "token", None))
            error.keep(answer, secrets)
        raise
