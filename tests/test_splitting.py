from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.aws.cuts import Split
from harvester.aws.pagesizes import PageSizes
from harvester.clock import Clock
from harvester.model import Query, Target
from harvester.output.quarantine import Quarantine
from harvester.output.sink import StreamSink
from harvester.paging.channel import Call, Exchange
from harvester.paging.retry import RetryPolicy
from harvester.paging.slots import FairSlots
from harvester.paging.splitter import (
    QUERIES_AT_ONCE,
    Cut,
    best_of,
    by_severity,
    calls_for,
    duration,
    width_at,
)
from harvester.reader import TargetReader
from harvester.settings.sections import FindingSettings
from harvester.tally import Tally
from tests.fake_image_builder import FakeImageBuilder, Finding

COUNT = "list_image_scan_finding_aggregations"
TARGET = Target("111122223333", "eu-west-1")
SPLITS: tuple[Split, ...] = ("auto", "none", "severity", "pipeline", "image")


class Streamed(StreamSink):
    """A destination that cannot take back what it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[bytes] = []

    async def send(self, lines: list[bytes]) -> None:
        self.lines += lines


class Gate(Streamed):
    """A destination that stands still until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = anyio.Event()

    async def send(self, lines: list[bytes]) -> None:
        await self.opened.wait()
        await super().send(lines)


class Keys:
    async def current(self) -> Any:
        return None

    def expire(self, refused: Any) -> None:
        raise AssertionError(refused)


def make(
    count: int,
    *,
    severities: tuple[str | None, ...] = ("CRITICAL", "HIGH", "MEDIUM", "LOW"),
    images: int = 12,
    outside: float = 0.2,
    seed: int = 0,
) -> list[Finding]:
    rng = random.Random(seed)
    return [
        {
            "title": f"finding {number}",
            "severity": rng.choice(severities),
            "imageBuildVersionArn": f"arn:image/{(image := rng.randrange(images)) % 4}/1.0.0/{image}",
            **(
                {"imagePipelineArn": f"arn:pipeline/{image % 3}"}
                if image >= outside * images
                else {}
            ),
        }
        for number in range(count)
    ]


async def no_wait(seconds: float) -> None:
    assert seconds < 30.0
    await anyio.lowlevel.checkpoint()


async def read(
    service: FakeImageBuilder,
    split: Split,
    size: int | None = None,
    *,
    verify: bool | None = False,
    width: float = QUERIES_AT_ONCE,
    rest: float = 0.0,
    sink: Streamed | None = None,
    room: int = 128,
) -> Streamed:
    clock = Clock(sleep=no_wait)
    tally = Tally(clock.now)
    exchange = Exchange(service, FairSlots(64), tally, clock, RetryPolicy(), FairSlots(room))
    channel = exchange.channel("imagebuilder", TARGET.region, Keys(), account=TARGET.account)
    sink = sink or Streamed()
    tally.found(TARGET)
    chosen = FindingSettings(split=split, verify=verify)
    reader = TargetReader(
        channel,
        PageSizes(size),
        sink,
        tally,
        chosen,
        quarantine=Quarantine(None),
        width=width,
        rest=rest,
    )
    await reader.read(TARGET, [Query(TARGET)])
    tally.finish(TARGET, None)
    assert tally.findings == len(sink.lines) == tally.severities.total()
    return sink


def multiset(findings: list[Finding]) -> Counter[str]:
    return Counter(str(one["title"]) for one in findings)


def titles(sink: Streamed) -> Counter[str]:
    return Counter(str(orjson.loads(line)["title"]) for line in sink.lines)


@pytest.mark.parametrize("split", SPLITS)
async def test_every_split_gives_each_finding_once(split: Split) -> None:
    service = FakeImageBuilder(make(3000))
    assert titles(await read(service, split)) == multiset(service.findings)


@pytest.mark.parametrize("split", SPLITS)
async def test_a_small_target_costs_one_call(split: Split) -> None:
    service = FakeImageBuilder(make(100))
    assert titles(await read(service, split)) == multiset(service.findings)
    assert service.calls == {"list_image_scan_findings": 1}


