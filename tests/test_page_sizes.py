"""The largest page that a region grants, whatever code it refuses a larger one with."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from harvester.aws.findings import fetch_page
from harvester.aws.pagesizes import PageSizes
from harvester.clock import Clock
from harvester.errors import RefusedError
from harvester.model import Page, Query, Target
from harvester.paging.channel import Call, Exchange
from harvester.paging.retry import RetryPolicy
from harvester.paging.slots import FairSlots
from harvester.tally import Tally
from tests.fake_image_builder import FakeImageBuilder

LIST = "list_image_scan_findings"
TARGET = Target("111122223333", "eu-west-1")
FINDINGS = [{"title": str(number), "imageBuildVersionArn": "i"} for number in range(60)]


class Keys:
    async def current(self) -> object:
        return None

    def expire(self, refused: object) -> None:
        raise AssertionError(refused)


class Odd(FakeImageBuilder):
    """Refuses some of the first calls for findings, whatever size they ask for."""

    odd: frozenset[int] = frozenset({0})

    async def call(self, call: Call, signer: Any) -> bytes:
        if self.calls[LIST] in self.odd:
            self.calls[LIST] += 1
            raise RefusedError("InvalidRequestException", "no", operation="O", status=400)
        return await super().call(call, signer)


async def fetch(service: FakeImageBuilder, sizes: PageSizes, account: str = "1" * 12) -> Page:
    clock = Clock()
    exchange = Exchange(service, FairSlots(8), Tally(clock.now), clock, RetryPolicy())
    channel = exchange.channel("imagebuilder", TARGET.region, Keys(), account=account)
    return await fetch_page(channel, sizes, Query(Target(account, TARGET.region)), None)


@pytest.mark.parametrize(
    "code",
    ["InvalidRequestException", "ValidationException", "ClientException", "BadRequestException"],
)
async def test_a_region_that_grants_25_is_asked_for_more_once(code: str) -> None:
    service, sizes = FakeImageBuilder(FINDINGS, largest=25, too_large=code), PageSizes(None)
    for _ in range(3):
        assert len((await fetch(service, sizes)).lines) == 25
    assert service.calls[LIST] == 4


async def test_many_targets_of_a_region_share_one_refusal_and_one_probe() -> None:
    service, sizes = FakeImageBuilder(FINDINGS, largest=25), PageSizes(None)
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(fetch, service, sizes)
    assert service.calls[LIST] == 20 + 1 + 1


@pytest.mark.parametrize("code", ["AccessDeniedException", "UnrecognizedClientException"])
async def test_a_refusal_that_is_not_of_the_size_is_final(code: str) -> None:
    service = FakeImageBuilder(FINDINGS, largest=0, too_large=code)
    with pytest.raises(RefusedError, match=code):
        await fetch(service, PageSizes(None))
    assert service.calls.total() == 1


async def test_an_odd_first_answer_costs_ten_small_pages_and_not_a_sweep() -> None:
    service, sizes = Odd(FINDINGS), PageSizes(None)
    lengths = [len((await fetch(service, sizes)).lines) for _ in range(40)]
    assert lengths == [25] * 11 + [60] * 29
    assert service.calls[LIST] == 41
    assert sizes.of(TARGET) == 100


async def test_two_odd_answers_are_forgotten_after_some_more_pages() -> None:
    service, sizes = Odd(FINDINGS), PageSizes(None)
    service.odd = frozenset({0, 12})  # the twelfth is the first probe
    lengths = [len((await fetch(service, sizes)).lines) for _ in range(60)]
    assert lengths == [25] * 32 + [60] * 28


async def test_a_region_that_grants_25_is_probed_ever_more_rarely() -> None:
    service, sizes = FakeImageBuilder(FINDINGS, largest=25), PageSizes(None)
    for _ in range(1000):
        await fetch(service, sizes)
    assert service.calls[LIST] <= 1000 + 8
    assert sizes.of(TARGET) == 25


async def test_an_account_that_is_refused_in_a_region_that_grants_concerns_itself_alone() -> None:
    sizes = PageSizes(None)
    granting, refusing = FakeImageBuilder(FINDINGS), FakeImageBuilder(FINDINGS, largest=25)
    for _ in range(30):
        assert len((await fetch(granting, sizes)).lines) == 60
        assert len((await fetch(refusing, sizes, "2" * 12)).lines) == 25
    assert granting.calls[LIST] == 30
    assert refusing.calls[LIST] <= 30 + 3


async def test_a_refusal_of_every_size_teaches_nothing() -> None:
    sizes = PageSizes(None)
    refusing = FakeImageBuilder(FINDINGS, largest=0, too_large="InvalidRequestException")
    with pytest.raises(RefusedError):
        await fetch(refusing, sizes)
    assert len((await fetch(FakeImageBuilder(FINDINGS), sizes)).lines) == 60
