"""Refuse filters whose ARNs all lie outside of the selected accounts and regions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harvester.errors import SettingsError
from harvester.names import is_account
from harvester.settings.values import shown

if TYPE_CHECKING:
    from harvester.settings import Settings
    from harvester.settings.names import Names
    from harvester.settings.sections import AccountSettings, RegionSettings

_WILD = frozenset("*?[")
_ARN_FIELDS = 6


def check_arn_scope(settings: Settings, names: Names) -> None:
    """Raise SettingsError where the filters' ARNs leave no account and region to read.

    An ARN names the only account and region in which it can match. All values of one filter
    are alternatives, and different filters must all hold.
    """
    possible: set[tuple[str, str]] | None = None
    for key, part, arns in _arn_filters(settings):
        places = {place for place in map(place_of, arns) if place is not None}
        if len(places) < len(set(arns)) or not arns:
            continue  # one of them may match anywhere
        name = names.within(key, part) if part else names(key)
        reasons = [_outside(settings, names, *place) for place in sorted(places)]
        if all(reasons):
            raise SettingsError(f"{name}: {shown(arns[0])} can match nothing: {reasons[0]}")
        possible = places if possible is None else possible & places
        if not possible:
            raise SettingsError(
                f"{name}: {shown(arns[0])} can match nothing: the other filters name other"
                " accounts or regions, and all filters must hold"
            )


def _arn_filters(settings: Settings) -> Iterator[tuple[str, str, Sequence[str]]]:
    for name in ("imageBuildVersionArn", "imagePipelineArn"):
        yield "findings.filters", name, settings.findings.filters.get(name, ())
    yield "findings.pipelines", "", settings.findings.pipelines


def place_of(arn: str) -> tuple[str, str] | None:
    """Return the account and region of an ARN, None where they are not both certain."""
    parts = arn.split(":", _ARN_FIELDS - 1)
    if len(parts) < _ARN_FIELDS or parts[0] != "arn" or _WILD & set("".join(parts[:5])):
        return None
    return (parts[4], parts[3]) if is_account(parts[4]) else None  # an image may be Amazon's


def _outside(settings: Settings, names: Names, account: str, region: str) -> str:
    """Return why an account and region are certainly not read, empty where they may be."""
    if _leaves_out_region(settings.regions, region):
        key = "regions.exclude" if region in settings.regions.exclude else "regions.include"
        return f"its region {region} is not selected by {names.mention(key)}"
    if _leaves_out_account(settings.accounts, account):
        key = "accounts.exclude" if account in settings.accounts.exclude else "accounts.include"
        return f"its account {account} is not selected by {names.mention(key)}"
    return ""


def _leaves_out_region(regions: RegionSettings, region: str) -> bool:
    listed = regions.include and "all" not in regions.include
    return region in regions.exclude or bool(listed and region not in regions.include)


def _leaves_out_account(accounts: AccountSettings, account: str) -> bool:
    if account in accounts.exclude:
        return True
    listed = accounts.include and not accounts.organization and not accounts.organizational_units
    return bool(listed and account not in accounts.include)
