"""Lets calls through, or has them wait together while a region or an account does not answer."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Container, Hashable
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import anyio

from harvester.clock import Clock
from harvester.errors import (
    DamagedAnswerError,
    OutageError,
    ServiceError,
    ThrottledError,
    TransientError,
)
from harvester.events import CallsResumed, CallsSuspended, Listener
from harvester.paging.breaker import SLOW_SECONDS, Breaker, Flight, State, Verdict, few_of
from harvester.paging.retry import RetryPolicy
from harvester.paging.seats import leave_seat, leave_seat_in
from harvester.paging.slots import FairSlots, Slot

T = TypeVar("T")

_SEATED_SECONDS = 0.5


class RecalledError(Exception):
    """A request is not waited for any longer: it waits with the others, and counts for nothing."""


@dataclass(slots=True, eq=False)
class Passage:
    """One request's way past its breakers, from `Outages.enter` to `Outages.leave`.

    Attributes:
        flight: the request as the breakers know it.
        gates: those that it passed.
        seconds: the time after which it is slow, without an answer.
        timeouts: how many requests of the same call were without an answer before.
        suspect: its place among the requests that may not be answered either.
        noted: whether its failures count; they do not for one that can be done without.
        to_blame: the gate whose breaker says that it is not sent again.
    """

    flight: Flight
    gates: tuple[Gate, ...]
    seconds: float = SLOW_SECONDS
    timeouts: int = 0
    suspect: Slot | None = None
    noted: bool = True
    to_blame: Gate | None = None
    _scope: anyio.CancelScope | None = None

    def cut(self) -> None:
        """Wait for the answer no longer."""
        if self._scope is not None:
            self._scope.cancel()

    async def answer(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Return what `ask` returns, unless it is cut before.

        Raises:
            RecalledError: it is to wait with the others.
            TimeoutError: it was cut for another reason.
        """
        with anyio.CancelScope() as self._scope:
            return await ask()
        raise RecalledError if self.flight.recalled else TimeoutError


@dataclass(slots=True, eq=False)
class Gate:
    """A breaker, the requests that have passed it, and those that wait at it in their order.

    Attributes:
        region, account: the one that the requests share.
        described: the failures in a row, when the breaker last changed.
    """

    breaker: Breaker
    region: str | None
    account: str | None
    passages: dict[Flight, Passage] = field(default_factory=dict)
    waiting: OrderedDict[anyio.Event, Hashable] = field(default_factory=OrderedDict)
    described: str = ""

    def wake(self, number: int | None = None) -> None:
        """Wake those who wait longest, all of them where no `number` is given."""
        for turn in list(islice(self.waiting, number)):
            del self.waiting[turn]
            turn.set()

    async def turn(self, flight: Flight, seconds: float, *, again: bool) -> None:
        """Wait to be woken, for so many seconds at most; those who wait again come first."""
        turn = anyio.Event()
        self.waiting[turn] = self.breaker.witness(flight)
        if again:
            self.waiting.move_to_end(turn, last=False)
        try:
            with anyio.move_on_after(None if seconds == math.inf else seconds):
                await turn.wait()
        except BaseException:
            self.wake(1)  # this one may have been woken, or the only one with an end to its wait
            raise
        finally:
            self.waiting.pop(turn, None)

    def recall(self, slow: Container[Passage]) -> None:
        """Have the slow requests wait with the others."""
        for flight, passage in self.passages.items():
            if passage in slow:
                self.breaker.leave(flight)
                flight.recalled = True
                passage.cut()


