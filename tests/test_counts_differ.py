"""Counts that differ from the list: by a fixed number, a factor, a delay, or a real loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.aws.pagesizes import PageSizes
from harvester.clock import Clock
from harvester.errors import CountMismatchError, ServiceError
from harvester.events import Warned
from harvester.model import Condition, Query, Target
from harvester.output.quarantine import Quarantine
from harvester.paging.channel import Exchange
from harvester.paging.retry import RetryPolicy
from harvester.paging.slots import FairSlots
from harvester.reader import TargetReader
from harvester.settings.sections import FindingSettings
from harvester.tally import Tally
from harvester.trust import CountTrust
from tests.fake_image_builder import FakeImageBuilder
from tests.test_repeats import LIST, Withdrawing
from tests.test_splitting import COUNT, TARGET, Keys, make, multiset, no_wait, titles

Counted = Callable[[int, int], int]
ALL = Query(TARGET)
OFF: dict[str, Counted] = {
    "above": lambda true, _: true + 3,
    "below": lambda true, _: true - 2,
    "double": lambda true, _: true * 2,
    "zero": lambda _true, _calls: 0,
    "late": lambda true, _: true - 150,
}


@dataclass
class Reading:
    """One target that was read."""

    titles: Counter[str]
    verified: bool | None
    warnings: list[Warned]
    error: ServiceError | None


async def read(
    service: FakeImageBuilder,
    queries: Sequence[Query] = (ALL,),
    *,
    trust: CountTrust | None = None,
    doubted: bool = False,
    number: int = 0,
    **chosen: Any,
) -> Reading:
    tally, sink = Tally(Clock().now), Withdrawing()
    target = Target(f"{number:012}", TARGET.region)
    exchange = Exchange(service, FairSlots(64), tally, Clock(sleep=no_wait), RetryPolicy())
    channel = exchange.channel("imagebuilder", TARGET.region, Keys(), account=target.account)
    tally.found(target)
    reader = TargetReader(
        channel,
        PageSizes(chosen.get("page_size")),
        sink,
        tally,
        FindingSettings(**{"split": "auto", **chosen}),
        quarantine=Quarantine(None),
        trust=trust,
        doubted=doubted,
    )
    failure: ServiceError | None = None
    try:
        await reader.read(target, [replace(query, target=target) for query in queries])
    except ServiceError as error:
        failure = error
    assert tally.findings == len(sink.lines)
    return Reading(titles(sink), reader.verified, tally.warnings, failure)


@pytest.mark.parametrize("kind", OFF)
@pytest.mark.parametrize("size", [450, 4500])
async def test_a_count_that_two_readings_refute_is_a_warning(kind: str, size: int) -> None:
    service = FakeImageBuilder(make(size), counted=OFF[kind])
    found = await read(service)
    assert (found.titles, found.error) == (multiset(service.findings), None)
    assert found.verified is False
    (warning,) = found.warnings
    assert (warning.code, warning.account, warning.region) == (
        "CountMismatch",
        f"{0:012}",
        TARGET.region,
    )
    counted = OFF[kind](size, 0)
    numbers = f"{size:,} findings were read, and the service counts {counted:,}"
    assert numbers in warning.message
    assert service.calls[LIST] <= 2 * size / 100 + 8, "two readings"


@pytest.mark.parametrize("kind", OFF)
@pytest.mark.parametrize("split", ["none", "severity"])
async def test_a_strict_verification_calls_it_incomplete(kind: str, split: str) -> None:
    service = FakeImageBuilder(make(4500), counted=OFF[kind])
    found = await read(service, verify=True, split=split)
    assert isinstance(found.error, CountMismatchError)
    assert found.verified is False
    assert found.titles == multiset(service.findings)
    assert service.calls[LIST] <= 2 * 45 + 8


async def test_after_three_targets_none_is_read_twice() -> None:
    trust, calls = CountTrust(), []
    for number in range(6):
        service = FakeImageBuilder(make(450, seed=number), counted=lambda true, _: true + 3)
        found = await read(service, trust=trust, number=number)
        assert (found.verified, found.error, len(found.warnings)) == (False, None, 1)
        calls.append(service.calls[LIST])
    assert calls == [10, 10, 10, 5, 5, 5]


async def test_concurrent_targets_share_three_second_readings() -> None:
    trust = CountTrust()
    services = [FakeImageBuilder(make(450), counted=lambda true, _: true + 3) for _ in range(20)]
    async with anyio.create_task_group() as group:
        for number, service in enumerate(services):
            group.start_soon(partial(read, service, trust=trust, number=number))
    assert Counter(service.calls[LIST] for service in services) == {10: 3, 5: 17}


async def test_real_losses_use_up_no_trust() -> None:
    trust = CountTrust()
    services = [FakeImageBuilder(make(450, seed=n), swallowed=1) for n in range(8)]
    async with anyio.create_task_group() as group:

        async def run(number: int, service: FakeImageBuilder) -> None:
            found = await read(service, trust=trust, number=number)
            assert (found.titles, found.error) == (multiset(service.findings), None)
            assert found.verified is True

        for number, service in enumerate(services):
            group.start_soon(run, number, service)
    assert not trust.is_lost


async def test_once_trust_is_lost_no_target_is_split() -> None:
    trust = CountTrust()
    for number in range(3):
        service = FakeImageBuilder(make(450, seed=number), counted=lambda true, _: true + 3)
        await read(service, trust=trust, number=number)
    service = FakeImageBuilder(make(4500), counted=lambda true, _: true + 3)
    found = await read(service, trust=trust, number=3)
    assert (found.titles, found.verified) == (multiset(service.findings), False)
    assert service.calls == {LIST: 45, COUNT: 1}


@pytest.mark.parametrize("split", ["auto", "severity"])
async def test_a_target_doubted_by_an_earlier_run_is_read_once_in_one_chain(split: str) -> None:
    service = FakeImageBuilder(make(4500), counted=lambda true, _: true + 3)
    found = await read(service, doubted=True, split=split)
    assert (found.titles, found.error) == (multiset(service.findings), None)
    assert (found.verified, len(found.warnings)) == (False, 1)
    assert service.calls == {LIST: 45, COUNT: 1}
    matching = await read(FakeImageBuilder(make(450)), doubted=True, split=split)
    assert (matching.verified, matching.warnings) == (True, [])


@pytest.mark.parametrize("off", [0, 3, -3])
async def test_two_readings_that_differ_are_no_proof_against_a_count(off: int) -> None:
    # The first reading lacks four findings, the second one two.
    service = FakeImageBuilder(make(450), swallowed=7, counted=lambda true, _: true + off)
    found = await read(service, split="none")
    assert isinstance(found.error, CountMismatchError)
    assert found.verified is False


async def test_a_split_that_lacks_findings_is_not_excused_by_a_wrong_count() -> None:
    findings = make(6000)
    for finding in findings[200::60]:
        finding["severity"] = "SEVERE"
    service = FakeImageBuilder(findings, counted=lambda true, _: true + 7)
    found = await read(service, split="severity")
    assert (found.titles, found.error) == (multiset(findings), None)
    assert (found.verified, len(found.warnings)) == (False, 1)


@pytest.mark.parametrize("how", ["denied", "failing"])
async def test_a_count_that_cannot_be_had_is_neither_a_warning_nor_a_reading(how: str) -> None:
    arguments: dict[str, Any] = {how: frozenset({COUNT})}
    service = FakeImageBuilder(make(450), **arguments)
    found = await read(service)
    assert (found.verified, found.warnings, found.error) == (None, [], None)
    assert service.calls[LIST] == 5


async def test_never_to_verify_accepts_a_split_that_a_chain_confirms() -> None:
    service = FakeImageBuilder(make(4500), counted=lambda true, _: true + 3)
    found = await read(service, verify=False, split="severity")
    assert (found.titles, found.error) == (multiset(service.findings), None)
    assert (found.verified, found.warnings) == (False, [])


async def test_a_filter_without_a_count_is_named_once_in_a_run() -> None:
    trust = CountTrust()
    low = Query(TARGET, "severity", "LOW")
    both = Query(TARGET, "imagePipelineArn", "arn:pipeline/1", (Condition("severity", ("HIGH",)),))
    warnings = []
    for number in range(3):
        found = await read(
            FakeImageBuilder(make(450)), [low, both], trust=trust, number=number, verify=True
        )
        assert (found.error, found.verified) == (None, None)
        warnings += found.warnings
    assert [one.code for one in warnings] == ["NotVerifiable"] * 2
    assert "no count of findings with severity LOW" in warnings[0].message
    assert "not by imagePipelineArn and severity together" in warnings[1].message
    unasked = await read(FakeImageBuilder(make(450)), [low], trust=CountTrust())
    assert unasked.warnings == []


async def test_what_can_be_compared_is_compared_beside_a_filter_without_a_count() -> None:
    queries = [Query(TARGET, "severity", value) for value in ("LOW", "HIGH")]
    found = await read(FakeImageBuilder(make(900), swallowed=1000), queries, verify=True)
    assert isinstance(found.error, CountMismatchError)
    assert [one.code for one in found.warnings] == ["NotVerifiable"]


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(0, 900),
    off=st.integers(-30, 30),
    factor=st.sampled_from([0, 1, 1, 2]),
    split=st.sampled_from(["auto", "none", "severity", "pipeline", "image"]),
    page=st.integers(5, 40),
    odd=st.booleans(),
    doubted=st.booleans(),
)
async def test_whatever_counts_say_each_finding_is_read_and_no_target_is_red(
    *, size: int, off: int, factor: int, split: str, page: int, odd: bool, doubted: bool
) -> None:
    findings = make(size, severities=("HIGH", "LOW", "odd" if odd else "MEDIUM"))
    service = FakeImageBuilder(findings, counted=lambda true, _: max(0, factor * true + off))
    found = await read(service, split=split, page_size=page, doubted=doubted)
    assert (found.titles, found.error) == (multiset(findings), None)
    if found.verified is False:
        assert [one.code for one in found.warnings] == ["CountMismatch"]
    else:
        assert found.warnings == []
        assert found.verified is None or max(0, factor * size + off) == size
    chain = max(1, -(-size // page))
    assert service.calls[LIST] <= 3 * chain + 60
