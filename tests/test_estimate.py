"""The progress of a sweep: what is still open, and how long it will take."""

from __future__ import annotations

import io
from dataclasses import dataclass

import pytest

from harvester import events
from harvester.model import Outcome, Target
from harvester.tally import Tally
from harvester.terminal.estimate import Estimate, about, last_targets
from harvester.terminal.progress import can_redraw


@dataclass
class Time:
    now: float = 1000.0


def _target(number: int) -> Target:
    return Target(f"{number:012}", "eu-west-1")


def _tally(time: Time, targets: int) -> Tally:
    tally = Tally(lambda: time.now)
    for number in range(targets):
        tally(events.TargetFound(target=_target(number), account_name=f"name-{number}"))
    tally(events.DiscoveryFinished())
    return tally


def _end(tally: Tally, number: int) -> None:
    target = _target(number)
    tally(events.TargetFinished(outcome=Outcome(target.account, target.region, "complete")))


def test_nothing_is_estimated_before_all_targets_are_known() -> None:
    time = Time()
    tally = Tally(lambda: time.now)
    tally(events.TargetFound(target=_target(1)))
    estimate = Estimate(tally)
    time.now += 10

    assert estimate.seconds() is None
    assert last_targets(tally) == []


def test_the_time_left_follows_how_fast_targets_end() -> None:
    time = Time()
    tally = _tally(time, 100)
    estimate = Estimate(tally)
    for number in range(20):
        time.now += 0.5
        _end(tally, number)

    assert estimate.seconds() == pytest.approx(40.0)


def test_a_large_target_takes_as_long_as_its_count_says() -> None:
    time = Time()
    tally = _tally(time, 2)
    estimate = Estimate(tally)
    tally(events.TargetStarted(target=_target(0)))
    tally(events.TargetSplit(target=_target(0), by=("severity",), queries=4, expected=1000))
    tally(events.PageRead(target=_target(0), severities={"HIGH": 100}))
    _end(tally, 1)
    time.now += 10

    assert estimate.seconds() == pytest.approx(90.0)
    assert last_targets(tally) == ["000000000000/eu-west-1 (name-0): 100 of 1,000 findings"]


def test_a_target_of_unknown_size_takes_as_long_again() -> None:
    time = Time()
    tally = _tally(time, 2)
    estimate = Estimate(tally)
    tally(events.TargetStarted(target=_target(0)))
    _end(tally, 1)
    time.now += 30

    assert estimate.seconds() == pytest.approx(30.0)


@pytest.mark.parametrize(("open_targets", "named"), [(0, 0), (1, 1), (4, 4), (5, 0)])
def test_open_targets_are_named_where_they_are_few(open_targets: int, named: int) -> None:
    tally = _tally(Time(), open_targets)

    assert len(last_targets(tally)) == named


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.1, "1 s"), (59, "59 s"), (61, "1 min"), (600, "10 min"), (4800, "1 h 20 min")],
)
def test_a_duration_is_rough(seconds: float, shown: str) -> None:
    assert about(seconds) == shown


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "live"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": ""}, False),
        ({"TERM": "xterm", "CI": "true"}, False),
        ({"TERM": "xterm", "CI": "1"}, False),
        ({"TERM": "xterm", "CI": "false"}, True),
        ({"TERM": "xterm", "GITHUB_ACTIONS": "true"}, False),
    ],
)
def test_a_live_display_needs_a_terminal_that_somebody_watches(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], *, live: bool
) -> None:
    for name in ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "TF_BUILD", "JENKINS_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert can_redraw(_Terminal()) is live
    assert not can_redraw(io.StringIO())
