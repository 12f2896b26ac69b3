"""Hypotheses about a small token bucket, weighed by the calls that it grants and throttles."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from harvester.paging.learned import Learned

_LEAST, _MOST, _STEP = 0.4, 300.0, 1.06  # refills, in calls a second, and from one to the next
_BURSTS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_SHARES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)  # of calls that noise may throttle
_ERROR = 0.02  # the share of outcomes that a right hypothesis may get wrong
_BLUR = 0.05  # tokens: how exactly a hypothesis counts, besides the jitter
_SURE = -1.5  # log odds for noise at least: what speaks against it is soon outweighed
_NEGLIGIBLE = 1e-6  # times the weight of the likeliest hypothesis: dropped
_EMPTY = 0.95  # tokens at most after a throttle
_TRUST, _DEVIATION = 0.92, 0.03  # the weight of what an earlier run learned; its error
_LOWER, _UPPER = 0.15, 0.7  # quantiles; above them lies all that was never tried
_SAFE = 0.3  # the quantile of the burst
_INSTANT = 1e-4  # seconds that are not worth waiting for


@dataclass(slots=True)
class _Hypothesis:
    """A bucket, its tokens after the latest outcome, and its weight."""

    refill: float
    burst: float
    weight: float
    tokens: float


@dataclass(slots=True)
class _Call:
    """A call that is under way or waits for an earlier one; its outcome None if that is unknown."""

    sent: float
    granted: bool | None = None
    over: bool = False


class BucketFilter:
    """Weighs token buckets, and noise, against the outcomes of calls, in the order of sending.

    Each hypothesis counts its own tokens and so predicts every outcome; where it is wrong, its
    weight falls. A throttle empties all buckets, so that small errors do not add up. Noise is
    the rival: throttles that are independent of the rate, any share of the calls.

    Args:
        now: when the bucket is full.
        known: a bucket that gets most of the weight.
    """

    def __init__(self, now: float, known: Learned | None = None) -> None:
        self.outcomes = self.throttles = 0
        self.odds = 0.0
        """The logarithm of the odds for noise, against all buckets."""
        self._at = now
        self._calls: deque[_Call] = deque()
        share = (1.0 - _TRUST) if known else 1.0
        grid = [(refill, burst) for burst in _BURSTS for refill in _ladder()]
        self._buckets = [_Hypothesis(r, b, share / len(grid), b) for r, b in grid]
        if known:
            self._buckets += _about(known)
        self._shares = [1.0 / len(_SHARES)] * len(_SHARES)

    @property
    def under_way(self) -> int:
        """How many calls wait for their outcome, or for that of an earlier call."""
        return len(self._calls)

    @property
    def oldest(self) -> float:
        """When the first of these was sent."""
        return self._calls[0].sent

    def sent(self, now: float) -> None:
        """Note a call."""
        self._calls.append(_Call(now))

    def ended(self, sent: float, *, granted: bool | None, jitter: float) -> None:
        """Note the outcome of the call sent at `sent`, None if it is not known.

        `jitter` is by how many seconds the time from sending to arrival varies.
        """
        call = next((one for one in self._calls if one.sent == sent and not one.over), None)
        if call is None:
            return
        call.granted, call.over = granted, True
        while self._calls and self._calls[0].over:
            self._weigh(self._calls.popleft(), jitter)

    def wait(self, now: float, chance: float, jitter: float) -> float:
        """Return the seconds until a call is granted with probability `chance` by a bucket."""
        ready = [(self._ready(bucket, jitter) - now, bucket.weight) for bucket in self._buckets]
        wait = _quantile(ready, chance)
        return wait if wait > _INSTANT else 0.0

    def refill(self, share: float = 0.5) -> float:
        """Return the refill that is exceeded with probability 1 - `share`."""
        return _quantile([(b.refill, b.weight) for b in self._buckets], share)

    @property
    def spread(self) -> float:
        """The error of the refill, as a share of it: half of the range of the middle weights."""
        return 0.5 * math.log(self.refill(_UPPER) / self.refill(_LOWER))

    @property
    def burst(self) -> float:
        """The burst, on the safe side."""
        return _quantile([(b.burst, b.weight) for b in self._buckets], _SAFE)

    def _ready(self, bucket: _Hypothesis, jitter: float) -> float:
        """Return when a bucket has a token for one more call than are under way."""
        tokens, at = bucket.tokens, self._at
        for call in self._calls:
            if call.sent > at:
                tokens = min(tokens + bucket.refill * (call.sent - at), bucket.burst)
                at = call.sent
            if tokens >= 1.0:
                tokens -= 1.0
        enough = 1.0 + _BLUR + jitter * bucket.refill if tokens < bucket.burst else 1.0
        return at + max(enough - tokens, 0.0) / bucket.refill

    def _weigh(self, call: _Call, jitter: float) -> None:
        took, self._at = max(call.sent - self._at, 0.0), max(call.sent, self._at)
        for bucket in self._buckets:
            tokens = bucket.tokens + bucket.refill * took
            surplus = (tokens - 1.0) / (_BLUR + jitter * bucket.refill)  # -1: surely throttled
            tokens = min(tokens, bucket.burst)
            if call.granted is False:
                bucket.tokens, likely = min(tokens, _EMPTY), 0.5 - 0.5 * surplus
            else:
                bucket.tokens, likely = max(tokens - 1.0, 0.0), 0.5 + 0.5 * surplus
            if call.granted is not None:
                bucket.weight *= _ERROR + (1.0 - 2.0 * _ERROR) * min(max(likely, 0.0), 1.0)
        if call.granted is not None:
            self._compare(granted=call.granted)

    def _compare(self, *, granted: bool) -> None:
        """Normalize the weights, and take the evidence for noise."""
        least = _NEGLIGIBLE * max(b.weight for b in self._buckets)
        self._buckets = [b for b in self._buckets if b.weight > least]
        evidence = sum(b.weight for b in self._buckets)
        for bucket in self._buckets:
            bucket.weight /= evidence
        shares = [
            weight * (1.0 - share if granted else share)
            for weight, share in zip(self._shares, _SHARES, strict=True)
        ]
        self.odds = max(self.odds + math.log(sum(shares) / evidence), _SURE)
        self._shares = [weight / sum(shares) for weight in shares]
        self.outcomes += 1
        self.throttles += not granted


def _ladder() -> Iterator[float]:
    refill = _LEAST
    while refill <= _MOST:
        yield refill
        refill *= _STEP


def _about(known: Learned) -> list[_Hypothesis]:
    """Return hypotheses about what an earlier run learned, give or take its error."""
    burst = known.burst or 1.0
    steps = [step / 3.0 for step in range(-6, 7)]  # standard deviations
    total = sum(math.exp(-step * step / 2.0) for step in steps)
    return [
        _Hypothesis(
            known.rate * (1.0 + _DEVIATION * step),
            burst,
            _TRUST * math.exp(-step * step / 2.0) / total,
            burst,
        )
        for step in steps
    ]


def _quantile(weighted: list[tuple[float, float]], share: float) -> float:
    """Return the least value that has `share` of the weight at or below it."""
    weighted.sort()
    totals = accumulate(weight for _, weight in weighted)
    at = next((i for i, total in enumerate(totals) if total >= share), -1)
    return weighted[at][0]
