from __future__ import annotations

import asyncio
from collections import Counter

import anyio
import pytest

from harvester.turns import TurnBudget


class Time:
    """A clock that work moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def work(self, seconds: float) -> None:
        self.now += seconds


async def _turns_of(seconds: float, pieces: int) -> Counter[int]:
    """Return in which turn of the loop pieces of work ran that became ready in one turn."""
    time, ran, turn = Time(), Counter[int](), 0
    budget = TurnBudget(lambda: time.now)

    def count() -> None:
        nonlocal turn
        turn += 1
        if turn < 10_000:
            asyncio.get_running_loop().call_soon(count)

    def work() -> None:
        ran[turn] += 1
        time.work(seconds)

    async def one() -> None:
        await budget.run(work)

    async with anyio.create_task_group() as group:
        asyncio.get_running_loop().call_soon(count)
        for _ in range(pieces):
            group.start_soon(one)
    turn = 10_000
    return ran


async def test_long_pieces_of_work_run_one_in_each_turn_of_the_loop() -> None:
    ran = await _turns_of(0.02, 12)
    assert ran.total() == 12
    assert max(ran.values()) == 1


async def test_short_pieces_of_work_share_a_turn_up_to_the_budget() -> None:
    ran = await _turns_of(0.0021, 50)
    assert ran.total() == 50
    assert max(ran.values()) == 5


async def test_work_that_fails_counts_and_its_error_passes() -> None:
    time = Time()
    budget = TurnBudget(lambda: time.now)

    def fail() -> None:
        time.work(1.0)
        raise ValueError("no page")

    for _ in range(2):
        with pytest.raises(ValueError, match="no page"):
            await budget.run(fail)


async def test_a_cancelled_wait_still_runs_the_work() -> None:
    time, done = Time(), list[int]()
    budget = TurnBudget(lambda: time.now)

    def work() -> None:
        done.append(1)
        time.work(1.0)

    await budget.run(work)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await budget.run(work)
    assert len(done) == 2