@pytest.mark.parametrize(
    ("calls", "width", "rest"),
    [
        (39, 32.0, 0.0),  # a few pages
        (200, 1.0, 0.0),  # a pace that one chain fills
        (200, width_at(5.0), 0.0),
        (200, width_at(None, 5.0), 0.0),
        (200, 32.0, 170.0),  # a sweep that takes longer anyway
    ],
)
async def test_a_cut_that_gains_nothing_is_not_made(calls: int, width: float, rest: float) -> None:
    service = FakeImageBuilder(make(10 * calls))
    sink = await read(service, "auto", 10, width=width, rest=rest)
    assert titles(sink) == multiset(service.findings)
    assert set(service.filters) == {None}
    assert service.calls == {"list_image_scan_findings": calls, COUNT: 1}


async def test_a_service_that_returns_less_than_it_was_asked_for_is_split_by_its_real_pages() -> (
    None
):
    class Sparing(FakeImageBuilder):
        async def call(self, call: Call, signer: Any) -> bytes:
            sizes = {"maxResults": 25} if "maxResults" in call.parameters else {}
            parameters = {**call.parameters, **sizes}
            return await super().call(replace(call, parameters=parameters), signer)

    service = Sparing(make(2000))
    assert titles(await read(service, "auto")) == multiset(service.findings)
    assert any(service.filters), "eighty pages of 25, not twenty of 100"


async def test_one_that_gains_little_costs_little() -> None:
    service = FakeImageBuilder(make(1000, images=40))
    assert titles(await read(service, "auto", 10, rest=50.0)) == multiset(service.findings)
    assert {one and one[0] for one in service.filters} == {None, "severity"}
    assert service.calls.total() <= 100 + 10


async def test_auto_cuts_a_large_target_into_queries_that_fill_the_pace() -> None:
    service = FakeImageBuilder(make(4000, images=40))
    assert titles(await read(service, "auto", 10)) == multiset(service.findings)
    assert {one and one[0] for one in service.filters} == {None, "imageBuildVersionArn"}
    assert service.calls.total() <= 1.25 * 400


async def test_a_sink_that_stands_still_soon_stops_all_calls() -> None:
    service, gate = FakeImageBuilder(make(2000, images=40)), Gate()
    async with anyio.create_task_group() as group:

        async def run() -> None:
            await read(service, "image", 10, sink=gate, room=5)

        group.start_soon(run)
        with anyio.fail_after(30):
            while service.calls["list_image_scan_findings"] < 6:
                await anyio.lowlevel.checkpoint()
            await anyio.wait_all_tasks_blocked()
        assert service.calls["list_image_scan_findings"] == 6, "the first page, and five that wait"
        gate.opened.set()
    assert titles(gate) == multiset(service.findings)


def test_as_many_calls_fill_a_pace_as_a_slow_round_trip_takes() -> None:
    assert width_at(50.0, None) == width_at(None, 50.0) == width_at(50.0, 80.0) == 10.0
    assert width_at(2.0) == 1.0
    assert width_at(None, None) == QUERIES_AT_ONCE


@pytest.mark.parametrize("split", ["auto", "severity"])
async def test_an_unknown_severity_is_not_lost(split: Split) -> None:
    findings = make(4000)
    findings[3999]["severity"] = "SEVERE"
    service = FakeImageBuilder(findings)
    assert titles(await read(service, split)) == multiset(findings)


async def test_a_count_that_lacks_what_the_cut_lacks_proves_nothing() -> None:
    findings = make(6000)
    for finding in findings[200::60]:
        finding["severity"] = "SEVERE"
    service = FakeImageBuilder(findings, counted=lambda true, _: true - 150)
    assert titles(await read(service, "severity")) == multiset(findings)


async def test_a_service_that_ignores_filters_doubles_nothing() -> None:
    service = FakeImageBuilder(make(3000), ignores_filters=True)
    assert titles(await read(service, "severity")) == multiset(service.findings)


async def test_a_severity_that_is_unknown_on_the_first_page_prevents_the_cut() -> None:
    service = FakeImageBuilder(make(4000, severities=("HIGH", "SEVERE")))
    assert titles(await read(service, "severity")) == multiset(service.findings)
    assert set(service.filters) == {None}


