"""Which regions of an account are swept."""

from __future__ import annotations

from typing import Any

from harvester.aws.listings import list_parsed
from harvester.errors import DamagedAnswerError
from harvester.model import Regions
from harvester.paging.channel import Channel
from harvester.settings import RegionSettings


async def choose_regions(settings: RegionSettings, default: str, ec2: Channel) -> Regions:
    """Return the regions to sweep of the account that `ec2` is signed for.

    `all` asks EC2 DescribeRegions, since the SDK's tables do not know which regions an
    account has enabled. What it calls them is passed on as it came: see `is_region`. Raises
    a `ServiceError` where that is refused.
    """
    if settings.include == ("all",):
        regions = await _enabled_regions(ec2)
    else:
        regions = settings.include or (default,)
    excluded = set(regions) & set(settings.exclude)
    return Regions(sorted(set(regions) - excluded), sorted(excluded))


async def _enabled_regions(ec2: Channel) -> tuple[str, ...]:
    found = await list_parsed(ec2, "describe_regions", "Regions")
    names: tuple[Any, ...] = tuple(
        region.get("RegionName") for region in found if region.get("OptInStatus") != "not-opted-in"
    )
    if not names or not all(isinstance(name, str) for name in names):
        # Every account has some that cannot be disabled.
        raise DamagedAnswerError(
            "DamagedAnswer", "no region, or one without a name", operation="DescribeRegions"
        )
    return names
