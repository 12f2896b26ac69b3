"""A small token bucket behind a channel, on two nights, by a clock that leaps over waits."""

from __future__ import annotations

from itertools import count
from typing import Any

import anyio

from harvester.clock import Clock
from harvester.errors import ThrottledError
from harvester.paging.channel import Call, Exchange
from harvester.paging.learned import Learned
from harvester.paging.retry import RetryPolicy
from harvester.paging.slots import FairSlots
from tests.leaping import run_leaping
from tests.test_rate import Bucket
from tests.test_splitting import TARGET, Keys

_LIST = "list_image_scan_findings"


class Small:
    """Grants what a bucket of two a second and three at once grants."""

    def __init__(self) -> None:
        self.bucket = Bucket(2.0, 3.0)
        self.calls = self.throttled = 0

    async def open(self, service: str, region: str) -> None:
        """Nothing is opened."""

    async def call(self, call: Call, signer: Any) -> bytes:  # noqa: ARG002  # as `Wire` has it
        await anyio.sleep(0.025)
        self.calls += 1
        granted = self.bucket(anyio.current_time())
        await anyio.sleep(0.025)
        if not granted:
            self.throttled += 1
            raise ThrottledError("Throttling", "no", operation=call.operation, status=429)
        return b"{}"


async def _night(calls: int, start: Learned | None) -> tuple[float, float, Learned | None]:
    """Make calls, eight at a time; return the useful share, the seconds, and what was learned."""
    service, ticks = Small(), count()
    # Some time passes between any two looks at a clock.
    clock = Clock(now=lambda: anyio.current_time() + 1e-6 * next(ticks))
    exchange = Exchange(service, FairSlots(64), lambda _: None, clock, RetryPolicy())
    channel = exchange.channel("imagebuilder", TARGET.region, Keys(), start=start)
    left = iter(range(calls))

    async def query() -> None:
        for _ in left:
            await channel.call(_LIST, {}, bytes)

    begin = anyio.current_time()
    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(query)
    useful = 1.0 - service.throttled / service.calls
    return useful, anyio.current_time() - begin, channel.pacer.learned


def test_the_second_night_behind_a_small_bucket_is_hardly_throttled() -> None:
    useful, seconds, learned = run_leaping(_night(200, None))
    assert useful >= 0.95
    assert seconds <= 1.2 * (200 - 3) / 2.0
    assert learned is not None
    assert learned.burst in (2.0, 3.0)

    for calls in (20, 60):
        useful, seconds, _ = run_leaping(_night(calls, learned))
        assert useful >= 0.95
        assert seconds <= 1.2 * (calls - 3) / 2.0 + 0.5
