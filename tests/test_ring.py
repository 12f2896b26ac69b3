"""Texts that go from one process to another through memory that both have."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.model import Query, Target
from harvester.processes.link import Link
from harvester.processes.messages import Message, Stop, Wrote
from harvester.processes.program import _connection, link_of
from harvester.processes.ring import Ring

_QUERY = Query(Target("111122223333", "us-east-1"))
_SIZE = 4096


def _two_ends(size: int = _SIZE) -> tuple[Ring, Ring]:
    memory = os.memfd_create("test")
    try:
        os.ftruncate(memory, size)
        return Ring(memory), Ring(memory)
    finally:
        os.close(memory)


@given(st.lists(st.tuples(st.integers(0, _SIZE // 2), st.booleans()), max_size=60))
def test_what_is_put_in_comes_out_in_its_order(steps: list[tuple[int, bool]]) -> None:
    here, there = _two_ends()
    waiting: deque[bytes] = deque()
    spent: deque[int] = deque()
    for number, (length, lets_go) in enumerate(steps):
        text = bytes([number]) * length
        while not here.put(text):
            assert waiting or spent, "an empty ring has room for whatever fits"
            if waiting:
                _take(there, waiting, spent)
            else:
                here.free(spent.popleft())
        waiting.append(text)
        if lets_go:
            _take(there, waiting, spent)
    while waiting:
        _take(there, waiting, spent)
    here.close()
    there.close()


def _take(there: Ring, waiting: deque[bytes], spent: deque[int]) -> None:
    text = waiting.popleft()
    found, free = there.take(there.place, len(text))
    assert found == text
    spent.append(free)


def test_what_has_no_room_leaves_what_waits_as_it_is() -> None:
    here, there = _two_ends()
    assert here.put(b"a" * 2000)
    assert here.put(b"b" * 2000)
    assert not here.put(b"c" * 97), "but at the beginning, which is not free"
    assert there.take(1, 2000)[0] == b"a" * 2000
    assert there.take(2001, 2000)[0] == b"b" * 2000
    assert here.fits(2048)
    assert not here.fits(2049)
    here.close()
    there.close()


def test_one_text_is_never_taken_for_another() -> None:
    here, there = _two_ends()
    places = []
    for text in (b"untold", b"told"):
        places.append(here.place)
        assert here.put(text)
    with pytest.raises(RuntimeError, match="its text at 7"):
        there.take(places[1], 4)
    here.close()
    there.close()


@pytest.fixture
def links() -> Iterator[tuple[Link, Link]]:
    here, end = _connection()
    there = link_of(end)
    yield here, there
    here.close()
    there.close()


async def _settle() -> None:
    for _ in range(100):
        await anyio.lowlevel.checkpoint()


async def test_many_pages_wait_in_the_ring_and_the_others_until_they_are_heard(
    links: tuple[Link, Link],
) -> None:
    here, there = links
    posted: list[int] = []
    pages = [bytes([number]) * 1_000_000 for number in range(50)]

    async def say() -> None:
        for number, page in enumerate(pages):
            await there.post_in_turn(Wrote(_QUERY, str(number), {}), page)
            posted.append(number)

    async with anyio.create_task_group() as group:
        group.start_soon(there.carry)
        group.start_soon(here.carry)
        group.start_soon(say)
        await _settle()
        assert 10 <= len(posted) <= 17, "16 MiB"
        group.start_soon(there.receive)  # as a process does all the time
        heard: list[tuple[Message, bytes]] = []
        while len(heard) < len(pages):
            heard += await here.receive()
        group.cancel_scope.cancel()
    assert heard == [(Wrote(_QUERY, str(n), {}), page) for n, page in enumerate(pages)]


async def test_pages_without_a_finding_wait_as_well(links: tuple[Link, Link]) -> None:
    here, there = links
    posted: list[int] = []
    token = "A" * 10_000

    async def say() -> None:
        for number in range(3000):
            await there.post_in_turn(Wrote(_QUERY, token, {}), b"")
            posted.append(number)

    async with anyio.create_task_group() as group:
        group.start_soon(there.carry)
        group.start_soon(say)
        await _settle()
        assert 0 < len(posted) < 700, "some MiB wait to be heard"
        heard = 0
        while heard < 3000:
            heard += len(await here.receive())
        group.cancel_scope.cancel()


async def test_a_page_too_large_for_the_ring_goes_another_way(links: tuple[Link, Link]) -> None:
    here, there = links
    pages = [b"a" * 10, b"b" * (9 << 20), b"c" * 10]
    heard: list[bytes] = []
    async with anyio.create_task_group() as group:
        group.start_soon(there.carry)
        group.start_soon(here.carry)

        async def say() -> None:
            for page in pages:
                await there.post_in_turn(Wrote(_QUERY, None, {}), page)

        group.start_soon(say)
        while len(heard) < len(pages):
            heard += [text for _, text in await here.receive()]
        group.cancel_scope.cancel()
    assert heard == pages


async def test_who_hears_no_more_still_passes_on_what_waits(links: tuple[Link, Link]) -> None:
    here, there = links
    pages = [bytes([number]) * 4_000_000 for number in range(8)]
    heard: list[bytes] = []
    async with anyio.create_task_group() as carrying:
        carrying.start_soon(there.carry)
        carrying.start_soon(here.carry)
        async with anyio.create_task_group() as group:
            for page in pages:
                group.start_soon(there.post_in_turn, Wrote(_QUERY, None, {}), page)
            await _settle()
            there.hear_no_more()
            while len(heard) < len(pages):
                heard += [text for _, text in await here.receive()]
        carrying.cancel_scope.cancel()
    assert heard == pages


async def test_nobody_waits_for_room_that_a_dead_process_will_not_make(
    links: tuple[Link, Link],
) -> None:
    here, there = links
    here.post(Stop(0.0))
    async with anyio.create_task_group() as group:
        group.start_soon(here.carry)
        group.start_soon(there.carry)
        await here.flush()
        async with anyio.create_task_group() as saying:
            for _ in range(30):
                saying.start_soon(there.post_in_turn, Wrote(_QUERY, None, {}), bytes(1_000_000))
            await _settle()
            here.close()
            while await there.receive():
                pass
        group.cancel_scope.cancel()
