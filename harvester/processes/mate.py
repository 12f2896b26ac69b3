"""One process that reads, seen from the first."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

import anyio
from anyio.abc import Process, TaskGroup

from harvester.clock import Clock
from harvester.events import Event, Listener, RequestsCounted, TargetWaiting
from harvester.model import Target
from harvester.processes.keys import Lender
from harvester.processes.link import Link
from harvester.processes.logs import say
from harvester.processes.messages import (
    Begun,
    Calls,
    Finished,
    Happened,
    Over,
    Replaced,
    Said,
    Stop,
    Wish,
    Wrote,
)
from harvester.processes.program import start_process
from harvester.processes.reading import Reading
from harvester.visit import Ended

_PARTING_SECONDS = 1.0
"""How long a process may take to end, beside the calls under way."""

_MOST_HELD = 8 << 20
"""Bytes of messages that may wait for the sink. Those that are heard together come on top: a
ring's worth at most. More are left with the process that read them."""

_BESIDE = 1 << 10
"""What a message takes beside its text, roughly: a page may have none."""

_PATIENCE = 60
"""The seconds of silence after which a process is taken to hang: it speaks twice a second."""


class Mate:
    """A process that reads.

    Attributes:
        link: messages to and from it.
        readings: the targets that it reads now.
        regions: those that it has called.
        alive: whether it can be given more to do.
        fate: once it died, how.
    """

    def __init__(
        self, process: Process, link: Link, emit: Listener, lender: Lender, clock: Clock
    ) -> None:
        self.link = link
        self.readings: dict[Target, Reading] = {}
        self.regions: set[str] = set()
        self.alive = True
        self.fate = ""
        self._process = process
        self._emit = emit
        self._lender = lender
        self._clock = clock
        self._calls = Calls()
        self._inbox: deque[tuple[Any, bytes]] = deque()
        self._queues: dict[Target, deque[tuple[Any, bytes]]] = {}  # what is not done yet
        self._held = 0  # bytes in the queues
        self._done = anyio.Event()
        self._cut_short: set[Target] = set()
        self._listens = False
        self._silent = 0

    @classmethod
    async def start(cls, emit: Listener, lender: Lender, clock: Clock) -> Self:
        """Start a process.

        Raises:
            StartError: it cannot be started.
        """
        process, link = await start_process()
        return cls(process, link, emit, lender, clock)

    def load(self) -> float:
        """Return how much it has to do, in pages as far as they are known."""
        return sum(reading.visit.load for reading in self.readings.values())

    async def read(self, reading: Reading) -> Ended | None:
        """Read a target; returns how that ended, None where the process died."""
        if not self.alive:
            return None
        target = reading.visit.target
        self.readings[target] = reading
        self.regions.add(target.region)
        self.link.post(reading.order())
        return await reading.ended()

    async def listen(self, group: TaskGroup) -> None:
        """Do what the process says, until it ends.

        `group` takes what must not hold that up: a target's pages wait for each other, and not
        for those of other targets, or a slow sink would take of all this process's pages as
        many as of one target.
        """
        while await self._hear():
            while self._inbox:
                message, text = self._inbox.popleft()
                match message:
                    case Wish():
                        group.start_soon(self._lend, message)
                    case Calls():
                        self._count(message)
                    case Said():
                        say(message)
                    case Happened():
                        self._happened(message.event)
                    case _:
                        self._hand_on(message, text, group)
            await self._until(lambda: self._held <= _MOST_HELD)
        self.alive = False
        await self._until(lambda: not self._queues)
        with anyio.move_on_after(_PARTING_SECONDS):
            await self._process.wait()
        # Whatever is left of it must not call on: others will read its targets.
        code = await self._end()
        self.fate = self.fate or _fate(code)
        for reading in self.readings.values():
            reading.lost()
        self.readings.clear()

    async def watch(self) -> None:
        """End the process, should it hang.

        Seconds are counted, not taken from a clock: while this process stands still, or has no
        ear for the other, that one is not silent.
        """
        while self.alive and self._silent < _PATIENCE:
            await self._clock.sleep(1.0)
            self._silent += self._listens
        if self.alive:
            self.fate = f"the process that read it said nothing for {_PATIENCE} seconds"
            await self._end()

    async def part(self, grace: float) -> None:
        """Have the process finish its calls under way within so many seconds, and end.

        It is gone, and the socket closed, also where the sink fails meanwhile.
        """
        try:
            if self.regions:  # else it has no calls under way, and perhaps has not even begun
                await self._hear_out(grace)
        finally:
            with anyio.CancelScope(shield=True):
                await self._end()
            self.link.close()

    def _hand_on(self, message: Any, text: bytes, group: TaskGroup) -> None:
        target = _target(message)
        self._held += _BESIDE + len(text)
        if target in self._queues:
            self._queues[target].append((message, text))
        else:
            self._queues[target] = deque([(message, text)])
            group.start_soon(self._work_off, target)

    async def _work_off(self, target: Target) -> None:
        queue = self._queues[target]
        while queue:
            message, text = queue.popleft()
            await self._do(message, text)
            self._held -= _BESIDE + len(text)
            self._done.set()
        del self._queues[target]
        self._done.set()

    async def _until(self, enough: Callable[[], bool]) -> None:
        """Wait until enough of what was said is done."""
        while not enough():
            self._done = anyio.Event()
            await self._done.wait()

    async def _hear_out(self, grace: float) -> None:
        self.link.post(Stop(grace))
        left = [one for queue in self._queues.values() for one in queue]
        self._inbox.extendleft(reversed(left))
        with anyio.move_on_after(grace + _PARTING_SECONDS):
            async with anyio.create_task_group() as group:
                group.start_soon(self.link.carry)
                while self._inbox or await self._hear():
                    await self._do_last(*self._inbox.popleft(), pages=grace > 0.0)
                await self._process.wait()
                group.cancel_scope.cancel()

    async def _hear(self) -> bool:
        self._listens = True
        try:
            self._inbox += await self.link.receive()
        finally:
            self._listens, self._silent = False, 0
        return bool(self._inbox)

    async def _do_last(self, message: Any, text: bytes, *, pages: bool) -> None:
        """Do what does not take time: count and, with `pages`, write where nobody has to wait."""
        match message:
            case Calls():
                self._count(message)
            case Said():
                say(message)
            case Happened():
                self._happened(message.event)
            case Wish():
                pass
            case _ if pages and _target(message) not in self._cut_short:
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await self._do(message, text)

    async def _do(self, message: Any, text: bytes) -> None:
        # Where one page is not written, none of those behind it may be: the cursor would pass
        # over it.
        target = _target(message)
        self._cut_short.add(target)
        reading = self.readings[target]
        match message:
            case Wrote():
                await reading.wrote(message, text)
            case Begun():
                reading.begun(message)
            case Replaced():
                await reading.replaced(message)
            case Finished():
                await reading.finished()
            case Over():
                del self.readings[target]
                reading.over(message, text)
        self._cut_short.discard(target)

    async def _lend(self, wish: Wish) -> None:
        self.link.post(await self._lender.grant(wish))

    def _happened(self, event: Event) -> None:
        if isinstance(event, TargetWaiting) and event.target in self.readings:
            self.readings[event.target].leave_seat()
        self._emit(event)

    def _count(self, calls: Calls) -> None:
        self._emit(
            RequestsCounted(
                requests=calls.requests - self._calls.requests,
                throttled=calls.throttled - self._calls.throttled,
                retries=calls.retries - self._calls.retries,
            )
        )
        self._calls = calls

    async def _end(self) -> int:
        """End the process, should it still run; return how it ended.

        Not while it may be ending by itself: the event loop would not learn how.
        """
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        return await self._process.wait()


def _target(message: Any) -> Target:
    """Return the target that a message is about."""
    match message:
        case Wrote():
            return message.query.target
        case Replaced():
            return message.by.target
    target: Target = message.target
    return target


def _fate(code: int) -> str:
    if code >= 0:
        return f"the process that read it ended with {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"the process that read it was ended by {name}"
