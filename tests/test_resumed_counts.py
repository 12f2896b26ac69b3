"""A sweep that resumes after findings have changed: old pages are proved by a fresh count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.aws.pagesizes import PageSizes
from harvester.clock import Clock
from harvester.model import Query, Target
from harvester.output.files import FileSink
from harvester.output.quarantine import Quarantine
from harvester.output.results import Results
from harvester.output.workspace import Workspace
from harvester.paging.channel import Call, Exchange
from harvester.paging.retry import RetryPolicy
from harvester.paging.slots import FairSlots
from harvester.reader import TargetReader
from harvester.settings.sections import FindingSettings
from harvester.tally import Tally
from tests.fake_image_builder import FakeImageBuilder, Finding
from tests.spooled import one_file
from tests.test_repeats import LIST
from tests.test_splitting import COUNT, TARGET, Keys, make, multiset, no_wait

ALL = Query(TARGET)


class KilledError(BaseException):
    """What ends a run without a word."""


class Dying(FakeImageBuilder):
    """A service during whose calls for findings, after so many of them, the run is killed."""

    last = 10**9

    async def call(self, call: Call, signer: Any) -> bytes:
        if call.operation == LIST and self.calls[LIST] >= self.last:
            raise KilledError
        return await super().call(call, signer)


class DyingSink(FileSink):
    """A file whose run is killed when all of a target is read, before that is noted."""

    async def finished(self, target: Target) -> None:
        raise KilledError(target)


@dataclass
class Case:
    """One output that is swept again and again."""

    folder: Path
    chosen: dict[str, Any] = field(default_factory=dict)
    queries: Sequence[Query] = (ALL,)
    doubted: bool = False
    verified: bool | None = None

    async def sweep(self, service: FakeImageBuilder, sink: type[FileSink] = FileSink) -> None:
        """Sweep to the end, or until the run is killed."""
        tally = Tally(Clock().now)
        exchange = Exchange(service, FairSlots(64), tally, Clock(sleep=no_wait), RetryPolicy())
        channel = exchange.channel("imagebuilder", TARGET.region, Keys(), account=TARGET.account)
        tally.found(TARGET)
        async with sink(Workspace(self.folder / "work"), one_file(self.folder / "out")) as out:
            chosen = FindingSettings(**self.chosen)
            reader = TargetReader(
                channel,
                PageSizes(10),
                out,
                tally,
                chosen,
                quarantine=Quarantine(None),
                doubted=self.doubted,
            )
            await reader.read(TARGET, self.queries)
            await out.publish(Results(complete=[TARGET]))
        self.verified = reader.verified
        assert tally.findings == self.found().total()

    async def kill(self, service: FakeImageBuilder, sink: type[FileSink] = FileSink) -> None:
        """Sweep until the run is killed."""
        with pytest.raises(BaseException) as caught:  # noqa: PT011  # alone, or in a group
            await self.sweep(service, sink)
        assert isinstance(caught.value, KilledError | BaseExceptionGroup)

    def found(self) -> Counter[str]:
        lines = (self.folder / "out").read_bytes().splitlines()
        return Counter(str(orjson.loads(line)["title"]) for line in lines)


def new(title: str, **fields: Any) -> Finding:
    return {
        "title": title,
        "severity": "HIGH",
        "imageBuildVersionArn": "arn:image/0/1.0.0/0",
        "imagePipelineArn": "arn:pipeline/0",
        **fields,
    }


ADDED = {
    "of known kinds": [new(f"new {number}") for number in range(25)],
    "of a new severity": [new("new", severity="SEVERE")],
    "of a new image": [new("new", imageBuildVersionArn="arn:image/9/1.0.0/99")],
    "of a new pipeline": [
        new("new", imageBuildVersionArn="arn:image/9/1.0.0/99", imagePipelineArn="arn:pipeline/9")
    ],
    "outside any pipeline": [new("new", imagePipelineArn=None)],
}


@pytest.mark.parametrize("kind", ADDED)
@pytest.mark.parametrize("split", ["severity", "pipeline", "image"])
@pytest.mark.parametrize("verify", [None, True, False])
async def test_findings_that_came_after_a_kill_are_read(
    tmp_path: Path, kind: str, split: str, *, verify: bool | None
) -> None:
    case, service = Case(tmp_path, {"split": split, "verify": verify}), Dying(make(1300))
    service.last = 90
    await case.kill(service)
    assert any(service.filters), "split"
    # In front and in the middle: a token that is a position leads elsewhere then.
    later = [*ADDED[kind], *service.findings]
    await case.sweep(resumed := FakeImageBuilder(later))
    assert case.found() == multiset(later)
    assert resumed.calls[COUNT] >= 1
    assert case.verified is True


@pytest.mark.parametrize("split", ["none", "severity", "image"])
async def test_a_target_that_was_read_whole_but_not_finished_is_proved(
    tmp_path: Path, split: str
) -> None:
    case, service = Case(tmp_path, {"split": split}), FakeImageBuilder(make(1300))
    await case.kill(service, DyingSink)
    later = [new("new"), *service.findings]
    await case.sweep(FakeImageBuilder(later))
    assert case.found() == multiset(later)
    assert case.verified is True


@pytest.mark.parametrize("split", ["none", "severity", "image"])
async def test_as_many_findings_that_came_as_have_gone_are_noticed_by_their_severity(
    tmp_path: Path, split: str
) -> None:
    findings = make(1300, severities=("HIGH", "MEDIUM"))
    case, service = Case(tmp_path, {"split": split}), FakeImageBuilder(findings)
    await case.kill(service, DyingSink)
    gone = next(place for place, one in enumerate(findings) if one["severity"] == "MEDIUM")
    later = [*findings[:gone], *findings[gone + 1 :], new("new", severity="CRITICAL")]
    await case.sweep(FakeImageBuilder(later))
    if split != "none":  # a chain has but one number to compare
        assert case.found() == multiset(later)


@pytest.mark.parametrize("split", ["none", "severity", "image"])
async def test_a_resume_without_a_change_reads_no_page_twice(tmp_path: Path, split: str) -> None:
    findings = make(1300)
    case, service = Case(tmp_path, {"split": split}), Dying(findings)
    service.last = 70
    await case.kill(service)
    await case.sweep(resumed := FakeImageBuilder(findings))
    assert case.found() == multiset(findings)
    assert resumed.calls[LIST] < 90
    assert resumed.calls[COUNT] == 1
    assert case.verified is True


@pytest.mark.parametrize("queries", [[ALL], [Query(TARGET, "severity", "HIGH")]])
@pytest.mark.parametrize("split", ["auto", "none"])
@pytest.mark.parametrize("killed", [1, 3, 5])
async def test_a_plain_chain_that_resumes_misses_nothing_before_its_token(
    tmp_path: Path, queries: list[Query], split: str, killed: int
) -> None:
    case = Case(tmp_path, {"split": split}, queries)
    service = Dying(make(80, severities=("HIGH",)))
    service.last = killed
    await case.kill(service)
    later = [new("new"), *service.findings]
    await case.sweep(FakeImageBuilder(later))
    assert case.found() == multiset(later)


@pytest.mark.parametrize("counted", [lambda true, _: true + 3, lambda _true, _calls: 1303])
async def test_counts_that_are_doubted_let_no_old_token_be_used(
    tmp_path: Path, counted: Callable[[int, int], int]
) -> None:
    case = Case(tmp_path, doubted=True)
    service = Dying(make(1300), counted=counted)
    service.last = 50
    await case.kill(service)
    later = [new("new"), *service.findings]
    await case.sweep(FakeImageBuilder(later, counted=counted))
    assert case.found() == multiset(later)
    assert case.verified is False


async def test_a_single_page_that_was_read_but_not_finished_is_read_again(tmp_path: Path) -> None:
    case, service = Case(tmp_path), FakeImageBuilder(make(5))
    await case.kill(service, DyingSink)
    later = [*service.findings, new("new")]
    await case.sweep(resumed := FakeImageBuilder(later))
    assert case.found() == multiset(later)
    assert resumed.calls == {LIST: 1}


async def test_queries_that_an_earlier_run_completed_are_counted_again(tmp_path: Path) -> None:
    queries = [Query(TARGET, "severity", value) for value in ("HIGH", "MEDIUM")]
    case = Case(tmp_path, {}, queries)
    service = Dying(make(100, severities=("HIGH", "MEDIUM")))
    service.last = 8
    await case.kill(service)
    later = [new("new"), new("newer", severity="MEDIUM"), *service.findings]
    await case.sweep(FakeImageBuilder(later))
    assert case.found() == multiset(later)
    assert case.verified is True


@pytest.mark.parametrize("split", ["severity", "image"])
async def test_without_a_count_a_split_is_read_again(tmp_path: Path, split: str) -> None:
    case, service = Case(tmp_path, {"split": split}), Dying(make(1300))
    service.last = 90
    await case.kill(service)
    later = [*service.findings, new("new")]
    await case.sweep(FakeImageBuilder(later, denied=frozenset({COUNT})))
    assert case.found() == multiset(later)
    assert case.verified is None


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(0, 500),
    kills=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    added=st.lists(st.tuples(st.sampled_from(list(ADDED)), st.integers(0, 500)), max_size=3),
    split=st.sampled_from(["auto", "none", "severity", "pipeline", "image"]),
    verify=st.sampled_from([None, True]),
)
async def test_whenever_it_is_killed_a_complete_target_lacks_nothing(
    *,
    size: int,
    kills: list[int],
    added: list[tuple[str, int]],
    split: str,
    verify: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    case = Case(tmp_path_factory.mktemp("killed"), {"split": split, "verify": verify})
    findings = make(size)
    for number, last in enumerate(kills):
        service = Dying(findings)
        service.last = last
        try:
            await case.sweep(service)
        except (KilledError, BaseExceptionGroup):
            pass
        else:
            return
        for kind, place in added[number:]:
            findings = [*findings[:place], *ADDED[kind], *findings[place:]]
    await case.sweep(FakeImageBuilder(findings))
    assert case.found() == multiset(findings)
    assert case.verified is True or len(findings) <= 10
