"""A process that reads, seen from the first: its last words, and its death."""

from __future__ import annotations

import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import TaskGroup

from harvester.clock import Clock
from harvester.concurrency import plain_errors
from harvester.errors import OutputError
from harvester.model import Page, Query, Target
from harvester.output.quarantine import Quarantine
from harvester.output.sink import StreamSink
from harvester.paging.learned import Learned
from harvester.processes.keys import Lender
from harvester.processes.link import Link
from harvester.processes.mate import Mate
from harvester.processes.messages import Calls, Message, Order, Over, Stop, Wrote
from harvester.processes.reading import Place, Reading
from harvester.tally import Tally
from harvester.visit import Ended, Visit

_TARGET = Target("111122223333", "us-east-1")
_QUERY = Query(_TARGET)


class Process:
    """A process that ends when it is killed, or told to."""

    def __init__(self) -> None:
        self.returncode: int | None = None
        self.ended = anyio.Event()
        self.killed: Callable[[], None] = lambda: None

    def end(self, code: int) -> None:
        self.returncode = code
        self.ended.set()

    def kill(self) -> None:
        self.killed()
        self.end(-signal.SIGKILL)

    async def wait(self) -> int:
        await self.ended.wait()
        assert self.returncode is not None
        return self.returncode


class Sink(StreamSink):
    """Writes a page at once, or never, or fails."""

    withdraws = True

    def __init__(self) -> None:
        super().__init__()
        self.tokens: list[str | None] = []
        self.stands = False
        self.error: OutputError | None = None

    async def write(self, query: Query, page: Page) -> None:  # noqa: ARG002  # a sink's method
        if self.stands:
            await anyio.sleep_forever()
        if self.error is not None:
            raise self.error
        self.tokens.append(page.next_token)

    async def send(self, lines: list[bytes]) -> None:
        raise AssertionError(lines)


class Scene:
    """A mate, its process's end of the link, and one reading."""

    def __init__(self) -> None:
        here, there = socket.socketpair()
        self.process, self.sink = Process(), Sink()
        self.far = Link(there)
        self.process.killed = self.far.close
        self.tally = Tally(lambda: 0.0)
        self.tally.found(_TARGET)
        self.place = place = Place(self.sink, Quarantine(None), self.tally)
        clock = Clock(sleep=self._tick)
        self.mate = Mate(cast("Any", self.process), Link(here), self.tally, Lender(), clock)
        self.reading = Reading(place, Visit(_TARGET, cast("Any", None)))
        self.ended: list[Ended | None] = []
        self.ticks = 0

    async def _tick(self, seconds: float) -> None:
        """A second goes by, in which much may happen."""
        assert seconds == 1.0
        self.ticks += 1
        for _ in range(10):
            await anyio.lowlevel.checkpoint()

    async def over(self) -> None:
        """Wait until the mate is known to be dead."""
        with anyio.fail_after(10):
            while not self.ended:
                await anyio.lowlevel.checkpoint()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[TaskGroup]:
        """The mate listens, and one target is being read, until the block ends."""
        async with anyio.create_task_group() as group:
            group.start_soon(self.mate.link.carry)
            group.start_soon(self.mate.listen, group)
            group.start_soon(self._read)
            await self.hears(Order)
            yield group
            group.cancel_scope.cancel()

    async def _read(self) -> None:
        self.ended.append(await self.mate.read(self.reading))

    async def hears(self, kind: type[Message]) -> None:
        ((message, _),) = await self.far.receive()
        assert isinstance(message, kind)

    async def says(self, *messages: Message, text: bytes = b"{}\n") -> None:
        """The process says something, and some time goes by."""
        for message in messages:
            self.far.post(message, text if isinstance(message, Wrote) else b"")
        async with anyio.create_task_group() as group:
            group.start_soon(self.far.carry)
            await self.far.flush()
            group.cancel_scope.cancel()
        for _ in range(20):
            await anyio.lowlevel.checkpoint()

    async def parts(self, grace: float, *last: Message) -> None:
        """The mate is told to part; the process says its last words, and ends."""

        async def end() -> None:
            await self.hears(Stop)
            await self.says(*last)
            self.far.close()
            self.process.end(0)

        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as group:
                group.start_soon(end)
                group.start_soon(self.mate.part, grace)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    yield scene
    scene.far.close()
    scene.mate.link.close()


def _page(token: str | None) -> Wrote:
    return Wrote(_QUERY, token, {"HIGH": 1})


async def test_calls_and_pages_are_counted_and_an_end_is_told(scene: Scene) -> None:
    async with scene.working():
        await scene.says(Calls(2, 1, 1), _page("a"), Calls(5, 1, 3), _page(None))
        await scene.says(Over(_TARGET, None, Learned(2.0), ("a*",)))
    assert scene.sink.tokens == ["a", None]
    assert scene.ended == [Ended(None, Learned(2.0), ("a*",))]
    assert (scene.tally.requests, scene.tally.throttled, scene.tally.retries) == (5, 1, 3)
    await scene.parts(0.0)


async def test_pages_of_calls_under_way_are_written_at_the_end(scene: Scene) -> None:
    async with scene.working():
        await scene.says(_page("a"))
    await scene.parts(1.0, Calls(7), _page("b"), Over(_TARGET, None, None, None))
    assert scene.sink.tokens == ["a", "b"]
    assert scene.tally.requests == 7
    assert scene.tally.findings == 2


