"""How a sweep ended for each target, and what its output became: values, no I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harvester.model import Query, Target
from harvester.output.extents import Extents
from harvester.output.publish import PartWriter

Spooled = Mapping[Target, Mapping[Query, Extents]]
"""The extents of each target's queries in the spool."""


@dataclass(frozen=True, slots=True)
class Results:
    """How the targets of a sweep ended.

    Attributes:
        complete: targets that were read to their end.
        broken: targets that failed or are incomplete.
        accounts: ids of accounts that failed before their regions were known.
        regions: the selected regions, None for every region.
        excluded_regions: regions that are not swept in any case.
    """

    complete: Collection[Target] = ()
    broken: Collection[Target] = ()
    accounts: Collection[str] = ()
    regions: Collection[str] | None = None
    excluded_regions: Collection[str] = ()

    @property
    def is_partial(self) -> bool:
        """Whether any target or account could not be read to its end."""
        return bool(self.broken or self.accounts)

    def is_selected(self, region: str) -> bool:
        """Whether a region is among the selected ones."""
        chosen = self.regions is None or region in self.regions
        return chosen and region not in self.excluded_regions


@dataclass(frozen=True, slots=True)
class Aside:
    """A file with an incomplete reading, and its findings by severity."""

    path: Path
    severities: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Published:
    """What the output became.

    Attributes:
        written: whether anything was replaced; False where the output is as it was.
        stale: targets, and ids of accounts, whose older findings stand.
        aside: the incomplete readings that are not in the output, by target.
        kept: lines of the older file that are in the new one.
        unattributed: those of them whose target cannot be told from the line.
    """

    written: bool = True
    stale: Collection[Target | str] = ()
    aside: Mapping[Target, Aside] = field(default_factory=dict)
    kept: int = 0
    unattributed: int = 0


class Layout(Protocol):
    """The files of an output.

    Attributes:
        early: whether a target's file can appear before the sweep ends.
    """

    early: bool

    def stands(self, target: Target) -> bool:
        """Return whether the target's own file exists."""
        ...

    def stale(self, results: Results) -> Collection[Target | str]:
        """Return targets, and accounts, that were not read and have a file of an earlier sweep."""
        ...

    def publish(self, writer: PartWriter, complete: Spooled) -> None:
        """Write the files of complete targets, while others are still being read."""
        ...

    def finish(
        self, writer: PartWriter, complete: Spooled, incomplete: Spooled, results: Results
    ) -> Published:
        """Write all that is not published yet, at the end of a sweep."""
        ...
