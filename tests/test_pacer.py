"""The pace of one target, by a clock that does not tick by itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from harvester.clock import Clock
from harvester.paging.pacer import Pacer


@dataclass
class Time:
    now: float = 1000.0
    sleeps: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.sleeps.append(seconds)
        self.now += seconds

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now, self.sleep)


async def admit() -> None:
    """Nothing else is needed."""


@pytest.mark.parametrize("rate", [0.5, 1.0, 3.0, 100.0])
async def test_calls_never_outrun_the_cap(rate: float) -> None:
    time = Time()
    pacer = Pacer(time.clock, max_rate=rate)
    sent = []
    for _ in range(50):
        await pacer.turn(admit)
        pacer.succeeded(time.now)
        sent.append(time.now)

    gaps = [after - before for before, after in pairwise(sent)]
    assert min(gaps) >= 1 / rate - 1e-9


async def test_the_first_call_goes_at_once() -> None:
    time = Time()
    await Pacer(time.clock).turn(admit)

    assert time.sleeps == []


async def test_after_a_throttle_the_next_call_waits() -> None:
    time = Time()
    pacer = Pacer(time.clock)
    await pacer.turn(admit)
    pacer.throttled(time.now)
    await pacer.turn(admit)

    assert time.now > 1000.0


async def test_calls_that_were_held_up_together_do_not_leave_together() -> None:
    time = Time()
    pacer = Pacer(time.clock, max_rate=10.0, first=4.0)
    sent: list[float] = []

    async def held_up() -> None:
        time.now += 3.0 if not sent else 0.0

    for _ in range(4):
        await pacer.turn(held_up)
        sent.append(time.now)

    assert [round(after - before, 3) for before, after in pairwise(sent)] == [0.1, 0.1, 0.1]
