"""Refusing regions that do not exist, before anything is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harvester.aws.listings import list_parsed
from harvester.aws.partitions import Partitions
from harvester.errors import HarvesterError, SettingsError
from harvester.names import is_region
from harvester.paging.channel import Channel
from harvester.settings.values import shown


@dataclass(frozen=True, slots=True)
class Listed:
    """The regions that the caller's account lists, or why it could not be asked."""

    names: frozenset[str] = frozenset()
    reason: str | None = None


def refuse_malformed(named: Sequence[tuple[str, str]], partitions: Partitions) -> None:
    """Raise SettingsError for a text that cannot be a region's name: no host is made of it."""
    for name, origin in named:
        if not is_region(name):
            meant = partitions.suggest(name)
            advice = f"did you mean {meant}?" if meant else "a region's name is such as us-east-1"
            raise SettingsError(f"{origin}: {shown(name)} is not a region's name: {advice}")


def unknown_regions(
    named: Sequence[tuple[str, str]], partitions: Partitions
) -> dict[str, list[str]]:
    """Return the regions that the SDK does not know, by what names them."""
    found: dict[str, list[str]] = {}
    for region, origin in named:
        if not partitions.knows(region):
            found.setdefault(origin, []).append(region)
    return found


async def list_regions(ec2: Channel) -> Listed:
    """Ask the account for all regions, those that are not enabled in it included."""
    try:
        rows = await list_parsed(ec2.hurried(), "describe_regions", "Regions", {"AllRegions": True})
    except HarvesterError as error:
        return Listed(reason=str(error))
    return Listed(frozenset(str(row.get("RegionName")) for row in rows))


def refuse_unknown(
    unknown: Mapping[str, Sequence[str]], listed: Listed, partitions: Partitions
) -> None:
    """Raise SettingsError for regions that the account does not list either."""
    for origin, names in unknown.items():
        bad = [name for name in names if name not in listed.names]
        if not bad:
            continue
        guesses = [partitions.suggest(name, listed.names) for name in bad]
        meant = ", ".join(dict.fromkeys(guess for guess in guesses if guess))
        advice = f"did you mean {meant}?" if meant else "give the name of a region"
        why = (
            f"the account could not be asked for others: {listed.reason}"
            if listed.reason
            else "the account lists no such region"
        )
        raise SettingsError(
            f"{origin}: unknown region {', '.join(map(shown, bad))}: {advice} ({why})"
        )
