"""What the throttles of a token bucket tell of its refill, whatever its burst."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple


class Bounds(NamedTuple):
    """What a refill is between, in calls a second; `broken` if earlier throttles contradict it."""

    low: float
    high: float
    broken: bool = False

    @property
    def middle(self) -> float:
        """The likeliest refill; 0.0 if nothing is known."""
        return (self.low + self.high) / 2.0 if self.high < math.inf else 0.0

    @property
    def doubt(self) -> float:
        """How far the refill may be from the middle, as a share of it."""
        return (self.high - self.low) / (self.high + self.low) if self.high < math.inf else 1.0


class ThrottleLog:
    """The latest throttles, and how many calls were answered between them.

    A throttle means an empty bucket. From one to the next it goes from empty to empty, so the
    answers in between are the refill, give or take one. Times are those of sending. That holds
    for a bucket that was never full meanwhile; see `refill` for one that may have been.
    """

    _KEPT, _ANSWERS = 12, 400

    def __init__(self) -> None:
        self.answered = 0
        self._marks: deque[tuple[float, int]] = deque(maxlen=self._KEPT)  # sent, answered by then
        self._answers: deque[float] = deque(maxlen=self._ANSWERS)  # when they were sent

    def answer(self, sent: float) -> None:
        """Note the answer to a call."""
        self.answered += 1
        self._answers.append(sent)
        for i, (mark, answered) in enumerate(self._marks):
            if mark >= sent:  # sent before that throttle, answered after
                self._marks[i] = (mark, answered + 1)

    def throttle(self, sent: float, *, fresh: bool) -> None:
        """Note a throttle; one that is not fresh was under way at the time of the latest."""
        if not self._marks or sent > self._marks[-1][0]:
            if self._marks and not fresh:
                self._marks.pop()
            self._marks.append((sent, self.answered))

    def forget(self) -> None:
        """Forget the throttles."""
        self._marks.clear()

    def bounds(self, sent: float, under_way: float) -> Bounds:
        """Return the bounds, if a call sent at `sent` is throttled.

        Goes back to where throttles contradict each other, and forgets those before.
        `under_way` calls may still be answered.
        """
        low, high = 0.0, math.inf
        for i in range(len(self._marks) - 1, -1, -1):
            took, passed = sent - self._marks[i][0], self.answered - self._marks[i][1]
            if took <= 0.0:
                continue
            least, most = (passed - 1) / took, (passed + 1) / took
            if least > high or most < low:
                self._marks = deque(list(self._marks)[i + 1 :], self._KEPT)
                return Bounds(low, high, least > high or most + under_way / took < low)
            low, high = max(low, least), min(high, most)
        return Bounds(low, high)

    def refill(self, sent: float, burst: float) -> float:
        """Return the refill of a bucket of that burst, if a call sent at `sent` is throttled.

        A full bucket loses tokens, so the answers since the latest throttle may be fewer than
        the refill. They are the burst and the refill since it was full for the last time. That
        was at some call, or never since that throttle: the largest of the refills that follow
        is the bound.
        """
        since = self._marks[-1][0] if self._marks else -math.inf
        answers = [at for at in self._answers if since < at < sent]
        left = 0.0 if burst > 1.0 else 1.0  # the part of a token that was there, 0 to 1: unknown
        refills = [(len(answers) - i + left - burst) / (sent - at) for i, at in enumerate(answers)]
        if self._marks and sent > since:
            refills.append((len(answers) + left) / (sent - since))
        return max(refills, default=0.0)