class Outages:
    """The breakers of a run: one for each service and region, and one for each account.

    Args:
        clock: the time to go by, which is that of the event loop.
        slots: the requests in flight: slow ones make room there for those that wait.
        emit: is told when requests are suspended, and when they are resumed.
    """

    def __init__(self, clock: Clock, slots: FairSlots, emit: Listener) -> None:
        self._clock = clock
        self._slots = slots
        self._emit = emit
        self._policy = RetryPolicy()
        self._gates: dict[tuple[str, ...], Gate] = {}
        self._slow: dict[Passage, None] = {}
        self._half = max(1, slots.limit // 2)
        self._suspects = FairSlots(few_of(slots.limit))

    async def enter(
        self, service: str, region: str, account: str | None, *, timeouts: int, hurried: bool
    ) -> Passage:
        """Wait until a request may go, and note it.

        Where there were `timeouts` before, or a breaker is open, a part of the slots has to do for
        it and its like. One that is `hurried` can be done without. Raises OutageError where such
        a one would have to wait.
        """
        if account is None:
            return Passage(Flight("", (service, region)), (), noted=False)
        flight, gates = Flight(account, (service, region)), self._gates_of(service, region, account)
        suspect = self._suspects.slot((service, region))
        await self._pass(flight, gates, hurried=hurried)
        while not suspect.held and (timeouts or _is_open(gates)):
            for gate in gates:
                gate.wake(1)  # while this one waits elsewhere, another may go
            await suspect.acquire()
            if self._blocked(gates):
                suspect.release()
                await self._pass(flight, gates, hurried=hurried)
        seconds = max(gate.breaker.slow_seconds for gate in gates)
        passage = Passage(flight, gates, seconds, timeouts, suspect, noted=not hurried)
        for gate in gates:
            gate.breaker.enter(flight)
            gate.passages[flight] = passage
        return passage

    async def _pass(self, flight: Flight, gates: tuple[Gate, ...], *, hurried: bool) -> None:
        """Wait until all gates would let a request through."""
        passed: Gate | None = None
        while (blocked := self._blocked(gates)) is not None:
            gate, seconds = blocked
            if passed is not None and passed is not gate:
                passed.wake(1)  # it was this one's turn there, and is another's now
            if hurried:
                raise _refused(gate, flight)
            # Until the first answer nothing is wrong: that is waited for with a seat, for a moment.
            closed = gate.breaker.state is State.CLOSED
            timer = leave_seat_in(_SEATED_SECONDS if closed else 0.0)
            try:
                await gate.turn(flight, seconds, again=passed is gate)
            finally:
                timer.cancel()
            passed = gate

    def leave(self, passage: Passage) -> None:
        """Note that a request has ended, however it did."""
        for gate in passage.gates:
            gate.breaker.leave(passage.flight)
            gate.passages.pop(passage.flight, None)
            gate.wake(1)
        if passage.suspect is not None:
            passage.suspect.release()

    async def send(self, passage: Passage, ask: Callable[[], Awaitable[T]]) -> T:
        """Return what `ask` returns, which sends a request that has passed.

        Raises:
            RecalledError: it was not sent, or is not waited for any longer: it is to wait.
            TimeoutError: it was slow, and kept others from being sent.
        """
        if passage.flight.recalled:
            raise RecalledError
        passage.flight.sent = self._clock.now()
        # The timer's task context is this one's: it knows whose seat to leave.
        timer = asyncio.get_running_loop().call_later(passage.seconds, self._is_slow, passage)
        try:
            return await passage.answer(ask)
        finally:
            timer.cancel()
            self._slow.pop(passage, None)

    def answered(self, passage: Passage) -> None:
        """Note that a request was answered."""
        now = self._clock.now()
        for gate in passage.gates:
            suspended = gate.breaker.state is not State.CLOSED
            if gate.breaker.answered(passage.flight, now):
                gate.wake()
            if suspended:
                self._emit(
                    CallsResumed(
                        message=f"requests {gate.breaker.name} are answered again",
                        account=gate.account,
                        region=gate.region,
                    )
                )

    def failed(self, passage: Passage, error: ServiceError) -> Verdict:
        """Note that a request has failed, and return whose failure that is."""
        if isinstance(error, DamagedAnswerError) or not passage.noted:
            return Verdict.OWN
        if not isinstance(error, ThrottledError | TransientError):
            self.answered(passage)
            return Verdict.OWN
        now, worst = self._clock.now(), Verdict.OWN
        for gate in passage.gates:
            before = gate.breaker.state
            verdict = gate.breaker.failed(passage.flight, error, now)
            if gate.breaker.state is not before:
                self._changed(gate, now)
            if verdict is Verdict.FINAL:
                passage.to_blame = passage.to_blame or gate
            if worst is not Verdict.FINAL and verdict is not Verdict.OWN:
                worst = verdict
        return worst

    def final_error(self, passage: Passage, error: ServiceError) -> OutageError:
        """Return the error of a request that failed, with what it shares with others."""
        described = passage.to_blame.described if passage.to_blame is not None else ""
        return OutageError.of(error, f"{error.message.rstrip('.')}; {described}")

    def make_room(self) -> None:
        """Have a slow request end where slow ones hold more than half of the slots.

        The one whose call has had the fewest: so each is waited for in the end.
        """
        if len(self._slow) > self._half:
            passage = min(self._slow, key=lambda one: (one.timeouts, -(one.flight.sent or 0.0)))
            del self._slow[passage]
            passage.cut()

    def _is_slow(self, passage: Passage) -> None:
        leave_seat()
        self._slow[passage] = None
        now = self._clock.now()
        for gate in passage.gates if passage.noted else ():
            if gate.breaker.slow(now):
                self._changed(gate, now)
                gate.recall(self._slow)
            elif gate.breaker.state is State.OPEN or gate.breaker.is_last(passage.flight):
                passage.cut()
        if self._slots.waiting:
            self.make_room()

    def _changed(self, gate: Gate, now: float) -> None:
        """Do what the change of a breaker to open, or to its last requests, asks for."""
        breaker = gate.breaker
        gate.described = breaker.described(now, set(gate.waiting.values()))
        gate.wake()
        if breaker.state is State.LAST:
            return
        error = breaker.error
        why = f"{error.code}: {error.message}" if error is not None else "no answer arrived"
        self._emit(
            CallsSuspended(
                message=f"{gate.described} ({why}): they wait, and others are read",
                code=error.code if error is not None else "Timeout",
                account=gate.account,
                region=gate.region,
            )
        )

    def _blocked(self, gates: tuple[Gate, ...]) -> tuple[Gate, float] | None:
        """Return the first gate that lets nothing through, and for how long."""
        now = self._clock.now()
        for gate in gates:
            if (seconds := gate.breaker.wait(now)) > 0.0:
                return gate, seconds
        return None

    def _gates_of(self, service: str, region: str, account: str) -> tuple[Gate, ...]:
        place, one = (service, region), (account,)
        if place not in self._gates:
            self._gates[place] = self._gate(f"to {service} in {region}", region, None)
        if one not in self._gates:
            self._gates[one] = self._gate(f"for account {account}", None, account)
        return (self._gates[place], self._gates[one])

    def _gate(self, name: str, region: str | None, account: str | None) -> Gate:
        breaker = Breaker(
            name, by_account=account is None, limit=self._slots.limit, policy=self._policy
        )
        return Gate(breaker, region, account)


def _is_open(gates: tuple[Gate, ...]) -> bool:
    return any(gate.breaker.state is not State.CLOSED for gate in gates)


def _refused(gate: Gate, flight: Flight) -> OutageError:
    """Return the error of a request that does not wait while others do."""
    error, (service, region) = gate.breaker.error, flight.place
    return OutageError(
        error.code if error is not None else "Timeout",
        gate.described,
        operation=service,
        account=flight.account,
        region=region,
    )
