"""Seats of those who read: given up while a target waits, so that another one can be read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import anyio

from harvester.concurrency import plain_errors
from harvester.paging.slots import FairSlots, Slot

T = TypeVar("T")


def _nothing() -> None:
    """Have no seat to give up."""


_leave: ContextVar[Callable[[], None]] = ContextVar("leave", default=_nothing)


@contextmanager
def seated(leave: Callable[[], None]) -> Iterator[None]:
    """Have `leave` called in this block, and in tasks started in it, by `leave_seat`.

    It may be called more than once.
    """
    mark = _leave.set(leave)
    try:
        yield
    finally:
        _leave.reset(mark)


def current_leave() -> Callable[[], None]:
    """Return how to give up the seat of this task, for a task elsewhere."""
    return _leave.get()


def leave_seat() -> None:
    """Give up the seat: this target waits for a service that does not answer it for now.

    The target does not get another seat. It takes little: its calls have bounds of their own.
    """
    _leave.get()()


def leave_seat_in(seconds: float) -> asyncio.TimerHandle:
    """Give up this task's seat in so many seconds, unless the timer is cancelled before."""
    # The timer runs in a copy of this task's context: it knows whose seat to leave.
    return asyncio.get_running_loop().call_later(seconds, leave_seat)


async def each_seated(
    items: AsyncIterable[T], limit: int, do: Callable[[T], Awaitable[None]]
) -> None:
    """Await `do(item)` for every item, at most `limit` of them with a seat at a time.

    An item is taken only when there is a seat for it. The first exception cancels all, and is
    raised as itself where it is one of the project's own.
    """
    seats = FairSlots(limit)

    async def sit(seat: Slot, item: T) -> None:
        async with seat:
            with seated(seat.release):
                await do(item)

    async with plain_errors(), anyio.create_task_group() as group:
        seat = await _free_seat(seats)
        async for item in items:
            group.start_soon(sit, seat, item)
            seat = await _free_seat(seats)


async def _free_seat(seats: FairSlots) -> Slot:
    seat = seats.slot(None)
    await seat.acquire()
    return seat
