"""Decides when calls that share a region or an account wait for a failure that they share."""

from __future__ import annotations

import math
from collections.abc import Hashable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import Enum

from harvester.errors import ServiceError, ThrottledError
from harvester.paging.retry import LASTING, RetryPolicy

FAILURES = 5
"""Calls that fail in a row before a breaker opens."""

SLOW_SECONDS = 3.0
"""How long a call may be without an answer before it is taken to be slow, at least."""

SLOW_CODE = "Timeout"
"""The code of the error where no answer arrived in time."""

_SLOW_TIMES = 4.0
"""The same, in times of the usual round trip."""

_STORM_SECONDS = 20.0
"""How long all calls must be throttled, once one has been answered, before a breaker opens.

An account whose bucket is empty is answered now and then, however slowly it refills."""

_ROUNDS_AS_LONG = 3
_PROBES_THROTTLED = 2
_ROUNDING = 0.05


def few_of(limit: int) -> int:
    """Return how many requests may be in flight that are not likely to be answered."""
    return max(1, min(limit // 2, max(2, limit // 4)))


class State(Enum):
    """Whether calls may go."""

    CLOSED = "closed"
    OPEN = "open"
    LAST = "last"


class Verdict(Enum):
    """Whose failure a failed call is."""

    OWN = "own"
    """The call's own: it counts against the call's own budget."""

    SHARED = "shared"
    """That of all calls: this one waits with them, and counts against nothing."""

    FINAL = "final"
    """That of all calls, and their patience is over: this call is not sent again."""


@dataclass(slots=True, eq=False)
class Flight:
    """One call that was let through.

    Attributes:
        account: the account that it is about.
        place: the service and region that it is sent to.
        sent: when it was sent, None while it waits for its turn.
        recalled: it is not to be sent, or not waited for any longer: it waits with the others.
    """

    account: str
    place: tuple[str, str]
    sent: float | None = None
    recalled: bool = False


@dataclass(slots=True)
class _Outage:
    """Failures in a row, with no answer among them."""

    since: float
    throttle: bool
    opened: float = math.inf
    witnesses: set[Hashable] = field(default_factory=set)
    failures: int = 0
    probes: int = 0
    error: ServiceError | None = None


class Breaker:
    """The health of what some calls share: a service in a region, or an account.

    Pure: `now` is in seconds of any monotonic clock, and nothing here waits.

    - Closed: calls go. Those to a region that has answered nothing yet are few at a time.
    - Open, once `FAILURES` calls in a row have failed in the same way (throttled, or without a
      good answer), for three accounts at least (two regions, where an account is shared); or
      once calls for so many are slow and nothing is answered. Calls wait, but for a few probes
      now and then, which are given up when they are slow. The first answer closes the breaker.
    - Last, when the probes have used up the budgets of one call's `policy`: each call that waits,
      or comes later, is sent once and no more. So none fails that was not tried, and the first
      answer still closes the breaker.

    Args:
        name: which requests are concerned, for messages: `to imagebuilder in eu-west-1`.
        by_account: the witnesses are accounts; else they are regions.
        limit: requests in flight, of all calls of the run.
        policy: the budgets.
    """

    def __init__(self, name: str, *, by_account: bool, limit: int, policy: RetryPolicy) -> None:
        self.name = name
        self.state = State.CLOSED
        self.flights: dict[Flight, bool] = {}  # and whether it is the last of its call
        self._by_account = by_account
        self._policy = policy
        self._witnesses = 3 if by_account else 2
        self._few = few_of(limit)
        self._proven = not by_account
        self._answered = -math.inf
        self._round_trip = 0.0
        self._outage: _Outage | None = None
        self._next = -math.inf

    @property
    def slow_seconds(self) -> float:
        """How long a call may be without an answer before it is slow; for probes, ever longer."""
        seconds = max(SLOW_SECONDS, _SLOW_TIMES * self._round_trip)
        if self.state is State.OPEN and self._outage is not None:
            seconds *= 2.0 ** min(self._outage.probes // _ROUNDS_AS_LONG, 30)
        return seconds

    @property
    def error(self) -> ServiceError | None:
        """The last error of the failures in a row."""
        return self._outage.error if self._outage else None

    def wait(self, now: float) -> float:
        """Return 0.0 if a call may go, or for how long not to ask; infinite: until a change."""
        if self.state is State.CLOSED and self._proven:
            return 0.0
        if len(self.flights) >= self._most:
            return math.inf
        return max(0.0, self._next - now) if self.state is State.OPEN else 0.0

    def enter(self, flight: Flight) -> None:
        """Note that a call was let through."""
        self.flights[flight] = self.state is State.LAST

    def leave(self, flight: Flight) -> None:
        """Note that a call has ended, however it did."""
        self.flights.pop(flight, None)

    def answered(self, flight: Flight, now: float) -> bool:
        """Note that a call was answered; return whether that closed the breaker."""
        opened = self.state is not State.CLOSED or not self._proven
        self.state, self._outage, self._proven = State.CLOSED, None, True
        self._answered = now
        if flight.sent is not None:
            took = now - flight.sent
            self._round_trip += (took - self._round_trip) * (0.2 if self._round_trip else 1.0)
        return opened

    def failed(self, flight: Flight, error: ServiceError, now: float) -> Verdict:
        """Note that a call has failed, and return whose failure that is.

        The error is a throttle or a transient one: any other is an answer.
        """
        witness = self.witness(flight)
        outage = self._noted(error, now)
        outage.witnesses.add(witness)
        outage.failures += 1
        outage.error = error
        if self.is_last(flight):
            return Verdict.FINAL
        if self.state is State.CLOSED:
            if self._is_shared(outage, now):
                self._open(outage, now, now)
        elif self.state is State.OPEN and now >= self._next:
            self._probe_failed(outage, now)
        return Verdict.OWN if self.state is State.CLOSED else Verdict.SHARED

    def slow(self, now: float) -> bool:
        """Look at the calls without an answer; return whether that opened the breaker."""
        if self.state is not State.CLOSED:
            return False
        after = now - self.slow_seconds + _ROUNDING
        slow = {one: one.sent for one in self.flights if one.sent is not None and one.sent <= after}
        witnesses = {self.witness(one) for one in slow}
        since = min(slow.values(), default=now)
        # Where few calls are let through at first, they may be for fewer accounts.
        enough = self._witnesses if self._proven else min(self._witnesses, self._few)
        if len(witnesses) < enough or self._answered >= since:
            return False
        if self._outage is None or self._outage.throttle:
            self._outage = _Outage(since, throttle=False)
        self._outage.witnesses |= witnesses
        self._open(self._outage, since, now)
        return True

    def is_last(self, flight: Flight) -> bool:
        """Return whether a call is not to be sent again if it fails now."""
        return self.state is State.LAST and self.flights.get(flight, False)

    def witness(self, flight: Flight) -> Hashable:
        """Return whose failure a failure of this call would be: an account's or a region's."""
        return flight.account if self._by_account else flight.place

    def described(self, now: float, waiting: AbstractSet[Hashable]) -> str:
        """Return one clause on the failures in a row; `waiting` are more that are concerned."""
        outage = self._outage or _Outage(now, throttle=False)
        under_way = {self.witness(one) for one in self.flights}
        concerned = len(outage.witnesses | waiting | under_way)
        kind = "account" if self._by_account else "region"
        verb = "was throttled" if outage.throttle else "failed"
        return (
            f"every request {self.name} {verb} for {max(1.0, now - outage.since):.0f} s, "
            f"{concerned} {kind}{'s' if concerned != 1 else ''} concerned"
        )

    @property
    def _most(self) -> int:
        """How many calls may be let through at a time, where not all are."""
        throttled = self.state is State.OPEN and self._outage is not None and self._outage.throttle
        return min(self._few, _PROBES_THROTTLED) if throttled else self._few

    def _noted(self, error: ServiceError, now: float) -> _Outage:
        throttle = isinstance(error, ThrottledError)
        outage = self._outage
        if outage is None or (outage.throttle != throttle and self.state is State.CLOSED):
            outage = self._outage = _Outage(now, throttle)
        outage.throttle = throttle
        return outage

    def _is_shared(self, outage: _Outage, now: float) -> bool:
        enough = outage.failures >= FAILURES and len(outage.witnesses) >= self._witnesses
        if outage.throttle and self._proven:
            return enough and now - outage.since >= _STORM_SECONDS
        return enough

    def _open(self, outage: _Outage, since: float, now: float) -> None:
        self.state = State.OPEN
        outage.opened, self._next = since, now + self._policy.base
        # Those that were let through and not sent yet go back, and wait with the others.
        for flight in [one for one in self.flights if one.sent is None]:
            flight.recalled = True
            del self.flights[flight]

    def _probe_failed(self, outage: _Outage, now: float) -> None:
        # Calls that were under way together count once: the next probe goes some time later.
        outage.probes += 1
        policy, spent = self._policy, now - outage.opened
        longest = policy.fault_cap if outage.throttle else policy.fault_cap / 2.0
        gap = min(longest, policy.base * 2.0 ** min(outage.probes, 30))
        # What hangs takes its time, and leaves a place to be tried by others.
        self._next = now + (
            policy.base if outage.error is not None and outage.error.code == SLOW_CODE else gap
        )
        if outage.throttle:
            over = spent > policy.throttle_seconds
        else:
            lasting = outage.error is not None and outage.error.code in LASTING
            most = policy.name_attempts if lasting else policy.fault_attempts
            over = outage.probes >= most or spent > policy.fault_seconds
        if over:
            self.state = State.LAST
