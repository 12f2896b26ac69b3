"""Small helpers of structured concurrency."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sized
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
import anyio.to_thread

from harvester.errors import HarvesterError

T = TypeVar("T")


async def each(items: Iterable[T], limit: int, do: Callable[[T], Awaitable[None]]) -> None:
    """Await `do(item)` for every item, at most `limit` at a time.

    Items are taken only as they are worked on, so an endless or costly iterable is fine. The
    first exception cancels the others, and is raised as itself where it is one of the
    project's own.
    """
    if isinstance(items, Sized):
        limit = min(limit, len(items))
    waiting: Iterator[T] = iter(items)

    async def worker() -> None:
        for item in waiting:
            await do(item)

    if limit <= 1:  # a task group costs more than the reading of an empty target
        await worker()
        return
    async with plain_errors(), anyio.create_task_group() as group:
        for _ in range(limit):
            group.start_soon(worker)


async def in_thread(do: Callable[[], T]) -> T:
    """Return `do()`, called in a thread that does not outlive this call.

    A task group waits for it: cancelled by asyncio's own means (its timeouts, say), a bare
    await would leave the thread to go on by itself.
    """
    results: list[T] = []
    failures: list[Exception] = []

    async def run() -> None:
        try:
            results.append(await anyio.to_thread.run_sync(do))
        except Exception as error:  # noqa: BLE001  # raised below, outside the group
            failures.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
    if failures:
        raise failures[0]
    return results[0]


@asynccontextmanager
async def plain_errors() -> AsyncIterator[None]:
    """Raise the project's own error where a task group wrapped it in an exception group.

    A group that holds anything else passes as it is: that is a defect, and all of it counts.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        if all(isinstance(leaf, HarvesterError) for leaf in leaves):
            raise leaves[0] from leaves[0].__cause__
        raise


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
