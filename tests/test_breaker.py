"""When calls that share a region or an account wait together, by a clock that is given."""

from __future__ import annotations

import math
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.errors import ServiceError, ThrottledError, TransientError, UnreachableError
from harvester.paging.breaker import Breaker, Flight, State, Verdict
from harvester.paging.retry import RetryPolicy

_PLACE = ("imagebuilder", "eu-west-1")
_FAULT = TransientError("ServiceException", "no", operation="ListX", status=500)
_SLOW = TransientError("Timeout", "no answer", operation="ListX")
_THROTTLE = ThrottledError("SlowDown", "no", operation="ListX", status=503)
_NO_NAME = UnreachableError("NameNotResolved", "no", operation="ListX")


def _breaker(limit: int = 64, *, by_account: bool = True) -> Breaker:
    return Breaker("to it", by_account=by_account, limit=limit, policy=RetryPolicy())


def _send(breaker: Breaker, account: str, now: float, place: tuple[str, str] = _PLACE) -> Flight:
    assert breaker.wait(now) == 0.0
    flight = Flight(account, place)
    breaker.enter(flight)
    flight.sent = now
    return flight


def _fail(
    breaker: Breaker, account: str, now: float, error: ServiceError = _FAULT, **more: Any
) -> Verdict:
    flight = _send(breaker, account, now, **more)
    verdict = breaker.failed(flight, error, now)
    breaker.leave(flight)
    return verdict


def _answer(breaker: Breaker, account: str, now: float) -> None:
    flight = _send(breaker, account, now)
    breaker.answered(flight, now)
    breaker.leave(flight)


def _state(breaker: Breaker) -> State:
    return breaker.state


def _opened(error: ServiceError = _FAULT) -> Breaker:
    breaker = _breaker()
    for account in "abcab":
        _fail(breaker, account, 0.0, error)
    assert breaker.state is State.OPEN
    return breaker


@pytest.mark.parametrize("error", [_FAULT, _THROTTLE, _NO_NAME])
def test_five_failures_in_a_row_of_three_accounts_open_it(error: ServiceError) -> None:
    breaker = _breaker()
    assert [_fail(breaker, one, 0.0, error) for one in "abca"] == [Verdict.OWN] * 4
    assert _state(breaker) is State.CLOSED
    assert _fail(breaker, "b", 0.0, error) is Verdict.SHARED
    assert _state(breaker) is State.OPEN


@pytest.mark.parametrize("accounts", ["aaaaaaaaaaaa", "abababababab"])
def test_failures_of_fewer_accounts_are_their_own(accounts: str) -> None:
    breaker = _breaker()
    assert {_fail(breaker, one, 0.0) for one in accounts} == {Verdict.OWN}
    assert breaker.state is State.CLOSED


def test_an_answer_in_between_begins_the_row_anew() -> None:
    breaker = _breaker()
    for account in "abcadabcad":
        if account == "d":
            _answer(breaker, account, 0.0)
        else:
            assert _fail(breaker, account, 0.0) is Verdict.OWN
    assert breaker.state is State.CLOSED


def test_throttles_and_faults_in_turn_are_not_the_same_failure() -> None:
    breaker = _breaker()
    for account, error in zip("abcabcabcabc", cycle((_FAULT, _THROTTLE)), strict=False):
        assert _fail(breaker, account, 0.0, error) is Verdict.OWN


def test_two_regions_open_the_breaker_of_an_account() -> None:
    breaker = _breaker(by_account=False)
    for _ in range(12):
        assert _fail(breaker, "a", 0.0) is Verdict.OWN
    other = ("imagebuilder", "us-east-1")
    assert _fail(breaker, "a", 0.0, place=other) is Verdict.SHARED


def test_throttles_where_others_were_answered_must_last_longer_than_a_refill() -> None:
    breaker = _breaker()
    _answer(breaker, "a", 0.0)
    for second in range(20):
        assert _fail(breaker, "abc"[second % 3], float(second), _THROTTLE) is Verdict.OWN
    assert _fail(breaker, "a", 20.0, _THROTTLE) is Verdict.SHARED


def test_a_region_that_answered_nothing_yet_gets_a_quarter_of_the_requests() -> None:
    breaker = _breaker(64)
    flights = [_send(breaker, str(number), 0.0) for number in range(16)]
    assert breaker.wait(0.0) == math.inf
    breaker.leave(flights[0])
    assert breaker.wait(0.0) == 0.0
    breaker.answered(flights[1], 0.1)
    for number in range(100):
        _send(breaker, str(number), 0.1)


