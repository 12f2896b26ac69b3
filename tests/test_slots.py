"""A bound on requests in flight that is never exceeded, fair, and loses no slot."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack

import anyio
import pytest
from anyio.lowlevel import checkpoint

from harvester.paging.slots import FairSlots


async def _all_are_free(slots: FairSlots, limit: int) -> None:
    """Fail where fewer than `limit` can be held at once, or more."""
    async with AsyncExitStack() as stack:
        with anyio.fail_after(1):
            for number in range(limit):
                await stack.enter_async_context(slots.slot(number))
        with anyio.move_on_after(0) as scope:
            async with slots.slot("one more"):
                pytest.fail("more than the limit")
        assert scope.cancelled_caught


async def _order_of_service(waiting: list[str]) -> list[str]:
    """The keys in the order they were served in by a single slot, which is taken at first."""
    slots, served = FairSlots(1), []

    async def want(key: str) -> None:
        async with slots.slot(key):
            served.append(key)
            await checkpoint()

    async with anyio.create_task_group() as group, slots.slot("first"):
        for key in waiting:
            group.start_soon(want, key)
        await anyio.wait_all_tasks_blocked()
    await _all_are_free(slots, 1)
    return served


@pytest.mark.parametrize("limit", [1, 2, 7])
async def test_the_bound_is_reached_and_not_exceeded(limit: int) -> None:
    slots, held, most = FairSlots(limit), 0, 0

    async def work(key: int) -> None:
        nonlocal held, most
        async with slots.slot(key):
            held += 1
            most = max(most, held)
            for _ in range(key % 3):
                await checkpoint()
            held -= 1

    async with anyio.create_task_group() as group:
        for number in range(200):
            group.start_soon(work, number % 11)
    assert most == limit
    await _all_are_free(slots, limit)


async def test_keys_are_served_in_rotation() -> None:
    served = await _order_of_service(["a"] * 50 + ["b"] + ["c"] * 3)

    assert "".join(served) == "abcacac" + "a" * 47


async def test_one_key_is_served_in_the_order_of_asking() -> None:
    slots = FairSlots(1)
    served: list[int] = []

    async def want(number: int) -> None:
        async with slots.slot("key"):
            served.append(number)

    async with anyio.create_task_group() as group, slots.slot("key"):
        for number in range(10):
            group.start_soon(want, number)
            await anyio.wait_all_tasks_blocked()
    assert served == list(range(10))


async def test_a_key_that_comes_late_does_not_wait_for_the_many_before_it() -> None:
    slots, turns = FairSlots(1), Counter[str]()

    async def want(key: str) -> None:
        async with slots.slot(key):
            turns[key] += 1
            await checkpoint()

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(want, "many")
        await checkpoint()
        for _ in range(5):
            before = turns["many"]
            await want("late")
            assert turns["many"] - before <= 3
    assert turns == {"many": 50, "late": 5}


async def test_an_error_in_the_block_gives_the_slot_back() -> None:
    slots = FairSlots(1)
    with pytest.raises(ValueError, match="inside"):
        async with slots.slot("key"):
            raise ValueError("inside")

    await _all_are_free(slots, 1)


async def test_only_what_is_held_is_given_back() -> None:
    slots = FairSlots(1)
    slot = slots.slot("key")
    slot.release()
    await slot.acquire()
    slot.release()
    slot.release()

    await _all_are_free(slots, 1)


async def test_cancelled_while_waiting() -> None:
    slots = FairSlots(1)
    async with slots.slot("holder"):
        with anyio.move_on_after(0) as scope:
            async with slots.slot("waiter"):
                pytest.fail("it is taken")
        assert scope.cancelled_caught

    await _all_are_free(slots, 1)


@pytest.mark.parametrize("others", [0, 1, 3])
async def test_cancelled_in_the_moment_of_the_hand_over(others: int) -> None:
    slots, served = FairSlots(1), []

    async def want(key: int) -> None:
        async with slots.slot(key):
            served.append(key)

    holder = slots.slot("holder")
    await holder.__aenter__()
    tasks = [asyncio.create_task(want(number)) for number in range(others + 1)]
    await anyio.wait_all_tasks_blocked()
    await holder.__aexit__(None, None, None)  # hands the slot to the first waiter, which is …
    tasks[0].cancel()  # … cancelled before it could run
    await asyncio.gather(*tasks, return_exceptions=True)

    assert served in ([*range(1, others + 1)], [*range(others + 1)])
    await _all_are_free(slots, 1)


@pytest.mark.parametrize("seed", range(150))
async def test_cancelling_at_random_loses_no_slot(seed: int) -> None:
    asyncio.get_running_loop().set_debug(True)
    rng = random.Random(seed)
    limit = rng.randint(1, 4)
    slots, held, scopes = FairSlots(limit), 0, list[anyio.CancelScope]()

    async def work(scope: anyio.CancelScope) -> None:
        nonlocal held
        with scope:
            for _ in range(rng.randint(1, 3)):
                for _ in range(rng.randint(0, 3)):
                    await checkpoint()
                async with slots.slot(rng.randint(0, 3)):
                    held += 1
                    try:
                        assert held <= limit
                        for _ in range(rng.randint(0, 3)):
                            await checkpoint()
                    finally:
                        held -= 1

    async def cancel(tasks: list[asyncio.Task[None]]) -> None:
        for _ in range(15):
            for _ in range(rng.randint(0, 2)):
                await checkpoint()
            rng.choice(scopes).cancel()
            rng.choice(tasks).cancel()

    scopes += [anyio.CancelScope() for _ in range(30)]
    tasks = [asyncio.create_task(work(scope)) for scope in scopes]
    await cancel(tasks)
    ended = await asyncio.gather(*tasks, return_exceptions=True)

    assert all(one is None or isinstance(one, asyncio.CancelledError) for one in ended)
    await _all_are_free(slots, limit)
