"""The largest page that a region grants, whatever code it refuses a larger one with."""

from __future__ import annotations

import anyio
import pytest

from harvester.aws.findings import PageSizes, fetch_page
from harvester.clock import Clock
from harvester.errors import RefusedError
from harvester.model import Page, Query, Target
from harvester.paging.channel import Exchange
from harvester.paging.retry import RetryPolicy
from harvester.paging.slots import FairSlots
from harvester.tally import Tally
from tests.fake_image_builder import FakeImageBuilder

TARGET = Target("111122223333", "eu-west-1")
FINDINGS = [{"title": str(number), "imageBuildVersionArn": "i"} for number in range(60)]


class Keys:
    async def current(self) -> object:
        return None

    def expire(self, refused: object) -> None:
        raise AssertionError(refused)


async def fetch(service: FakeImageBuilder, sizes: PageSizes) -> Page:
    clock = Clock()
    exchange = Exchange(service, FairSlots(8), Tally(clock.now), clock, RetryPolicy())
    channel = exchange.channel("imagebuilder", TARGET.region, Keys(), account=TARGET.account)
    return await fetch_page(channel, sizes, Query(TARGET), None)


@pytest.mark.parametrize(
    "code",
    ["InvalidRequestException", "ValidationException", "ClientException", "BadRequestException"],
)
async def test_a_region_that_grants_25_is_asked_for_more_once(code: str) -> None:
    service, sizes = FakeImageBuilder(FINDINGS, largest=25, too_large=code), PageSizes(None)
    for _ in range(3):
        assert len((await fetch(service, sizes)).lines) == 25
    assert service.calls["list_image_scan_findings"] == 4


async def test_many_targets_of_a_region_have_one_refusal_between_them() -> None:
    service, sizes = FakeImageBuilder(FINDINGS, largest=25), PageSizes(None)
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(fetch, service, sizes)
    assert service.calls["list_image_scan_findings"] == 21


@pytest.mark.parametrize("code", ["AccessDeniedException", "UnrecognizedClientException"])
async def test_a_refusal_that_is_not_of_the_size_is_final(code: str) -> None:
    service = FakeImageBuilder(FINDINGS, largest=0, too_large=code)
    with pytest.raises(RefusedError, match=code):
        await fetch(service, PageSizes(None))
    assert service.calls.total() == 1
