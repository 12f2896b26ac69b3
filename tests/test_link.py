"""A link between two processes: in order, no faster than it is taken, and without a hang."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from harvester.model import Query, Target
from harvester.processes.link import Link
from harvester.processes.messages import Calls, Said, Wrote

_QUERY = Query(Target("111122223333", "us-east-1"))


@pytest.fixture
def links() -> Iterator[tuple[Link, Link]]:
    here, there = map(Link, socket.socketpair())
    with closing(here), closing(there):
        yield here, there


async def _settle() -> None:
    for _ in range(50):
        await anyio.lowlevel.checkpoint()


async def test_both_sides_say_much_at_once_and_hear_all_of_it(links: tuple[Link, Link]) -> None:
    said = [(Wrote(_QUERY, str(number), {}), bytes([number]) * 300_000) for number in range(20)]
    heard: dict[Link, list[object]] = {link: [] for link in links}

    async def listen(link: Link) -> None:
        while len(heard[link]) < len(said):
            heard[link] += await link.receive()

    async def say(link: Link) -> None:
        for message, text in said:
            await link.post_in_turn(message, text)

    async with anyio.create_task_group() as carrying:
        for link in links:
            carrying.start_soon(link.carry)
        async with anyio.create_task_group() as group:
            for link in links:
                group.start_soon(listen, link)
                group.start_soon(say, link)
        carrying.cancel_scope.cancel()
    assert heard[links[0]] == heard[links[1]] == said


async def test_who_says_more_than_is_heard_waits_in_turn(links: tuple[Link, Link]) -> None:
    here, there = links
    posted: list[int] = []

    async def say(number: int) -> None:
        await here.post_in_turn(Wrote(_QUERY, str(number), {}), bytes(100_000))
        posted.append(number)

    async with anyio.create_task_group() as group:
        group.start_soon(here.carry)
        for number in range(200):
            group.start_soon(say, number)
        await _settle()
        assert 0 < len(posted) < 100, "a few MiB are on the way, and no more"
        heard: list[tuple[Any, bytes]] = []
        while len(heard) < 200:
            heard += await there.receive()
        await _settle()
        group.cancel_scope.cancel()
    assert posted == list(range(200))
    assert [message.next_token for message, _ in heard] == [str(number) for number in range(200)]


async def test_a_page_that_waits_for_room_is_said_though_all_is_cancelled(
    links: tuple[Link, Link],
) -> None:
    here, there = links
    large = bytes(6_000_000)

    async def say() -> None:
        for token in ("a", "b"):
            await here.post_in_turn(Wrote(_QUERY, token, {}), large)
            await anyio.lowlevel.checkpoint_if_cancelled()

    heard: list[str | None] = []

    async def listen() -> None:
        while batch := await there.receive():
            heard.extend(message.next_token for message, _ in batch)

    async with anyio.create_task_group() as carrying:
        carrying.start_soon(here.carry)
        async with anyio.create_task_group() as group:
            group.start_soon(say)
            await _settle()
            group.cancel_scope.cancel()
            carrying.start_soon(listen)
        await here.flush()
        here.close()
        carrying.cancel_scope.cancel()
    assert heard in (["a"], ["a", "b"])


async def test_no_message_is_lost_to_a_listener_that_is_cancelled(
    links: tuple[Link, Link],
) -> None:
    here, there = links
    heard: list[int] = []
    async with anyio.create_task_group() as carrying:
        carrying.start_soon(here.carry)
        for number in range(200):
            here.post(Calls(number), bytes(number * 50))
            with anyio.CancelScope() as scope:
                if number % 3:
                    scope.cancel()
                heard += [message.requests for message, _ in await there.receive()]
        while heard[-1] < 199:
            heard += [message.requests for message, _ in await there.receive()]
        carrying.cancel_scope.cancel()
    assert heard == list(range(200))


async def test_when_the_other_side_is_gone_nobody_waits(links: tuple[Link, Link]) -> None:
    here, there = links
    there.post(Said("harvester", 20, "last words"))
    async with anyio.create_task_group() as group:
        group.start_soon(there.carry)
        await there.flush()
        group.cancel_scope.cancel()
    there.close()
    async with anyio.create_task_group() as group:
        group.start_soon(here.carry)
        for _ in range(20):
            await here.post_in_turn(Wrote(_QUERY, None, {}), bytes(500_000))
        await here.flush()
        assert [message.text for message, _ in await here.receive()] == ["last words"]
        assert await here.receive() == []