@pytest.mark.parametrize(("error", "many", "most"), [(_FAULT, 16, 4.0), (_THROTTLE, 2, 8.0)])
def test_probes_go_a_few_at_a_time_and_ever_later(
    error: ServiceError, many: int, most: float
) -> None:
    breaker = _opened(error)
    gaps, now = [], 0.0
    for _ in range(9):
        gaps.append(breaker.wait(now))
        now += breaker.wait(now)
        probes = [_send(breaker, str(number), now) for number in range(many)]
        assert breaker.wait(now) == math.inf
        for probe in probes:
            assert breaker.failed(probe, error, now) is Verdict.SHARED
            breaker.leave(probe)
    doubled = [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2]
    assert gaps == pytest.approx([min(gap, most) for gap in doubled])
    assert breaker.state is State.OPEN, "those that fail together count once"


def test_probes_that_hang_are_followed_by_others_at_once() -> None:
    breaker, now = _opened(_SLOW), 0.0
    for _ in range(9):
        assert breaker.wait(now) == pytest.approx(0.2)
        now += 3.2
        breaker.failed(_send(breaker, "d", now - 3.0), _SLOW, now)


def test_what_was_under_way_when_it_opened_is_no_probe() -> None:
    breaker = _breaker(800)
    flights = [_send(breaker, str(number), 0.0) for number in range(100)]
    for flight in flights:
        breaker.failed(flight, _FAULT, 0.1)
        breaker.leave(flight)
    assert breaker.state is State.OPEN
    assert breaker.wait(0.1) == pytest.approx(0.2)


def test_the_first_answer_closes_it() -> None:
    breaker = _opened()
    now = breaker.wait(0.0)
    _answer(breaker, "d", now)
    assert breaker.state is State.CLOSED
    assert breaker.wait(now) == 0.0
    assert _fail(breaker, "a", now) is Verdict.OWN


def test_a_throttle_among_answers_is_an_account_s_own() -> None:
    breaker = _opened(_THROTTLE)
    _answer(breaker, "d", breaker.wait(0.0))
    assert _fail(breaker, "a", 1.0, _THROTTLE) is Verdict.OWN


def _probe_to_the_end(breaker: Breaker, error: ServiceError, took: float) -> tuple[int, float]:
    """Probe until each call is its last; the number of probes, and the time."""
    probes, now = 0, 0.0
    while breaker.state is State.OPEN:
        assert probes < 1000
        now += breaker.wait(now)
        flight = _send(breaker, "d", now)
        now += took
        breaker.failed(flight, error, now)
        breaker.leave(flight)
        probes += 1
    return probes, now


@pytest.mark.parametrize(
    ("error", "took", "probes", "seconds"),
    [
        (_FAULT, 0.0, (10, 10), (26, 27)),
        (_FAULT, 30.0, (4, 4), (120, 124)),
        (_NO_NAME, 0.1, (3, 3), (0, 3)),
        (_THROTTLE, 0.1, (100, 120), (900, 910)),
    ],
)
def test_the_budgets_are_those_of_one_call(
    error: ServiceError, took: float, probes: tuple[int, int], seconds: tuple[float, float]
) -> None:
    number, now = _probe_to_the_end(_opened(error), error, took)
    assert probes[0] <= number <= probes[1]
    assert seconds[0] <= now <= seconds[1]


def test_then_each_call_is_sent_once_and_no_more() -> None:
    breaker = _opened()
    _, now = _probe_to_the_end(breaker, _FAULT, 0.0)
    flights = [_send(breaker, str(number), now) for number in range(16)]
    assert breaker.wait(now) == math.inf, "a quarter of the requests"
    for flight in flights:
        assert breaker.is_last(flight)
        assert breaker.failed(flight, _FAULT, now) is Verdict.FINAL
        breaker.leave(flight)
    assert _fail(breaker, "z", now + 1000.0) is Verdict.FINAL


def test_an_answer_to_one_of_them_closes_it_for_all() -> None:
    breaker = _opened()
    _, now = _probe_to_the_end(breaker, _FAULT, 0.0)
    first, second = _send(breaker, "a", now), _send(breaker, "b", now)
    breaker.answered(first, now)
    assert not breaker.is_last(second)
    assert breaker.failed(second, _FAULT, now) is Verdict.OWN
    assert breaker.state is State.CLOSED


