"""What was read is held against the service's own counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from harvester.aws.pagesizes import PageSizes
from harvester.clock import Clock
from harvester.errors import CountMismatchError, RefusedError
from harvester.model import Condition, Query
from harvester.output.quarantine import Quarantine
from harvester.paging.channel import Exchange
from harvester.paging.retry import RetryPolicy
from harvester.paging.slots import FairSlots
from harvester.proof import calls_to_count, can_be_counted
from harvester.reader import TargetReader
from harvester.settings.sections import FindingSettings
from harvester.tally import Tally
from tests.fake_image_builder import FakeImageBuilder
from tests.test_splitting import COUNT, TARGET, Keys, Streamed, make, multiset, no_wait, titles

LIST = "list_image_scan_findings"
ALL = Query(TARGET)


async def read(
    service: FakeImageBuilder,
    queries: Sequence[Query] = (ALL,),
    *,
    verify: bool | None = None,
    split: Any = "none",
) -> tuple[Streamed, Exception | None]:
    tally = Tally(Clock().now)
    exchange = Exchange(service, FairSlots(64), tally, Clock(sleep=no_wait), RetryPolicy())
    channel = exchange.channel("imagebuilder", TARGET.region, Keys(), account=TARGET.account)
    sink = Streamed()
    tally.found(TARGET)
    chosen = FindingSettings(split=split, verify=verify)
    reader = TargetReader(
        channel, PageSizes(None), sink, tally, chosen, quarantine=Quarantine(None)
    )
    try:
        await reader.read(TARGET, queries)
    except (CountMismatchError, RefusedError) as error:
        return sink, error
    return sink, None


async def test_a_chain_that_gave_what_the_service_counts_costs_one_call_more() -> None:
    service = FakeImageBuilder(make(450))
    sink, error = await read(service)
    assert (titles(sink), error) == (multiset(service.findings), None)
    assert service.calls == {LIST: 5, COUNT: 1}


async def test_the_count_that_a_cut_was_thought_of_with_is_proof_enough() -> None:
    service = FakeImageBuilder(make(450))
    sink, error = await read(service, split="auto")
    assert (titles(sink), error) == (multiset(service.findings), None)
    assert service.calls == {LIST: 5, COUNT: 1}


@pytest.mark.parametrize(("verify", "counts"), [(None, 0), (False, 0), (True, 1)])
async def test_a_single_page_is_counted_only_when_asked_for(
    *, verify: bool | None, counts: int
) -> None:
    service = FakeImageBuilder(make(40))
    _, error = await read(service, verify=verify)
    assert (service.calls[COUNT], error) == (counts, None)


async def test_a_finding_that_one_reading_lacks_is_found_by_the_second() -> None:
    service = FakeImageBuilder(make(450), swallowed=1)
    sink, error = await read(service)
    assert (titles(sink), error) == (multiset(service.findings), None)
    assert service.calls == {LIST: 10, COUNT: 3}


@pytest.mark.parametrize("split", ["none", "auto"])
async def test_a_difference_that_stays_makes_it_incomplete_with_both_numbers(split: Any) -> None:
    service = FakeImageBuilder(make(450), swallowed=1000)
    sink, error = await read(service, split=split, verify=True)
    assert isinstance(error, CountMismatchError)
    assert error.code == "CountMismatch"
    assert error.message.startswith("446 findings were read, and the service counts 450")
    assert max(titles(sink).values()) == 1


async def test_a_cut_and_the_chain_after_it_are_two_readings() -> None:
    service = FakeImageBuilder(make(4000), counted=lambda true, _: true + 3)
    sink, error = await read(service, split="severity", verify=True)
    assert isinstance(error, CountMismatchError)
    assert titles(sink) == multiset(service.findings)
    assert service.filters.count(None) == 1 + 40


async def test_findings_that_come_while_they_are_read_are_no_difference() -> None:
    # Ten are new by the time of the second count, five of them were read.
    service = FakeImageBuilder(make(450), counted=lambda true, calls: true - 5 + 10 * (calls - 1))
    _, error = await read(service, split="auto")
    assert error is None
    assert service.calls == {LIST: 5, COUNT: 2}


async def test_not_to_verify_is_not_to_count() -> None:
    service = FakeImageBuilder(make(450), swallowed=1000)
    _, error = await read(service, verify=False)
    assert error is None
    assert service.calls[COUNT] == 0


@pytest.mark.parametrize("verify", [None, True])
async def test_counts_that_are_denied_count_only_where_they_were_asked_for(
    *, verify: bool | None
) -> None:
    service = FakeImageBuilder(make(450), denied=frozenset({COUNT}))
    sink, error = await read(service, verify=verify)
    assert isinstance(error, RefusedError) is (verify is True)
    assert titles(sink) == multiset(service.findings)


@pytest.mark.parametrize("name", ["imageBuildVersionArn", "imagePipelineArn", "severity"])
async def test_each_filter_that_the_service_counts_by_is_verified(name: str) -> None:
    findings = make(3000, severities=("HIGH", "MEDIUM"))
    by = Counter(str(one[name]) for one in findings if name in one)
    queries = [Query(TARGET, name, value) for value in sorted(by)][:10]
    # A small target: it needs more than one page, so that it is verified unasked.
    service = FakeImageBuilder(findings)
    sink, error = await read(service, queries)
    assert error is None
    assert len(sink.lines) == sum(by[query.value] for query in queries)
    assert service.calls[COUNT] == 1
    _, error = await read(FakeImageBuilder(findings, swallowed=10_000), queries, verify=True)
    assert isinstance(error, CountMismatchError)


def test_what_can_be_counted() -> None:
    condition = (Condition("severity", ("HIGH",)),)
    assert can_be_counted(ALL)
    assert can_be_counted(Query(TARGET, "severity", "CRITICAL"))
    assert can_be_counted(Query(TARGET, "vulnerabilityId", "CVE-1"))
    assert not can_be_counted(Query(TARGET, "severity", "LOW"))
    assert not can_be_counted(Query(TARGET, "imagePipelineArn", "a", condition))
    pipelines = [Query(TARGET, "imagePipelineArn", f"{n}") for n in range(11)]
    assert calls_to_count(pipelines) == 2
    assert calls_to_count([Query(TARGET, "severity", one) for one in ("HIGH", "MEDIUM")]) == 1
    assert calls_to_count([Query(TARGET, "severity", "LOW")]) == 0
