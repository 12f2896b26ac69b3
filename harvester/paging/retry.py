"""When to ask again, and how long to wait: full jitter, with separate budgets by kind of error."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState

from harvester.clock import Clock
from harvester.errors import (
    ExpiredCredentialsError,
    ServiceError,
    ThrottledError,
    TransientError,
)

T = TypeVar("T")

LASTING = frozenset(
    {"BodyTooLarge", "NameNotResolved", "ProxyUnreachable", "TLSFailed", "UnexpectedAnswer"}
)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The budgets of one call. Times are in seconds.

    A throttle is the service's way of asking for patience, not a fault: throttles have a
    budget of time only, and use up none of the budget for faults.

    Attributes:
        fault_attempts: calls that may end in a fault (5xx, transport, damaged body) before
            the call is given up.
        fault_seconds: time that failing calls, and the waits after them, may take together.
        name_attempts: the same as `fault_attempts` for a host name that does not resolve:
            that is how a region without the service looks. And for a certificate that is not
            to be trusted, a proxy that cannot be reached, a body without an end, and an answer
            of an unknown form: these last
            as well.
        renewals: how often one call's credentials may be called expired.
        throttle_seconds: time from the first throttle of a call to giving it up.
        base: the first wait lies between 0 and this; the bound doubles each time,
        fault_cap, throttle_cap: up to one of these. A `throttle_cap` of 0 leaves the wait
            after a throttle to a pacer, which knows more than one call does.
    """

    fault_attempts: int = 10
    fault_seconds: float = 120.0
    name_attempts: int = 3
    renewals: int = 3
    throttle_seconds: float = 900.0
    base: float = 0.2
    fault_cap: float = 8.0
    throttle_cap: float = 20.0


@dataclass(slots=True)
class _Course:
    """How one call has fared so far, as tenacity's rules."""

    policy: RetryPolicy
    clock: Clock
    draw: Callable[[float, float], float]
    begun: float
    throttles: int = 0
    faults: int = 0
    renewals: int = 0
    throttled_since: float | None = None
    fault_seconds: float = 0.0
    wait_bound: float = 0.0
    faulty: bool = False

    def retry(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        took = self.clock.now() - self.begun
        self.faulty = False
        if isinstance(error, ThrottledError):
            self.throttles += 1
            if self.throttled_since is None:
                self.throttled_since = self.clock.now()
            self.wait_bound = self._bound(self.throttles, self.policy.throttle_cap)
        elif isinstance(error, ExpiredCredentialsError):
            self.renewals += 1
            self.wait_bound = 0.0
        elif isinstance(error, TransientError):
            self.faults += 1
            self.faulty = True
            self.fault_seconds += took
            self.wait_bound = self._bound(self.faults, self.policy.fault_cap)
        else:
            return False
        return True

    def stop(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, ThrottledError):
            since = self.throttled_since
            return since is not None and self.clock.now() - since > self.policy.throttle_seconds
        if isinstance(error, ExpiredCredentialsError):
            return self.renewals > self.policy.renewals
        lasting = isinstance(error, TransientError) and error.code in LASTING
        attempts = self.policy.name_attempts if lasting else self.policy.fault_attempts
        return self.faults >= attempts or self.fault_seconds > self.policy.fault_seconds

    def wait(self, _state: RetryCallState) -> float:
        wait = self.draw(0.0, self.wait_bound)
        if self.faulty:
            self.fault_seconds += wait
        return wait

    def _bound(self, times: int, cap: float) -> float:
        return min(cap, self.policy.base * 2.0 ** min(times - 1, 30))


async def call_patiently(
    attempt: Callable[[], Awaitable[T]],
    *,
    policy: RetryPolicy,
    clock: Clock,
    on_error: Callable[[ServiceError], None] = lambda _: None,
    draw: Callable[[float, float], float] = random.uniform,
) -> T:
    """Return what `attempt` returns, asking again while the policy allows it.

    `on_error` hears of each error that leads to another attempt, before the wait. The last
    error is raised as it came.
    """
    begun = clock.now()
    try:
        return await attempt()  # as nearly all do: tenacity's steps cost a fifth of a call
    except ServiceError as error:
        first: ServiceError | None = error
    course = _Course(policy, clock, draw, begun)

    def before_sleep(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, ServiceError):
            on_error(error)

    async def pause(seconds: float) -> None:
        await clock.sleep(seconds)
        course.begun = clock.now()

    async def once() -> T:  # tenacity's first attempt is the one that failed
        nonlocal first
        if first is not None:
            error, first = first, None
            raise error
        return await attempt()

    retrying = AsyncRetrying(
        retry=course.retry,
        stop=course.stop,
        wait=course.wait,
        sleep=pause,
        before_sleep=before_sleep,
        reraise=True,
    )
    return await retrying(once)