def test_a_probe_that_was_sent_before_is_not_the_last_request_of_its_call() -> None:
    breaker = _opened()
    now = breaker.wait(0.0)
    early = _send(breaker, "early", now)
    while breaker.state is State.OPEN:
        now += 10.0
        _fail(breaker, "d", now)
    assert breaker.failed(early, _FAULT, now) is Verdict.SHARED


def test_slow_calls_of_three_accounts_open_it_where_nothing_was_answered() -> None:
    breaker = _breaker()
    flights = [_send(breaker, account, 0.0) for account in "abcd"]
    assert not breaker.slow(2.9)
    assert breaker.slow(3.0)
    assert _state(breaker) is State.OPEN
    assert breaker.failed(flights[0], _FAULT, 3.0) is Verdict.SHARED


@pytest.mark.parametrize("accounts", ["aaaa", "abab"])
def test_slow_calls_of_fewer_accounts_do_not(accounts: str) -> None:
    breaker = _breaker()
    for account in accounts:
        _send(breaker, account, 0.0)
    assert not breaker.slow(29.0)


def test_slow_calls_do_not_where_something_was_answered_since() -> None:
    breaker = _breaker()
    for account in "abcd":
        _send(breaker, account, 0.0)
    _answer(breaker, "e", 1.0)
    assert not breaker.slow(5.0)


def test_a_region_that_answered_nothing_yet_is_taken_for_dark_by_all_that_it_may_get() -> None:
    breaker = _breaker(4)
    _send(breaker, "a", 0.0)
    _send(breaker, "b", 0.0)
    assert breaker.wait(2.0) == math.inf
    assert breaker.slow(3.0)


def test_probes_are_given_ever_longer() -> None:
    breaker, now, seconds = _opened(), 0.0, []
    while breaker.state is State.OPEN:
        seconds.append(breaker.slow_seconds)
        now += breaker.wait(now) + breaker.slow_seconds
        breaker.failed(Flight("d", _PLACE, now), _SLOW, now)
    assert seconds == [3.0] * 3 + [6.0] * 3 + [12.0] * 3 + [24.0]
    assert breaker.slow_seconds == 3.0, "the last request of each is soon given up"


def test_how_slow_is_slow_depends_on_the_usual_round_trip() -> None:
    breaker = _breaker()
    flight = _send(breaker, "a", 0.0)
    assert breaker.slow_seconds == 3.0
    breaker.answered(flight, 2.0)
    assert breaker.slow_seconds == 8.0


def test_what_was_not_sent_yet_when_it_opens_is_recalled() -> None:
    breaker = _breaker()
    waiting = Flight("z", _PLACE)
    breaker.enter(waiting)
    for account in "abcab":
        _fail(breaker, account, 0.0)
    assert waiting.recalled
    assert waiting not in breaker.flights


def test_a_fault_after_long_quiet_has_the_whole_budget() -> None:
    breaker = _breaker()
    for account in "abca":
        _fail(breaker, account, 0.0)
    _fail(breaker, "b", 5000.0)
    assert _fail(breaker, "c", 5001.0) is Verdict.SHARED
    assert breaker.state is State.OPEN


def test_what_is_the_matter_is_told_in_a_clause() -> None:
    breaker = _opened()
    text = breaker.described(38.2, {"a", "x", "y"})
    assert text == "every request to it failed for 38 s, 5 accounts concerned"
    assert "was throttled" in _opened(_THROTTLE).described(1.0, set())


_STEPS = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from(("fault", "throttle", "answer"))),
    max_size=80,
)


@given(_STEPS, st.floats(0.0, 5.0))
def test_it_never_lets_nothing_through_for_ever(steps: list[tuple[str, str]], pause: float) -> None:
    """Whatever happens, with nothing under way a call goes within the longest gap of probes."""
    breaker, now = _breaker(), 0.0
    for account, kind in steps:
        wait = breaker.wait(now)
        assert wait <= 8.0
        now += wait + pause
        if kind == "answer":
            _answer(breaker, account, now)
            assert breaker.state is State.CLOSED
        else:
            _fail(breaker, account, now, _FAULT if kind == "fault" else _THROTTLE)
        assert not breaker.flights
