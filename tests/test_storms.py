"""Throttles that last minutes, and calls that never end: by a clock that leaps over waits."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest

from harvester.aws.pagesizes import PageSizes
from harvester.clock import Clock
from harvester.errors import ServiceError, ThrottledError
from harvester.model import Query
from harvester.output.quarantine import Quarantine
from harvester.paging.channel import Call, Exchange
from harvester.paging.retry import RetryPolicy
from harvester.paging.slots import FairSlots
from harvester.reader import TargetReader
from harvester.settings.sections import FindingSettings
from harvester.tally import Tally
from tests.fake_image_builder import FakeImageBuilder
from tests.leaping import run_leaping
from tests.test_splitting import COUNT, TARGET, Keys, Streamed, make

LIST = "list_image_scan_findings"


class Stormy(FakeImageBuilder):
    """Throttles every call between two moments; hangs in some operations for ever."""

    storm = (0.0, 0.0)
    hung: frozenset[str] = frozenset()

    async def call(self, call: Call, signer: Any) -> bytes:
        operation = call.operation
        await anyio.sleep(0.05)
        if operation in self.hung:
            self.calls[operation] += 1
            await anyio.sleep_forever()
        if self.storm[0] <= anyio.current_time() < self.storm[1]:
            self.calls["throttled"] += 1
            raise ThrottledError("ThrottlingException", "no", operation=operation, status=429)
        return await super().call(call, signer)


async def _read(service: Stormy, **chosen: Any) -> tuple[int, float, ServiceError | None]:
    """Read a target; returns the findings, the seconds that it took, and the error."""
    clock = Clock(now=anyio.current_time)
    tally, sink = Tally(clock.now), Streamed()
    exchange = Exchange(service, FairSlots(64), tally, clock, RetryPolicy(throttle_cap=0.0))
    channel = exchange.channel("imagebuilder", TARGET.region, Keys(), account=TARGET.account)
    tally.found(TARGET)
    reader = TargetReader(
        channel,
        PageSizes(None),
        sink,
        tally,
        FindingSettings(**chosen),
        quarantine=Quarantine(None),
    )
    failure: ServiceError | None = None
    try:
        await reader.read(TARGET, [Query(TARGET)])
    except ServiceError as error:
        failure = error
    assert tally.throttled == service.calls["throttled"]
    return len(sink.lines), anyio.current_time(), failure


@pytest.mark.parametrize("split", ["none", "auto"])
@pytest.mark.parametrize("minutes", [1, 5, 14])
def test_a_storm_of_minutes_is_survived_and_not_fed(minutes: int, split: str) -> None:
    service = Stormy(make(5000))
    service.storm = (0.3, 60.0 * minutes)
    findings, seconds, error = run_leaping(_read(service, split=split, verify=False))
    assert (findings, error) == (5000, None)
    assert seconds > 60 * minutes
    assert service.calls["throttled"] <= 30 + 60 * minutes, "about a call a second, at most"


def test_a_storm_without_an_end_costs_the_target_after_a_quarter_of_an_hour() -> None:
    service = Stormy(make(5000))
    service.storm = (0.3, 1e9)
    findings, seconds, error = run_leaping(_read(service, split="none"))
    assert isinstance(error, ThrottledError)
    assert 0 < findings < 5000
    assert 900 < seconds < 1200


@pytest.mark.parametrize(("findings", "counts"), [(450, 2), (5000, 3)])
def test_a_count_that_hangs_delays_a_target_by_seconds(findings: int, counts: int) -> None:
    """After many pages it is asked for once more: what hung then may have passed."""
    _, usual, _ = run_leaping(_read(Stormy(make(findings)), split="none", verify=False))
    service = Stormy(make(findings))
    service.hung = frozenset({COUNT})
    found, seconds, error = run_leaping(_read(service))
    assert (found, error) == (findings, None)
    assert seconds - usual < 12 + 6 * (counts - 2)
    assert service.calls[COUNT] == counts


def test_a_count_that_was_asked_for_and_hangs_makes_the_target_incomplete() -> None:
    service = Stormy(make(450))
    service.hung = frozenset({COUNT})
    found, _, error = run_leaping(_read(service, verify=True))
    assert found == 450
    assert error is not None
    assert (error.code, error.account, error.region) == ("Timeout", TARGET.account, TARGET.region)


def test_a_listing_that_hangs_delays_a_target_by_seconds() -> None:
    service = Stormy(make(5000, images=200))
    _, usual, _ = run_leaping(_read(Stormy(make(5000, images=200))))
    listings = frozenset({"list_images", "list_image_build_versions", "list_image_pipelines"})
    service.hung = listings
    found, seconds, error = run_leaping(_read(service))
    assert (found, error) == (5000, None)
    assert seconds - usual < 30
    assert Counter(service.calls)["list_images"] + service.calls["list_image_pipelines"] <= 4
