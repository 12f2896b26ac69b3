"""The pace behind a small token bucket, while it is being learned or taken from an earlier run."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from harvester.paging.bucket import BucketFilter
from harvester.paging.learned import Learned


class Verdict(Enum):
    """The reason why the pace is no longer left to the hypotheses."""

    BUCKET = "the bucket is known"
    NOISE = "the throttles are noise"
    STORM = "nothing is granted"


class SmallBucketPace:
    """Sends each call as soon as a bucket is likely enough to grant it.

    - A bucket of which nothing is known: likely means 0.4 at first, since one bold call tells
      noise and fast buckets from slow ones, and more with each throttle, up to 0.93. A long row
      of grants lowers it again: at a pace that is too slow nothing is learned.
    - A bucket that an earlier run learned: likely means 0.88, so that nothing but the burst at
      once and then a pace 3 % below the refill is tried, for 20 calls and as many round trips:
      a run that ends by then is not throttled at all.

    Finding out the bucket costs four to six throttles, one to three of them before anything is
    known. So a first run is useful to 95 % if it makes some 200 calls or more; at 40 calls it is
    useful to 88 to 93 %. A burst of one allows no jitter: its pace is lower by as much as the
    jitter is of the spacing.
    """

    _CHANCES, _KNOWN = (0.4, 0.75, 0.88, 0.93), 0.88
    _ROW, _BOLDER, _BOLDEST = 8, 0.008, 0.4  # grants in a row; less for each more; less at most
    _ODDS, _THROTTLES = 1.7, 3  # of noise
    _SPREAD, _LEAST, _MOST, _TRUSTED = 0.08, 24, 100, 20  # outcomes until the bucket is known
    _CAREFUL, _MODEST = 0.2, 0.15  # quantiles of the refill: to go on with; to remember
    _STORM = 8  # throttles in a row
    _FEW, _MANY = 4.0, 10.0  # calls under way at most
    _LOST = 3.0  # round trips and seconds, after which no outcome is expected

    def __init__(self, now: float, known: Learned | None = None) -> None:
        self._filter = BucketFilter(now, known)
        self._known = known
        self._losses = self._row = self._refused = 0

    @classmethod
    def after(cls, calls: Iterable[tuple[float, bool | None]], jitter: float) -> SmallBucketPace:
        """Return the pace after the first calls: when each was sent, and whether granted."""
        calls = tuple(calls)
        pace = cls(calls[0][0])
        for sent, _ in calls:
            pace.sent(sent)
        for sent, granted in calls:
            if granted is not None:
                pace._filter.ended(sent, granted=granted, jitter=jitter)
        return pace

    @property
    def rate(self) -> float:
        """The likeliest refill."""
        return self._filter.refill()

    @property
    def learned(self) -> Learned:
        """The bucket for the next run, on the safe side."""
        if self._known and not self._filter.throttles:
            return self._known
        return Learned(self._filter.refill(self._MODEST), self._filter.burst)

    @property
    def settled(self) -> Learned:
        """The bucket to go on with."""
        if self._known and not self._filter.throttles:
            return self._known
        return Learned(self._filter.refill(self._CAREFUL), self._filter.burst)

    @property
    def is_unproven(self) -> bool:
        """Whether nothing but an earlier run says that the refill is not larger."""
        return self._known is not None and not self._filter.throttles

    def wait(self, now: float, round_trip: float, jitter: float) -> float:
        """Return 0.0 if a call may go now, or for how long not to ask again."""
        while self._filter.under_way and self._is_lost(now, round_trip):
            self._filter.ended(self._filter.oldest, granted=None, jitter=jitter)
        if self._filter.under_way >= max(self._FEW, min(self._MANY, self.rate * round_trip)):
            return max(0.05 * round_trip, 0.005)
        return self._filter.wait(now, self._chance, jitter)

    def sent(self, now: float) -> None:
        """Note a call."""
        self._filter.sent(now)

    def unanswered(self, jitter: float) -> None:
        """Note that a call has ended without an outcome."""
        if self._filter.under_way:
            self._filter.ended(self._filter.oldest, granted=None, jitter=jitter)

    def ended(
        self, sent: float, *, granted: bool, paced: bool, jitter: float, round_trip: float
    ) -> Verdict | None:
        """Note the outcome of a call, `paced` unless it was sent before this pace began."""
        self._losses += paced and not granted
        self._row = self._row + 1 if granted else 0
        self._refused = 0 if granted else self._refused + 1
        self._filter.ended(sent, granted=granted, jitter=jitter)
        if self._filter.odds > self._ODDS and self._filter.throttles >= self._THROTTLES:
            return Verdict.NOISE
        if self._refused >= self._STORM:
            return Verdict.STORM
        outcomes = self._filter.outcomes
        if self._known:
            enough = outcomes >= self._TRUSTED * (1.0 + self._known.rate * round_trip)
        else:
            enough = outcomes >= self._LEAST and self._filter.spread < self._SPREAD
            enough = enough or outcomes >= self._MOST
        return Verdict.BUCKET if enough else None

    @property
    def _chance(self) -> float:
        if self._known:
            return self._KNOWN
        bolder = self._BOLDER * max(self._row - self._ROW, 0)
        return self._CHANCES[min(self._losses, len(self._CHANCES) - 1)] - min(bolder, self._BOLDEST)

    def _is_lost(self, now: float, round_trip: float) -> bool:
        return self._filter.oldest < now - self._LOST * (round_trip + 1.0)
