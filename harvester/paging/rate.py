"""The rate a service grants, learned from which calls it answers and which it throttles."""

from __future__ import annotations

import math
from collections import deque

from harvester.paging.learned import Learned
from harvester.paging.noise import NoiseTest
from harvester.paging.ramp import Ramp
from harvester.paging.small import SmallBucketPace, Verdict
from harvester.paging.throttles import Bounds, ThrottleLog


class RateLearner:
    """Paces one account and region, whose token bucket is unknown, just below its refill.

    Pure: times are seconds of any monotonic clock. Figures: tests/test_rate.py's simulation.

    - Ramp: the calls under way are bounded, not their rate (see `Ramp`), up to the first
      throttle: the bucket is empty.
    - Landing: a round trip without calls. What became of those under way gives a first guess.
    - Search: an empty bucket answers no more than its refill. So the answers since then prove a
      refill, and the rate is a good deal more than that, until the next throttle.
    - Hold: the throttles bound the refill (see `ThrottleLog`). The rate is a little below their
      middle and grows: the less, the surer it is; fast after a long calm.
    - A throttle with no answer before it lowers the rate, down to a probe every six seconds.
      After three in a row, the first answer means that a storm is over: all begins anew.
    - Throttles that no bucket explains are passed over (see `NoiseTest`).
    - A throttle within the first ten calls means a small bucket or noise: hypotheses about both
      set the pace until one is left (see `SmallBucketPace`). From then on each throttle tells
      the refill (see `ThrottleLog.refill`), and late calls are caught up with only as far as
      the burst allows.

    `max_rate` (calls a second) is never exceeded; `start` is what an earlier run learned. With
    a burst, the hypotheses begin with it. A rate alone is the first guess after the ramp, unless
    what became of the calls under way contradicts it.
    """

    _GUESS = 5.4  # calls/s, divided by the calls lost and the cube root of the round trip
    _CAREFUL = 0.8  # the share that is taken of what the calls under way show
    _BOLD, _BOLD_TOGETHER = 2.3, 1.5  # times what is proven; the same for several under way
    _MARGIN, _DOUBT_MARGIN = 0.03, 0.4  # below the middle: at least; as a share of the doubt
    _DOUBT = 0.25  # above which the search goes on
    _SMALL_DOUBT, _CALL_GROWTH = 0.1, 0.05  # of a small bucket; growth at most for each call
    _SMALL_CALM, _FLOOR = 60.0, 0.95  # calls, as above; times the rate that was held until then
    _GROWTH, _LEAST_DOUBT = 1.0 / 60.0, 0.05  # of the rate for each call, as a share of the doubt
    _MOST_GROWTH = 0.05  # a second
    _CALM, _CALM_CALLS = 8.0, 100.0  # seconds and calls, from which on ...
    _DOUBLING, _FASTEST = 2.5, 0.5  # ... growth doubles in such a time, up to this a second
    _STORM, _PROBE = 3, 1.0 / 6.0  # throttles in a row; calls/s at least
    _TRIAL = 10.0  # calls/s at least, to see whether throttles are noise
    _CATCH_UP = 4.0  # tokens beyond the first, from which on a call may be late by its spacing
    _EXACT, _SINGLE = 1.05, 0.96  # times the rate: a small bucket's refill at most; burst of one
    _FAR, _BACK = 1.3, 0.8  # a burst of one: times the rate held until then; times the rate now
    _KEPT = 0.8  # times the rate: to be remembered at least

    def __init__(
        self,
        *,
        max_rate: float | None = None,
        start: Learned | None = None,
        first: float | None = None,
    ) -> None:
        self._gap = 1.0 / max_rate if max_rate else 0.0
        self._start, self._rate = start.rate if start else None, math.inf
        self._ramp: Ramp | None = Ramp(self._start, first)
        self._known = start if start and start.burst else None
        self._small: SmallBucketPace | None = None
        self._bucket: Learned | None = None  # a small one, once it is known
        self._full = True  # whether the bucket was when the ramp began
        self._aside: Learned | None = None  # the same while throttles are taken for noise
        self._landing = self._searching = False
        self._log, self._noise = ThrottleLog(), NoiseTest()
        self._next = self._granted = self._cut = -math.inf
        self._empty = self._since = -math.inf  # when the bucket was; the same without the pauses
        self._sends: deque[float] = deque(maxlen=9)
        self._round_trip = self._jitter = self._busy = 0.0
        self._passed = self._lost = self._row = 0  # since then; at the landing; throttles in a row
        self._doubt = 1.0

    @property
    def learned(self) -> Learned | None:
        """The bucket, for a later run's `start`; None before any throttle."""
        if self._small:
            return self._small.learned
        if self._bucket:
            most = self._rate / (1.0 - self._MARGIN)
            rate = min(most, max(self._bucket.rate, self._KEPT * self._rate))
            return Learned(rate, self._bucket.burst)
        return None if self._ramp else Learned(self._rate)

    @property
    def width(self) -> float:
        """How many calls the rate lets be in flight at a time; infinite while it is unknown."""
        return math.inf if self._ramp else self._rate * self._round_trip

    def wait(self, now: float) -> float:
        """Return for how long (0.5 s at most) not to ask for a slot, 0.0 if one is free."""
        if self._landing and now >= self._next:
            self._land()
        wait = min(max(max(self._next, self._granted + self._gap) - now, 0.0), 0.5)
        if self._known:
            self._small, self._ramp, self._known = SmallBucketPace(now, self._known), None, None
        if self._small:
            return wait or min(self._small.wait(now, self._round_trip, self._jitter), 0.5)
        return wait or (self._ramp.wait(now, self._round_trip) if self._ramp else 0.0)

    def reserve(self, now: float) -> float:
        """Return 0.0 if a call may go now, or for how long (0.5 s at most) not to ask again."""
        wait = self.wait(now)
        if wait:
            return wait
        self._sends.append(now)
        if self._small:
            self._small.sent(now)
            self._granted, self._next = now, now + self._gap
            return 0.0
        if self._ramp:
            self._ramp.sent(now)
        else:
            self._grow(now)
        self._granted = now
        spacing = 1.0 / self._rate  # a late call may be caught up with, though not past the cap
        late = spacing * self._catch_up
        self._next = max(max(self._next, now - late) + spacing, now + self._gap)
        return 0.0

    def succeeded(self, now: float, sent: float) -> None:
        """Note that a call sent at `sent` was answered, with whatever but a throttle."""
        self._log.answer(sent)
        self._passed += sent > self._empty
        self._time(now - sent)
        if self._small:
            self._weigh(self._small, now, sent, granted=True)
            return
        if self._ramp:
            self._ramp.ended(sent, answered=True)
        if sent < self._cut:
            return
        if self._noise.passing:
            self._pass_over(now, throttle=False)
        elif not self._ramp:
            self._noise.agree()
            if self._row >= self._STORM:
                self._log.forget()
                self._bucket, self._full = None, False
                self._ramp, self._rate, self._next = Ramp(), math.inf, now
            elif self._searching:
                proven = (self._passed - 1) / max(sent - self._since, 1e-3)
                bold = self._BOLD if self.width < 1.0 else self._BOLD_TOGETHER
                self._rate = max(self._rate, bold * proven)
            self._row = 0

    def unanswered(self) -> None:
        """Note that a call is under way no more, and that nothing is known of it."""
        if self._small:
            self._small.unanswered(self._jitter)
        elif self._ramp:
            self._ramp.ended(None, answered=False)

    def throttled(self, now: float, sent: float) -> None:
        """Note that a call sent at `sent` was throttled."""
        fresh = sent >= self._cut
        burst = self._bucket.burst if self._bucket else None
        refill = self._log.refill(sent, burst) if burst else 0.0
        bounds = self._log.bounds(sent, self.width)
        self._log.throttle(sent, fresh=fresh)
        if self._ramp:
            self._ramp.ended(sent, answered=False)
        if self._small:
            self._weigh(self._small, now, sent, granted=False)
        elif not fresh:
            self._lost += 1
        elif self._noise.passing:
            self._pass_over(now, throttle=True)
        elif self._ramp:
            self._leave_ramp(now, sent, early=self._ramp.is_early(sent))
        elif not self._passed:
            self._row += 1
            less = 0.6 if self._row < self._STORM else 0.4
            self._cut_to(max(less * self._rate, self._PROBE), now, sent)
        elif self._busy > 0.8 * (now - self._cut) and self._noise.suspect(
            self._rate,
            contradiction=bounds.broken and not self._bucket,
        ):
            self._try_noise(now)
        elif self._bucket:
            self._hold_small(self._bucket, refill, now, sent)
        else:
            self._hold(bounds, now, sent)

    def _time(self, took: float) -> None:
        """Learn the round trip, and by how much it varies."""
        if self._round_trip:
            self._jitter += 0.2 * (abs(took - self._round_trip) - self._jitter)
            self._round_trip += 0.2 * (took - self._round_trip)
        else:
            self._round_trip, self._jitter = took, 0.1 * took

    def _try_noise(self, now: float) -> None:
        """Call faster, as throttles are passed over from now on."""
        self._aside, self._bucket = self._bucket or self._aside, None
        self._rate, self._next = max(3.0 * self._rate, self._TRIAL), now

    def _restore(self, aside: Learned) -> None:
        """Take throttles for a small bucket's again, if they are no longer passed over."""
        if not self._noise.passing:
            self._bucket, self._aside = Learned(self._rate, aside.burst), None
            self._searching, self._doubt = False, self._SMALL_DOUBT

    def _weigh(self, small: SmallBucketPace, now: float, sent: float, *, granted: bool) -> None:
        """Note an outcome while hypotheses about a small bucket set the pace."""
        verdict = small.ended(
            sent,
            granted=granted,
            paced=sent > self._cut,
            jitter=self._jitter,
            round_trip=self._round_trip,
        )
        self._rate = small.rate
        if verdict is Verdict.NOISE:
            self._aside, self._small = small.settled, None
            self._noise.start(self._rate)
            self._try_noise(now)
        elif verdict is Verdict.STORM:
            self._bucket, self._small = None, None
            self._cut_to(self._PROBE, now, sent)
            self._row = self._STORM
        elif verdict is Verdict.BUCKET:
            self._bucket, self._small = small.settled, None
            self._cut_to((1.0 - self._MARGIN) * self._bucket.rate, now, sent)
            self._searching, self._doubt = False, self._SMALL_DOUBT
            self._row = -self._STORM
            if small.is_unproven:
                self._busy = max(self._CALM, self._CALM_CALLS / self._rate)  # grow fast soon

    @property
    def _catch_up(self) -> float:
        """The share of the spacing by which a call may be late and caught up with."""
        if self._bucket is None or self._bucket.burst is None:
            return 1.0
        return min((self._bucket.burst - 1.0) / self._CATCH_UP, 1.0)

    def _leave_ramp(self, now: float, sent: float, *, early: bool) -> None:
        self._round_trip = self._round_trip or max(now - sent, 0.01)
        if early and not (self._full and self._log.answered):
            self._noise.start()
            self._next = now + self._round_trip / 4.0
            return
        if early and self._ramp:
            self._jitter = self._jitter or 0.1 * self._round_trip
            self._small = SmallBucketPace.after(self._ramp.opening, self._jitter)
            self._ramp, self._rate = None, self._small.rate
            self._cut = self._next = now
            return
        self._cut_to(self._PROBE, now, sent)
        self._landing, self._next, self._lost = True, now + self._round_trip, 1
        self._row = -self._STORM  # a guess may be wrong a few times

    def _land(self) -> None:
        """Set the rate by what became of the calls under way at the first throttle."""
        self._landing = False
        took = max(self._granted - self._empty, 0.5 * self._round_trip, 1e-3)
        guess = self._GUESS / (min(self._lost, 4) + 1) / max(self._round_trip, 1e-3) ** (1.0 / 3.0)
        if self._start and self._start * took <= self._passed + 1:
            guess = self._start
        self._rate = max(guess, self._CAREFUL * (self._passed - 0.5) / took)
        self._next = max(self._next, self._cut + 1.0 / self._rate)

    def _hold(self, bounds: Bounds, now: float, sent: float) -> None:
        deepest = max((0.25 if self._searching else 0.5) * self._rate, self._PROBE)
        margin = max(self._MARGIN, self._DOUBT_MARGIN * bounds.doubt)
        self._cut_to(max(deepest, (1.0 - margin) * bounds.middle), now, sent)
        self._doubt = bounds.doubt
        self._searching = bounds.doubt > self._DOUBT

    def _hold_small(self, bucket: Learned, refill: float, now: float, sent: float) -> None:
        if bucket.burst and bucket.burst > 1.0:
            rate = min(max(refill, self._FLOOR * bucket.rate), self._EXACT * self._rate)
        elif self._rate > self._FAR * bucket.rate:
            rate = self._BACK * self._rate
        else:  # the spacing is all that a burst of one tells
            rate = min(self._SINGLE * self._rate, self._EXACT * bucket.rate)
        self._bucket = Learned(rate, bucket.burst)
        self._cut_to((1.0 - self._MARGIN) * rate, now, sent)
        self._searching, self._doubt = False, self._SMALL_DOUBT

    def _cut_to(self, rate: float, now: float, sent: float) -> None:
        """Call at `rate`, as the bucket was empty for a call sent at `sent`."""
        self._ramp, self._landing, self._searching = None, False, True
        self._cut, self._rate = now, rate
        self._next = now + max(1.0 / rate, self._round_trip / 2.0)
        self._empty = self._since = sent
        self._passed, self._busy = 0, 0.0

    def _grow(self, now: float) -> None:
        """Grow with the time since the last call, without the part in which nobody wanted to."""
        took, spacing = now - self._granted, 1.0 / self._rate
        self._since += max(took - 2.0 * max(spacing, self._round_trip), 0.0)
        used = min(took, 2.0 * spacing)
        self._busy += used
        if self._searching or self._noise.passing:
            return
        doubt = max(self._doubt, self._LEAST_DOUBT)
        growth = min(self._GROWTH * doubt * self._rate, self._MOST_GROWTH)
        calls = self._SMALL_CALM if self._bucket else self._CALM_CALLS
        calm = max(self._busy - max(self._CALM, calls * spacing), 0.0)
        growth = min(growth * 2.0 ** min(calm / self._DOUBLING, 30.0), self._FASTEST)
        most = self._CALL_GROWTH if self._bucket else math.inf  # of one call, which may take long
        self._rate = min(self._rate * math.exp(min(growth * used, most)), 1e6)

    def _pace(self, now: float) -> float:
        pace = max(len(self._sends) - 1, 1) / max(now - self._sends[0], 1e-3)
        return min(self._rate, pace)

    def _pass_over(self, now: float, *, throttle: bool) -> None:
        """Grow with an outcome amid noise, unless a bucket shows."""
        if not self._ramp:
            self._rate = min(self._rate * self._noise.growth(), 1e6)
        if self._noise.excess(now, self._log.answered, self._rate, throttle=throttle):
            rate = self._noise.give_way(now, self._log.answered, self._pace(now))
            if self._ramp and not self._noise.passing:
                self._leave_ramp(now, now, early=False)
            else:
                self._cut_to(max(rate, self._PROBE), now, now)
                if self._aside and self._rate <= 1.5 * self._aside.rate:
                    self._restore(self._aside)
