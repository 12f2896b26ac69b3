"""When to ask again, how often and after what wait, by a clock that does not tick by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester import errors
from harvester.clock import Clock
from harvester.paging.retry import RetryPolicy, call_patiently


def _error(kind: type[errors.ServiceError], code: str = "Code") -> errors.ServiceError:
    return kind(code, "message", operation="Operation")


THROTTLED = _error(errors.ThrottledError)
FAULT = _error(errors.TransientError)
DAMAGED = _error(errors.DamagedAnswerError)
UNREACHABLE = _error(errors.UnreachableError, "Unreachable")
NO_NAME = _error(errors.UnreachableError, "NameNotResolved")
ENDLESS = _error(errors.DamagedAnswerError, "BodyTooLarge")
NO_TRUST = _error(errors.UnreachableError, "TLSFailed")
EXPIRED = _error(errors.ExpiredCredentialsError)


def _highest(low: float, high: float) -> float:
    del low
    return high


def _lowest(low: float, high: float) -> float:
    del high
    return low


@dataclass
class Trial:
    """A call that ends as scripted, and all that can be seen of it."""

    script: Sequence[BaseException]
    seconds: float = 0.0
    draw: Callable[[float, float], float] = _lowest
    time: float = 1000.0
    calls: int = 0
    sleeps: list[float] = field(default_factory=list)
    bounds: list[tuple[float, float]] = field(default_factory=list)
    heard: list[errors.ServiceError] = field(default_factory=list)

    async def run(self, **policy: Any) -> str:
        return await call_patiently(
            self._attempt,
            policy=RetryPolicy(**policy),
            clock=Clock(lambda: self.time, self._sleep),
            on_error=self.heard.append,
            draw=self._draw,
        )

    def _attempt(self) -> Awaitable[str]:
        async def attempt() -> str:
            self.calls += 1
            self.time += self.seconds
            if self.calls <= len(self.script):
                raise self.script[self.calls - 1]
            return "answer"

        return attempt()

    async def _sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.time += seconds

    def _draw(self, low: float, high: float) -> float:
        self.bounds.append((low, high))
        return self.draw(low, high)


async def test_an_answer_at_once_is_neither_waited_for_nor_heard_of() -> None:
    trial = Trial([])

    assert await trial.run() == "answer"
    assert (trial.calls, trial.sleeps, trial.heard) == (1, [], [])


@pytest.mark.parametrize(
    ("error", "policy", "survived"),
    [
        (FAULT, {"fault_attempts": 5}, 4),
        (DAMAGED, {"fault_attempts": 5}, 4),
        (UNREACHABLE, {"fault_attempts": 5, "name_attempts": 2}, 4),
        (FAULT, {"fault_attempts": 1}, 0),
        (NO_NAME, {"fault_attempts": 5, "name_attempts": 3}, 2),
        (NO_TRUST, {"fault_attempts": 5, "name_attempts": 3}, 2),
        (ENDLESS, {"fault_attempts": 5, "name_attempts": 3}, 2),
        (EXPIRED, {"renewals": 3}, 3),
        (EXPIRED, {"renewals": 0}, 0),
    ],
)
async def test_both_sides_of_each_budget_of_attempts(
    error: errors.ServiceError, policy: dict[str, int], survived: int
) -> None:
    enough = Trial([error] * survived)
    assert await enough.run(**policy) == "answer"
    assert enough.heard == [error] * survived

    too_many = Trial([error] * (survived + 1))
    with pytest.raises(errors.ServiceError) as caught:
        await too_many.run(**policy)
    assert caught.value is error, "the last error as it came"
    assert too_many.calls == survived + 1
    assert too_many.heard == [error] * survived, "what leads to no further attempt is not heard"
    assert len(too_many.sleeps) == survived


async def test_throttles_have_a_budget_of_time_alone() -> None:
    patient = Trial([THROTTLED] * 1000)
    assert await patient.run(fault_attempts=1, renewals=0) == "answer"

    # The first is heard of at second 1; from there, 60 more are allowed.
    assert await Trial([THROTTLED] * 61, seconds=1.0).run(throttle_seconds=60) == "answer"
    with pytest.raises(errors.ThrottledError):
        await Trial([THROTTLED] * 62, seconds=1.0).run(throttle_seconds=60)


async def test_the_waits_after_throttles_count_in_their_time() -> None:
    trial = Trial([THROTTLED] * 1000, draw=_highest)

    with pytest.raises(errors.ThrottledError):
        await trial.run(throttle_seconds=60, base=10, throttle_cap=10)
    assert trial.time == 1000 + 70


async def test_faults_have_a_budget_of_time_too() -> None:
    policy = {"fault_attempts": 100, "fault_seconds": 120.0}
    assert await Trial([FAULT] * 4, seconds=30).run(**policy) == "answer"

    slow = Trial([FAULT] * 5, seconds=30)
    with pytest.raises(errors.TransientError):
        await slow.run(**policy)
    assert slow.calls == 5


async def test_the_waits_after_faults_count_in_their_time() -> None:
    # RetryPolicy: "time that failing calls, and the waits after them, may take together".
    trial = Trial([FAULT] * 100, draw=_highest)

    with pytest.raises(errors.TransientError):
        await trial.run(fault_attempts=100, fault_seconds=60, base=10, fault_cap=10)
    assert trial.time <= 1000 + 70


async def test_time_spent_on_throttles_is_not_the_faults() -> None:
    script = [error for _ in range(9) for error in (THROTTLED, THROTTLED, FAULT)]
    trial = Trial(script, seconds=10, draw=_highest)

    assert await trial.run(fault_attempts=10, fault_seconds=150, throttle_seconds=900) == "answer"


@given(
    st.permutations([FAULT] * 9 + [EXPIRED] * 3 + [THROTTLED] * 40),
    st.sampled_from([_lowest, _highest]),
)
async def test_no_kind_of_error_uses_up_the_budget_of_another(
    script: list[BaseException], draw: Callable[[float, float], float]
) -> None:
    trial = Trial(script, draw=draw)

    assert await trial.run(throttle_seconds=3600) == "answer"
    assert trial.heard == script


@given(st.permutations([FAULT] * 10 + [EXPIRED] * 3 + [THROTTLED] * 20))
async def test_a_fault_too_many_ends_it_whatever_came_between(script: list[BaseException]) -> None:
    trial = Trial(script)

    with pytest.raises(errors.TransientError):
        await trial.run()
    assert script[: trial.calls].count(FAULT) == 10


async def test_waits_are_drawn_from_nothing_to_a_bound_that_doubles_up_to_its_cap() -> None:
    trial = Trial([FAULT] * 6 + [THROTTLED] * 8, draw=_highest)
    await trial.run(base=0.5, fault_cap=4, throttle_cap=20)

    faults, throttles = trial.bounds[:6], trial.bounds[6:]
    assert faults == [(0, bound) for bound in (0.5, 1, 2, 4, 4, 4)]
    assert throttles == [(0, bound) for bound in (0.5, 1, 2, 4, 8, 16, 20, 20)]
    assert trial.sleeps == [high for _, high in trial.bounds]


async def test_a_thousand_throttles_overflow_nothing() -> None:
    trial = Trial([THROTTLED] * 5000)
    await trial.run()

    assert max(high for _, high in trial.bounds) == RetryPolicy().throttle_cap


async def test_renewed_credentials_are_tried_at_once() -> None:
    trial = Trial([FAULT, EXPIRED, EXPIRED], draw=_highest)
    await trial.run()

    assert trial.sleeps[1:] == [0, 0]


@pytest.mark.parametrize(
    "error",
    [
        _error(errors.RefusedError),
        _error(errors.TokenRefusedError),
        _error(errors.ChainError),
        _error(errors.ServiceError),
        errors.StartError("no credentials"),
        errors.OutputError("disk full"),
        ValueError("a defect"),
        asyncio.CancelledError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_asking_again_would_not_change_is_asked_once(error: BaseException) -> None:
    trial = Trial([error])

    with pytest.raises(type(error)) as caught:
        await trial.run()
    assert caught.value is error
    assert (trial.calls, trial.sleeps, trial.heard) == (1, [], [])


async def test_a_refusal_after_throttles_ends_it() -> None:
    trial = Trial([THROTTLED, FAULT, _error(errors.RefusedError)])

    with pytest.raises(errors.RefusedError):
        await trial.run()
    assert trial.heard == [THROTTLED, FAULT]


async def test_concurrent_calls_share_no_budget() -> None:
    trials = [Trial([FAULT] * 9) for _ in range(20)]

    assert await asyncio.gather(*(trial.run() for trial in trials)) == ["answer"] * 20
