"""The same finding on two pages: told from two findings that are equal, by the service's count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.aws.bodies import page_of
from harvester.aws.pagesizes import PageSizes
from harvester.clock import Clock
from harvester.errors import CountMismatchError, ServiceError
from harvester.model import Page, Query
from harvester.output.quarantine import Quarantine
from harvester.output.sink import StreamSink
from harvester.paging.channel import Call, Exchange
from harvester.paging.repeats import Repeats
from harvester.paging.retry import RetryPolicy
from harvester.paging.slots import FairSlots
from harvester.reader import TargetReader
from harvester.settings.sections import FindingSettings
from harvester.tally import Tally
from tests.fake_image_builder import FakeImageBuilder, Finding
from tests.test_splitting import COUNT, TARGET, Keys, Streamed, make, no_wait

LIST = "list_image_scan_findings"


class Withdrawing(Streamed):
    """A destination that can take back what it was sent, as a file can."""

    withdraws = True

    def __init__(self) -> None:
        super().__init__()
        self._by: dict[Query, list[bytes]] = {}

    async def write(self, query: Query, page: Page) -> None:
        self._by.setdefault(query, []).extend(page.lines)
        self._gather()

    async def replace(self, queries: Sequence[Query], by: Query) -> None:
        for query in queries:
            self._by.pop(query, None)
        self._by[by] = []
        self._gather()

    def _gather(self) -> None:
        self.lines = [line for lines in self._by.values() for line in lines]


async def read(
    service: FakeImageBuilder, sink: StreamSink | None = None, **chosen: Any
) -> tuple[Counter[str], ServiceError | None]:
    tally, sink = Tally(Clock().now), sink or Withdrawing()
    exchange = Exchange(service, FairSlots(64), tally, Clock(sleep=no_wait), RetryPolicy())
    channel = exchange.channel("imagebuilder", TARGET.region, Keys(), account=TARGET.account)
    tally.found(TARGET)
    settings = FindingSettings(**{"split": "auto", **chosen})
    reader = TargetReader(
        channel, PageSizes(None), sink, tally, settings, quarantine=Quarantine(None)
    )
    failure: ServiceError | None = None
    try:
        await reader.read(TARGET, [Query(TARGET)])
    except ServiceError as error:
        failure = error
    assert isinstance(sink, Streamed)
    # What a stream has sent stays sent, also where a second reading lacks it.
    assert tally.findings == len(sink.lines) or not sink.withdraws
    return Counter(str(orjson.loads(line)["title"]) for line in sink.lines), failure


def held(service: FakeImageBuilder) -> Counter[str]:
    return Counter(str(one["title"]) for one in service.findings)


def with_twins(count: int, *places: int) -> list[Finding]:
    """Findings of which those at these places are equal to the one after each."""
    findings = make(count)
    for place in places:
        findings[place + 1] = dict(findings[place])
    return findings


SINKS = pytest.mark.parametrize("sink", [Withdrawing, Streamed])
SPLITS = pytest.mark.parametrize("split", ["auto", "none"])


@SINKS
@SPLITS
@pytest.mark.parametrize("repeated", [1, 3, 10])
async def test_what_a_service_repeats_is_written_once(
    sink: type[Streamed], split: str, repeated: int
) -> None:
    service = FakeImageBuilder(make(450), repeated=repeated)
    found, error = await read(service, sink(), split=split)
    assert (found, error) == (held(service), None)


@SINKS
@pytest.mark.parametrize("split", ["severity", "image"])
async def test_so_it_is_in_every_part_of_a_cut(sink: type[Streamed], split: str) -> None:
    service = FakeImageBuilder(make(4000), repeated=2)
    found, error = await read(service, sink(), split=split)
    assert (found, error) == (held(service), None)


async def test_it_costs_a_second_reading_where_what_was_written_can_be_withdrawn() -> None:
    # Held back from the first, a finding would be lost with a process that is killed.
    service = FakeImageBuilder(make(450), repeated=1)
    await read(service)
    assert service.calls == {LIST: 10, COUNT: 3}


@SINKS
@SPLITS
async def test_equal_findings_on_two_pages_are_all_written(
    sink: type[Streamed], split: str
) -> None:
    service = FakeImageBuilder(with_twins(450, 99, 199, 398, 399))
    found, error = await read(service, sink(), split=split)
    assert (found, error) == (held(service), None)
    assert max(found.values()) > 1


@SINKS
@SPLITS
async def test_the_two_are_told_apart_where_both_occur(sink: type[Streamed], split: str) -> None:
    service = FakeImageBuilder(with_twins(450, 99, 250), repeated=1)
    found, error = await read(service, sink(), split=split)
    assert (found, error) == (held(service), None)


@SINKS
@SPLITS
async def test_where_they_cannot_be_told_apart_nothing_is_lost_or_called_complete(
    sink: type[Streamed], split: str
) -> None:
    service = FakeImageBuilder(with_twins(450, 98), repeated=2)
    found, error = await read(service, sink(), split=split)
    assert isinstance(error, CountMismatchError)
    assert not held(service) - found


@SINKS
@SPLITS
async def test_a_longer_repetition_is_not_recognized_and_not_called_complete(
    sink: type[Streamed], split: str
) -> None:
    service = FakeImageBuilder(make(450), repeated=11)
    found, error = await read(service, sink(), split=split, verify=True)
    assert isinstance(error, CountMismatchError)
    assert not held(service) - found


@SINKS
async def test_without_a_count_findings_are_written_as_the_service_gave_them(
    sink: type[Streamed],
) -> None:
    given = held(FakeImageBuilder(make(450))).total() + 4
    denied = FakeImageBuilder(make(450), repeated=1, denied=frozenset({COUNT}))
    for service, verify in ((denied, None), (FakeImageBuilder(make(450), repeated=1), False)):
        found, error = await read(service, sink(), verify=verify, split="none")
        assert error is None
        assert found.total() == given
        assert not held(service) - found


@SINKS
async def test_what_was_held_back_is_written_where_the_chain_breaks(sink: type[Streamed]) -> None:
    class Breaking(FakeImageBuilder):
        async def call(self, call: Call, signer: Any) -> Any:
            if self.calls[LIST] == 3:
                self._failing = frozenset({LIST})
            return await super().call(call, signer)

    service = Breaking(with_twins(450, 99))
    found, error = await read(service, sink())
    assert error is not None
    assert error.code == "ServiceException"
    assert found == Counter(str(one["title"]) for one in service.findings[:300])


@given(
    numbers=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    repeated=st.integers(0, 3),
    size=st.integers(1, 6),
    sink=st.sampled_from([Withdrawing, Streamed]),
    split=st.sampled_from(["auto", "none"]),
)
async def test_no_finding_is_ever_lost(
    numbers: list[int], repeated: int, size: int, sink: type[Streamed], split: str
) -> None:
    findings = [
        {"title": f"{number}", "severity": "HIGH", "imageBuildVersionArn": "arn:image/1/1"}
        for number in numbers
    ]
    service = FakeImageBuilder(findings, repeated=repeated)
    found, error = await read(service, sink(), split=split, page_size=size)
    assert not held(service) - found
    if error is None:
        assert found == held(service)


def _pages(*pages: list[int]) -> list[Page]:
    return [page_of([{"n": number} for number in numbers], None) for numbers in pages]


@pytest.mark.parametrize(
    ("pages", "left", "taken"),
    [
        ([[1, 2], [3]], [[1, 2], [3]], []),
        ([[1, 2], [2, 3]], [[1, 2], [3]], [2]),
        ([[1, 2], [1, 2, 3]], [[1, 2], [3]], [1, 2]),
        ([[1, 2], [2]], [[1, 2], []], [2]),
        ([[1, 2], [], [2, 3]], [[1, 2], [], [3]], [2]),
        ([[1, 2], [2], [2]], [[1, 2], [], []], [2, 2]),
        ([[1, 2], [3, 2]], [[1, 2], [3, 2]], []),
        ([[2, 1], [2, 3]], [[2, 1], [2, 3]], []),
        ([[1], [11]], [[1], [11]], []),
        ([[1, 2], [1, 3]], [[1, 2], [1, 3]], []),
        ([[1] * 3, [1] * 3], [[1] * 3, [1] * 2], [1]),
    ],
)
def test_what_is_held_back(pages: list[list[int]], left: list[list[int]], taken: list[int]) -> None:
    repeats = Repeats()
    assert [repeats.rest(page) for page in _pages(*pages)] == _pages(*left)
    assert bool(repeats) is bool(taken)
    (wanted,) = _pages(taken)
    assert repeats.take(None) == wanted
    assert not repeats
