"""The regions and partitions that the SDK knows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aiobotocore.session import AioSession

from harvester.spelling import closest

_GLOBAL = re.compile(r"aws(-[a-z]+)*-global")  # stands for services without regions


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of AWS: its name, its default region, all regions, and how they are called."""

    name: str
    default: str
    regions: frozenset[str]
    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Partitions:
    """All partitions, by name."""

    by_name: Mapping[str, Partition]

    @classmethod
    def of(cls, session: AioSession) -> Partitions:
        """Return the partitions in a session's endpoint data."""
        data = session.get_component("data_loader").load_data("partitions")
        made = (_partition(one) for one in data["partitions"])
        return cls({one.name: one for one in made})

    def knows(self, region: str) -> bool:
        """Whether the SDK's endpoint data has a region."""
        return any(region in one.regions for one in self.by_name.values())

    def of_region(self, region: str) -> Partition | None:
        """Return the partition of a region, by its name alone where it is a new one."""
        found = self.by_name.values()
        return next(
            (one for one in found if region in one.regions),
            next((one for one in found if one.pattern.fullmatch(region)), None),
        )

    def of_arn(self, arn: object) -> Partition | None:
        """Return the partition that an ARN names, None where there is none of that name."""
        parts = str(arn).split(":")
        return self.by_name.get(parts[1]) if len(parts) > 1 and parts[0] == "arn" else None

    def suggest(self, region: str, others: Iterable[str] = ()) -> str | None:
        """Return the region that was probably meant, among the known ones and `others`."""
        known = {name for one in self.by_name.values() for name in one.regions}
        return closest(region, {*known, *others})


def _partition(data: Mapping[str, object]) -> Partition:
    regions, outputs = data["regions"], data["outputs"]
    if not isinstance(regions, Mapping) or not isinstance(outputs, Mapping):
        raise TypeError("partitions")  # pragma: no cover
    return Partition(
        str(data["id"]),
        str(outputs["implicitGlobalRegion"]),
        frozenset(name for name in regions if not _GLOBAL.fullmatch(name)),
        re.compile(str(data["regionRegex"])),
    )
