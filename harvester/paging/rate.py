# ruff: noqa: PLR2004 (what the figures are for stands beside them)
"""The rate a service grants, learned from which calls it answers and which it throttles."""

from __future__ import annotations

import math
from collections import deque

from harvester.paging.noise import NoiseTest


class RateLearner:
    """Paces one account and region, whose token bucket is unknown, just below its refill.

    Pure: times are seconds of any monotonic clock. Figures: tests/test_rate.py's simulation.

    - Ramp: the window of calls in flight grows with the answers, until the first throttle: the
      bucket is empty. What was in flight then tells the rate roughly; from there it climbs.
    - Between two throttles the bucket goes from empty to empty, so the answers in between are
      the refill, give or take one, whatever the burst. These bounds, from the latest throttle
      back to where they contradict each other, give the rate: one cut a round trip, then
      probing: 2 % a second at most, faster after a long calm.
    - Throttles with no answer in between halve the rate, down to a probe every six seconds.
    - Bounds that contradict each other again and again are not a bucket's, and no bucket is
      empty before its tenth call: such throttles are passed over (see `NoiseTest`).

    `max_rate` (calls a second) is never exceeded; `start`, the rate that an earlier run learned,
    is taken at the first throttle.
    """

    _START, _FLOOR, _PROBE = 10.0, 1.9, 1.0 / 6.0  # calls/s: at first; once answered; in a storm
    _CLIMB, _CLIMB_PER_CALL = 1.2, 0.1  # growth a second while searching; and for each call
    _BURST = 10  # of the smallest bucket

    def __init__(self, *, max_rate: float | None = None, start: float | None = None) -> None:
        self._gap = 1.0 / max_rate if max_rate else 0.0
        self._start, self._rate, self._ramping = start, self._START, True
        self._next = self._granted = self._cut = -math.inf
        self._sends: deque[float] = deque(maxlen=9)
        self._round_trip = self._calm = 0.0
        self._search = self._CLIMB  # a bound on the growth a second for each call/s; 0: settled
        self._sent = self._answered = self._since_cut = 0
        self._marks: deque[tuple[float, int]] = deque(maxlen=12)  # throttles: sent, answered then
        self._flight: tuple[float, int, int] | None = None  # pace, answers, throttles
        self._noise, self._full = NoiseTest(), math.inf  # until when no bucket can be empty

    @property
    def learned(self) -> float | None:
        """The rate in calls a second, for a later run's `start`; None before any throttle."""
        return None if self._ramping else self._rate

    @property
    def width(self) -> float:
        """How many calls the rate lets be in flight at a time; infinite while it is unknown."""
        return math.inf if self._ramping else self._rate * self._round_trip

    def wait(self, now: float) -> float:
        """Return for how long (0.5 s at most) not to ask for a slot, 0.0 if one is free."""
        return min(max(self._next - now, 0.0), 0.5)

    def reserve(self, now: float) -> float:
        """Return 0.0 if a call may go now, or for how long (0.5 s at most) not to ask again."""
        if now < self._next:
            return min(self._next - now, 0.5)
        if not self._ramping:  # time in which nobody wanted to call proves nothing
            step = min(now - self._granted, 2.0 / self._rate)
            self._calm += step
            self._rate = min(self._rate * math.exp(self._growth() * step), 1e6)
        self._granted = now
        self._sends.append(now)
        self._sent += 1
        if self._sent == self._BURST:
            self._full = now
        spacing = 1.0 / self._rate  # a late call may be caught up with, though not past the cap
        self._next = max(max(self._next, now - spacing) + spacing, now + self._gap)
        return 0.0

    def succeeded(self, now: float, sent: float) -> None:
        """Note that a call sent at `sent` was answered, with whatever but a throttle."""
        self._answered += 1
        self._since_cut += 1
        for i, (mark, answered) in enumerate(self._marks):
            if mark >= sent:  # sent before that throttle, answered after
                self._marks[i] = (mark, answered + 1)
        self._round_trip += (now - sent - self._round_trip) * (0.2 if self._round_trip else 1.0)
        if self._ramping:
            window = 1.5 + min(self._answered, 15) / 5.0 + max(self._answered - 15, 0) / 40.0
            self._rate = max(self._rate, window / max(self._round_trip, 1e-3))
        if self._noise.passing:
            if sent >= self._cut:
                self._pass_over(now, throttle=False)
        elif not self._ramping and sent >= self._cut:
            self._flight = None
            self._noise.agree()
            if self._rate < 0.5:  # a storm is over
                self._rate, self._search, self._next = 1.0, self._CLIMB, now
                self._marks.clear()
        elif self._flight and sent > self._marks[-1][0]:
            self._land(answers=1)

    def throttled(self, now: float, sent: float) -> None:
        """Note that a call sent at `sent` was throttled."""
        known, fresh = bool(self._marks), sent >= self._cut
        low, high, broken = self._bounds(sent)
        if not known or sent > self._marks[-1][0]:
            if known and not fresh:
                self._marks.pop()
            self._marks.append((sent, self._answered))
        if not fresh:
            self._land(throttles=1)
            return
        if self._noise.passing:
            self._pass_over(now, throttle=True)
        elif sent < self._full:
            self._noise.start()
            self._next = now + 1.0 / self._rate
        elif not known:
            pace = self._pace(now)
            self._cut_to(now, pace)
            self._flight, self._search, self._ramping = (pace, 0, 0), self._CLIMB, False
            self._land(throttles=1)
        elif (
            self._since_cut
            and self._calm > 0.8 * (now - self._cut)
            and self._noise.suspect(self._rate, contradiction=broken)
        ):
            self._rate, self._next = 3.0 * self._rate, now
        else:
            wide = high > 1.5 * low
            estimate = (low + high) / 2.0 * (0.9 if wide else 0.96) if high < math.inf else 0.0
            floor = self._FLOOR if self._since_cut > 2 else self._PROBE
            deepest = self._rate * (0.25 if self._search else 0.5)
            self._cut_to(now, max(deepest, min(0.9 * self._rate, estimate), floor))
            self._search = self._CLIMB_PER_CALL if wide else 0.0

    def _pace(self, now: float) -> float:
        pace = max(len(self._sends) - 1, 1) / max(now - self._sends[0], 1e-3)
        return min(self._rate, pace)

    def _cut_to(self, now: float, rate: float) -> None:
        self._cut, self._rate, self._next = now, rate, now + 1.0 / rate
        self._flight, self._calm, self._since_cut = None, 0.0, 0

    def _land(self, *, answers: int = 0, throttles: int = 0) -> None:
        """Note what became of a call in flight at the first throttle, and set the rate by it."""
        if not self._flight:
            return
        pace, ok, bad = self._flight[0], self._flight[1] + answers, self._flight[2] + throttles
        self._flight = (pace, ok, bad)
        self._rate = self._start or max(0.5 * pace * (ok + 0.25) / (ok + bad + 1), self._FLOOR)
        self._next = self._cut + max(1.0 / self._rate, self._round_trip)

    def _growth(self) -> float:
        if self._noise.passing:
            return 0.0
        if self._search:
            return min(self._CLIMB, self._search * self._rate)
        calm = min(max(self._calm - max(8.0, 60.0 / self._rate), 0.0), 36.0)
        return min(0.5, min(0.02, 0.002 * self._rate) * math.exp2(calm / 4.0))

    def _bounds(self, sent: float) -> tuple[float, float, bool]:
        """Return what the refill is between, and whether earlier throttles contradict that."""
        low, high = 0.0, math.inf
        for i in range(len(self._marks) - 1, -1, -1):
            took, passed = sent - self._marks[i][0], self._answered - self._marks[i][1]
            if took <= 0.0:
                continue
            if (passed - 1) / took > high or (passed + 1) / took < low:
                self._marks = deque(list(self._marks)[i + 1 :], self._marks.maxlen)
                fewer = (passed + 1 + self.width) / took < low  # even with those under way
                return low, high, fewer or (passed - 1) / took > high
            low, high = max(low, (passed - 1) / took), min(high, (passed + 1) / took)
        return low, high, False

    def _pass_over(self, now: float, *, throttle: bool) -> None:
        """Grow with an outcome amid noise, unless a bucket shows."""
        if not self._ramping:
            self._rate = min(self._rate * self._noise.growth(), 1e6)
        if not self._noise.excess(now, self._answered, self._rate, throttle=throttle):
            return
        rate = self._noise.give_way(now, self._answered, self._pace(now))
        self._ramping, self._search = False, self._CLIMB
        self._cut_to(now, max(rate, self._PROBE))
