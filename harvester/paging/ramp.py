"""How many calls may be under way while nothing is known of the bucket."""

from __future__ import annotations

import math
from collections import deque


class Ramp:
    """Bounds the calls under way until the first throttle: that costs them all.

    Two at first, three after two answers, so that a small bucket costs few calls; four after
    four, six after a hundred, and one more for every eight answers from then on. So 120 calls,
    twenty more than the largest burst to expect, are useful to 95 % all the same, and a service
    that grants much is soon used to the full.

    A rate that is `known`, in calls a second, may be kept from the start, with ten calls under
    way at most: it may be known wrongly. Where the bucket is known to be large, the `first` bound
    may be another.
    """

    _FEW, _STEP = 2.0, 2  # calls at the very first; answers until one more
    _FIRST, _SLOWLY, _SOON = 3.6, 1.0 / 55.0, 1.0 / 8.0  # calls; more of them for each answer
    _MANY = 100  # answers, from which on the bound grows soon
    _BURST = 10  # of the smallest bucket
    _LOOK = 0.05  # round trips from one look for an answer to the next
    _LOST = 3.0  # round trips and seconds, after which no answer is expected

    def __init__(self, known: float | None = None, first: float | None = None) -> None:
        self._known, self._first = known or 0.0, first or self._FIRST
        self._gently = not (known or first)
        self.opening: list[tuple[float, bool | None]] = []
        """When the first calls were sent, and whether each was granted, as far as known."""
        self._under_way: deque[float] = deque()
        self._sent = self._answered = 0
        self._tenth = math.inf

    def wait(self, now: float, round_trip: float) -> float:
        """Return 0.0 if another call may go, or for how long not to ask again."""
        lost = now - self._LOST * (round_trip + 1.0)
        while self._under_way and self._under_way[0] < lost:
            self._under_way.popleft()
        if len(self._under_way) < self._bound(round_trip):
            return 0.0
        expected = self._under_way[0] + 0.9 * round_trip
        return max(expected - now, self._LOOK * round_trip, 0.005)

    def sent(self, now: float) -> None:
        """Note a call."""
        self._under_way.append(now)
        self._sent += 1
        if self._sent <= self._BURST + self._FEW:
            self.opening.append((now, None))
        if self._sent == self._BURST:
            self._tenth = now

    def ended(self, sent: float | None, *, answered: bool) -> None:
        """Note that a call was answered, or throttled, or (where `sent` is None) never will be."""
        self._answered += answered
        if self._under_way:
            self._under_way.popleft()
        if sent is not None and (sent, None) in self.opening:
            self.opening[self.opening.index((sent, None))] = (sent, answered)

    def is_early(self, sent: float) -> bool:
        """Return whether a bucket that was full can not be empty yet for a call sent then."""
        return sent < self._tenth

    def _bound(self, round_trip: float) -> float:
        if self._gently and self._answered < 2 * self._STEP:
            return self._FEW + self._answered // self._STEP
        few = min(self._answered, self._MANY)
        bound = self._first + self._SLOWLY * few + self._SOON * (self._answered - few)
        return max(bound, min(self._known * round_trip, self._BURST))
