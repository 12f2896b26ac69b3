"""Which regions of an account are swept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from harvester.aws.listings import list_parsed
from harvester.aws.partitions import Partitions
from harvester.errors import DamagedAnswerError
from harvester.paging.channel import Channel
from harvester.settings import RegionSettings
from harvester.settings.values import shown


async def offered_regions(settings: RegionSettings, default: str, ec2: Channel) -> tuple[str, ...]:
    """Return the regions of the account that `ec2` is signed for, before any is excluded.

    `all` asks EC2 DescribeRegions, since the SDK's tables do not know which regions an
    account has enabled. What it calls them is passed on as it came: see `is_region`. Raises
    a `ServiceError` where that is refused.
    """
    if settings.include == ("all",):
        return await _enabled_regions(ec2)
    return settings.include or (default,)


class Excluded:
    """Which regions an exclusion has left out so far.

    Args:
        exclude: the regions to leave out.
    """

    def __init__(self, exclude: Iterable[str]) -> None:
        self._exclude = tuple(exclude)
        self._seen: set[str] = set()

    def choose(self, offered: Iterable[str]) -> tuple[str, ...]:
        """Return the regions that are left of those that an account offers, sorted."""
        names = set(offered)
        self._seen |= names
        return tuple(sorted(names - set(self._exclude)))

    def warnings(self, partitions: Partitions) -> list[str]:
        """Return a line for each exclusion that no account had a use for."""
        if not self._seen:  # no account's regions are known
            return []
        return [
            _matched_nothing(name, partitions) for name in self._exclude if name not in self._seen
        ]


def _matched_nothing(name: str, partitions: Partitions) -> str:
    line = f"regions.exclude (--exclude-region): {shown(name)} excludes nothing"
    if partitions.knows(name):
        return f"{line}: it is not among the regions to sweep"
    meant = partitions.suggest(name)
    return f"{line}: unknown region" + (f"; did you mean {meant}?" if meant else "")


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