async def test_without_grace_they_are_not_but_calls_are_counted(scene: Scene) -> None:
    async with scene.working():
        await scene.says(_page("a"))
    await scene.parts(0.0, Calls(7), _page("b"))
    assert scene.sink.tokens == ["a"]
    assert scene.tally.requests == 7


async def test_a_page_behind_one_that_was_not_written_is_not_written(scene: Scene) -> None:
    async with scene.working():
        scene.sink.stands = True
        await scene.says(_page("a"), _page("b"))
    scene.sink.stands = False
    await scene.parts(1.0, Calls(7), _page("c"))
    assert scene.sink.tokens == []
    assert scene.tally.findings == 0
    assert scene.tally.requests == 7


async def test_what_was_heard_and_not_done_yet_is_done_first(scene: Scene) -> None:
    async with scene.working():
        pass
    await scene.says(_page("a"), _page("b"))
    await scene.parts(1.0, _page("c"))
    assert scene.sink.tokens == ["a", "b", "c"]


async def test_a_sink_that_takes_time_is_not_waited_for_at_the_end(scene: Scene) -> None:
    async with scene.working():
        await scene.says(_page("a"))
    scene.sink.stands = True
    await scene.parts(1.0, _page("b"), Calls(7), _page("c"))
    assert scene.sink.tokens == ["a"]
    assert scene.tally.requests == 7


async def test_a_sink_that_fails_is_told(scene: Scene) -> None:
    scene.sink.error = OutputError("no space")

    async def work() -> None:
        async with plain_errors(), scene.working():
            await scene.says(_page("a"))
            await anyio.sleep_forever()

    with pytest.raises(OutputError, match="no space"):
        await work()
    await scene.parts(0.0, Calls(7))


async def test_a_sink_that_fails_at_the_end_leaves_no_process(scene: Scene) -> None:
    async with scene.working():
        await scene.says(_page("a"))
    await scene.says(_page("b"))  # and it goes on running
    scene.sink.error = OutputError("no space")

    async def part() -> None:
        async with plain_errors():
            await scene.mate.part(1.0)

    with pytest.raises(OutputError, match="no space"):
        await part()
    assert scene.process.returncode == -signal.SIGKILL
    assert scene.mate.link.closed


async def test_a_process_that_dies_leaves_its_reading_to_others(scene: Scene) -> None:
    async with scene.working():
        await scene.says(_page("a"))
        scene.process.end(-signal.SIGSEGV)
        scene.far.close()
        await scene.over()
    assert scene.ended == [None]
    assert not scene.mate.alive
    assert "SIGSEGV" in scene.mate.fate
    assert await scene.mate.read(scene.reading) is None, "nobody waits for a dead one"
    await scene.mate.part(0.0)


async def test_a_process_that_says_nothing_for_a_minute_is_ended(scene: Scene) -> None:
    async with scene.working() as group:
        await scene.says(_page("a"))
        group.start_soon(scene.mate.watch)
        await scene.over()
    assert scene.ticks == 60
    assert scene.ended == [None]
    assert scene.process.returncode == -signal.SIGKILL
    assert scene.mate.fate == "the process that read it said nothing for 60 seconds"


async def test_one_that_speaks_now_and_then_is_not(scene: Scene) -> None:
    async with scene.working() as group:
        group.start_soon(scene.mate.watch)
        for number in range(20):
            before = scene.ticks
            while scene.ticks < before + 50:
                await anyio.lowlevel.checkpoint()
            await scene.says(Calls(number))
        assert scene.mate.alive
    assert scene.ticks >= 1000
    await scene.parts(0.0)


async def test_one_that_nobody_listens_to_is_not(scene: Scene) -> None:
    async with scene.working() as group:
        scene.sink.stands = True
        await scene.says(_page("a"), text=bytes(9 << 20))
        group.start_soon(scene.mate.watch)
        while scene.ticks < 200:
            await anyio.lowlevel.checkpoint()
        assert scene.mate.alive
    await scene.parts(0.0)


async def test_a_target_whose_page_waits_holds_up_no_other(scene: Scene) -> None:
    async with scene.working():
        scene.sink.stands = True
        await scene.says(_page("a"))
        scene.sink.stands = False
        await scene.says(Calls(3), _page("b"), *_pages_of_another(scene))
        assert scene.sink.tokens == ["x", None], "the others' in their order, and not b before a"
        assert scene.tally.requests == 3
    await scene.parts(1.0, _page("c"))
    assert scene.sink.tokens == ["x", None], "nor b or c after what a was cut short by"


def _pages_of_another(scene: Scene) -> list[Message]:
    other = Target("111122223333", "us-west-2")
    scene.tally.found(other)
    scene.mate.readings[other] = Reading(scene.place, Visit(other, cast("Any", None)))
    query = Query(other)
    return [Wrote(query, "x", {}), Wrote(query, None, {}), Over(other, None, None, None)]


async def test_one_that_has_nothing_to_do_is_not_waited_for(scene: Scene) -> None:
    await scene.mate.part(1.0)
    assert scene.process.returncode == -signal.SIGKILL