@pytest.mark.parametrize("split", ["auto", "pipeline", "image"])
async def test_an_image_that_no_listing_names_is_not_lost(split: Split) -> None:
    findings = make(1300, images=12)
    listed = sorted({str(one["imageBuildVersionArn"]) for one in findings})[1:]
    service = FakeImageBuilder(findings, images=listed)
    assert titles(await read(service, split, 10)) == multiset(findings)


@pytest.mark.parametrize("split", ["auto", "severity", "image"])
@pytest.mark.parametrize("wrong", [lambda true, _: true + 500, lambda true, _: true - 500])
async def test_wrong_counts_lose_nothing(split: Split, wrong: Any) -> None:
    service = FakeImageBuilder(make(4000), counted=wrong)
    assert titles(await read(service, split)) == multiset(service.findings)


async def test_a_count_that_falls_while_reading_is_asked_for_again() -> None:
    service = FakeImageBuilder(make(4000), counted=lambda true, calls: true + 7 * (calls == 1))
    assert titles(await read(service, "severity")) == multiset(service.findings)
    assert None in service.filters
    assert service.filters.count(None) == 1  # the first page: no second reading


@pytest.mark.parametrize(
    "denied",
    [
        "list_image_scan_finding_aggregations",
        "list_image_pipelines",
        "list_images",
        "list_image_build_versions",
    ],
)
@pytest.mark.parametrize("split", ["auto", "pipeline", "image"])
async def test_a_denied_listing_costs_speed_and_no_finding(split: Split, denied: str) -> None:
    service = FakeImageBuilder(make(1300), denied=frozenset({denied}))
    assert titles(await read(service, split, 10)) == multiset(service.findings)


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(0, 400),
    seed=st.integers(0, 99),
    images=st.integers(1, 30),
    outside=st.sampled_from([0.0, 0.3, 1.0]),
    split=st.sampled_from(SPLITS),
    size=st.integers(1, 12),
    off=st.integers(-30, 30),
    odd=st.booleans(),
)
def test_no_data_set_loses_or_doubles_a_finding(
    *,
    count: int,
    seed: int,
    images: int,
    outside: float,
    split: Split,
    size: int,
    off: int,
    odd: bool,
) -> None:
    severities = ("HIGH", "LOW", None, "odd") if odd else ("CRITICAL", "MEDIUM", "UNTRIAGED")
    findings = make(count, severities=severities, images=images, outside=outside, seed=seed)
    service = FakeImageBuilder(findings, counted=lambda true, _: max(0, true + off))
    sink = anyio.run(read, service, split, size)
    assert titles(sink) == multiset(findings)


def test_the_fastest_cut_wins_unless_it_is_greedy() -> None:
    coarse = by_severity({"all": 10_000, "critical": 500, "high": 2000, "medium": 4000})
    fine = Cut.by("imageBuildVersionArn", {str(n): 400 for n in range(25)}, listing=15)
    greedy = Cut.by("imageBuildVersionArn", dict.fromkeys(map(str, range(5000)), 2), listing=900)
    assert best_of([coarse, fine, greedy], 10_000, 100, 64) is fine
    assert best_of([coarse, greedy], 10_000, 100, 64) is coarse
    assert best_of([coarse, fine], 10_000, 100, 1) is None  # the pace allows one chain only


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=60), st.integers(1, 100))
def test_a_cut_is_never_faster_than_its_longest_part_or_the_width(
    sizes: list[int], size: int
) -> None:
    cut = Cut.by("severity", {str(n): count for n, count in enumerate(sizes)})
    took = duration(cut, size, 1000)
    assert took >= max(calls_for(count, size) for count in sizes)
    assert took >= cut.calls(size) / QUERIES_AT_ONCE


async def test_a_count_that_fails_is_soon_done_without() -> None:
    service = FakeImageBuilder(make(3000), failing=frozenset({COUNT}))
    assert titles(await read(service, "auto")) == multiset(service.findings)
    assert service.calls[COUNT] == 3
