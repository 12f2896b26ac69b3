"""After a sweep that did not finish, targets that have waited longest are read first."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from harvester.aws.credentials import Credentials
from harvester.model import Target
from harvester.output.ages import Ages
from harvester.reading_order import ReadingOrder
from harvester.visit import Visit

_NEVER, _OLD, _NEW, _LARGE = (Target(name * 12, "eu-west-1") for name in ("1", "2", "3", "4"))
_AGES = Ages({_OLD: 10.0, _NEW: 20.0, _LARGE: 10.0})


class _NoCredentials:
    """Credentials that nobody asks for."""


def _visit(target: Target, pages: float = 0.0) -> Visit:
    credentials: Credentials = _NoCredentials()  # type: ignore[assignment]
    return Visit(target, credentials, pages=pages)


@asynccontextmanager
async def _ordering(
    patience: float = 60.0,
) -> AsyncIterator[tuple[MemoryObjectSendStream[Visit], MemoryObjectReceiveStream[Visit]]]:
    send, found = anyio.create_memory_object_stream[Visit](math.inf)
    waiting, receive = anyio.create_memory_object_stream[Visit](0)
    async with anyio.create_task_group() as group, receive, send:
        group.start_soon(ReadingOrder(_AGES, patience=patience).take, found, waiting)
        yield send, receive


async def test_oldest_come_first_once_all_are_found() -> None:
    async with _ordering() as (send, receive):
        for visit in (_visit(_NEW), _visit(_OLD), _visit(_LARGE, 30.0)):
            await send.send(visit)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyio.WouldBlock):
            receive.receive_nowait()
        await send.send(_visit(_NEVER))
        assert (await receive.receive()).target == _NEVER, "it does not wait for others"
        send.close()
        assert [visit.target async for visit in receive] == [_LARGE, _OLD, _NEW]


async def test_account_that_never_answers_does_not_hold_up_others_for_long() -> None:
    async with _ordering(patience=0.01) as (send, receive):
        for target in (_NEW, _OLD):
            await send.send(_visit(target))
        assert {(await receive.receive()).target for _ in range(2)} == {_OLD, _NEW}
        send.close()
