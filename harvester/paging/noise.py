# ruff: noqa: PLR2004 (what the figures are for stands beside them)
"""Throttles that the rate does not cause, told from those of a token bucket."""

from __future__ import annotations

import math


class NoiseTest:
    """Decides whether throttles are passed over, and at what rate to call meanwhile.

    - Suspicion: each throttle soon after a cut speaks against a bucket, more so where the
      answers between throttles fit no one refill. Answers clear it slowly.
    - While throttles are passed over, the rate grows with each call, and a cumulative sum of
      log likelihoods asks whether their share is larger than by chance. If so, there is a
      bucket too: the answers between two such moments are its refill, whatever the noise. The
      rate falls below that refill, and grows past it slowly at first.
    - The share by chance is learned below that refill. An excess there is chance as well.
    - The first times that a trial ends so, there was no noise: the bucket had changed, or was
      empty from the start.
    """

    _PLAIN, _CONTRADICTION, _ANSWER, _ENOUGH = 0.7, 1.0, 0.015, 1.8  # weights; to pass over
    _USUAL, _LEAST, _MOST, _EXCESS = 0.12, 0.02, 0.3, 0.2  # shares: at first; bounds; too many
    _ALARM, _ROW, _TRIALS = 4.0, 6, 2  # e**4 to 1; throttles in a row; trials that may fail
    _MEMORY, _EARLY = 80.0, 15  # calls: that the share reflects; that an unasked trial takes

    def __init__(self) -> None:
        self.passing = False
        self._suspicion = self._score = 0.0
        self._share = self._share_before = self._USUAL
        self._outcomes = self._row = self._failed = self._calls = 0
        self._since = (-math.inf, 0)  # when the excess began, and what was answered by then
        self._last = (-math.inf, 0)  # the same of the excess before
        self._refill = math.inf
        self._suspected: float | None = None  # the rate then; 0 unless by suspicion; None: proven

    def suspect(self, rate: float, *, contradiction: bool) -> bool:
        """Note a throttle soon after a cut; return whether to pass over throttles from now on."""
        self._suspicion += self._CONTRADICTION if contradiction else self._PLAIN
        if self._suspicion >= self._ENOUGH:
            self.start(rate)
        return self.passing

    def agree(self) -> None:
        """Note an answer while throttles are taken to be a bucket's."""
        self._suspicion = max(0.0, self._suspicion - self._ANSWER)

    def start(self, rate: float = 0.0) -> None:
        """Pass over throttles, on a suspicion that arose at `rate`."""
        self.passing, self._suspected, self._refill = True, rate, math.inf
        self._share = self._share_before = self._USUAL
        self._suspicion, self._score, self._row, self._outcomes = 0.0, 0.0, 0, 0

    def growth(self) -> float:
        """Return by what the rate grows with one more call: less, the more speaks against it."""
        if self._refill == math.inf:
            growth = 0.04
        else:
            self._calls += 1
            growth = 0.0015 * 2.0 ** min(self._calls / 45.0, 10.0)
        return 1.0 + min(growth, 0.04) * max(0.0, 1.0 - 2.0 * self._score / self._ALARM)

    def excess(self, now: float, answered: int, rate: float, *, throttle: bool) -> bool:
        """Note an outcome at `rate`; return whether there is more to the throttles than chance."""
        self._outcomes += 1
        self._row = self._row + 1 if throttle else 0
        if rate <= 0.97 * self._refill or self._refill == math.inf:
            self._share += (throttle - self._share) / self._MEMORY
        share = min(max(self._share, self._LEAST), self._MOST)
        more = share + self._EXCESS
        self._score += math.log(more / share if throttle else (1.0 - more) / (1.0 - share))
        if self._score <= 0.0:
            self._score, self._since, self._share_before = 0.0, (now, answered), self._share
        if self._score < self._ALARM:
            return False
        if rate <= self._refill < math.inf and self._share < self._MOST and self._row < self._ROW:
            self._share, self._score = 1.5 * self._share + 0.03, 0.0
            return False
        return True

    def give_way(self, now: float, answered: int, pace: float) -> float:
        """Take an excess for a bucket's; return the rate instead of `pace`."""
        self._share, self._score = self._share_before, self._ALARM / 2.0
        begin, passed = self._since if self._refill == math.inf else self._last
        refill = min(pace, (answered - passed) / max(now - begin, 1e-3))
        before, suspected = self._refill, self._suspected or 0.0
        at_trial = suspected or (self._suspected is not None and self._outcomes <= self._EARLY)
        self._last, self._suspected = (now, answered), None
        self._refill = max(0.5 * pace, refill)
        self._calls = 0 if abs(before / self._refill - 1.0) < 0.15 else 60  # confirmed: hold on
        if at_trial and self._failed < self._TRIALS:
            self._failed += 1
            self.passing = False
            return max(0.9 * suspected, 0.25 * pace, 0.9 * refill)
        if self._share < 0.005 or self._row >= self._ROW:
            self.passing = False
        return 0.85 * self._refill
