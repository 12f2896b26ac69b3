"""Settings that are fine alone and contradict each other."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from harvester.errors import SettingsError
from harvester.settings.endpoints import check_endpoint
from harvester.settings.sections import is_folder
from harvester.settings.values import shown

if TYPE_CHECKING:
    from harvester.settings import Settings
    from harvester.settings.names import Names
    from harvester.settings.sections import AccountSettings, OutputSettings, RegionSettings

_SINGLE_FILE = re.compile(r".*[^/]\.ndjson(?:\.gz|\.zst)?", re.DOTALL)


def check_contradictions(settings: Settings, names: Names) -> None:
    """Raise SettingsError where two settings, each fine alone, cannot both hold.

    Looks at the file system to tell a folder from a file.
    """
    _check_accounts(settings.accounts, names)
    _check_regions(settings.regions, names)
    _check_output(settings.output, names)
    if settings.aws.endpoint_url is not None:
        check_endpoint(
            names("aws.endpoint_url"),
            settings.aws.endpoint_url,
            allow_insecure=settings.aws.allow_insecure_endpoint,
        )


def _check_accounts(accounts: AccountSettings, names: Names) -> None:
    if accounts.organization:
        for key in ("include", "organizational_units"):
            if getattr(accounts, key):
                raise SettingsError(
                    f"{names('accounts.organization')} and {names.mention(f'accounts.{key}')}"
                    f" {shown(list(getattr(accounts, key)))} contradict each other: allowed are"
                    " the whole organization, or organizational units and account ids together"
                )
    for key in ("organization", "organizational_units"):
        if getattr(accounts, key) and accounts.role_name is None:
            raise SettingsError(
                f"accounts.role_name is needed with {names.mention(f'accounts.{key}')}: the role to"
                " assume in each account, such as 'Harvester' or 'security/Harvester'",
                hint="set accounts.role_name, or give --role-name NAME",
            )
    if not accounts.organizational_units:
        _check_something_left("accounts", accounts.include, accounts.exclude, names)


def _check_regions(regions: RegionSettings, names: Names) -> None:
    named = [name for name in regions.include if name != "all"]
    if named and "all" in regions.include:
        raise SettingsError(
            f"{names('regions.include')}: 'all' and {shown(named)} contradict each other:"
            " allowed are 'all' alone, or names of regions"
        )
    _check_something_left("regions", regions.include, regions.exclude, names)


def _check_something_left(
    section: str, include: Collection[str], exclude: Collection[str], names: Names
) -> None:
    if include and set(include) <= set(exclude):
        raise SettingsError(
            f"{names(f'{section}.exclude')}: {shown(list(exclude))} leaves none of the {section} of"
            f" {names.mention(f'{section}.include')}; at least one of them must stay"
        )


def _check_output(output: OutputSettings, names: Names) -> None:
    name = names("output.path")
    if output.kind == "file" and not _SINGLE_FILE.fullmatch(output.path):
        raise SettingsError(
            f"{name}: {shown(output.path)} is not '-', a file NAME.ndjson, NAME.ndjson.gz or"
            " NAME.ndjson.zst, or a folder (one that exists, or a name that ends in /)"
        )
    if output.kind != "folder" and output.compression != "none":
        raise SettingsError(
            f"{names('output.compression')}: {shown(output.compression)} is for a folder, and"
            f" {names.mention('output.path')} {shown(output.path)} is none; allowed here is 'none', since a single file's"
            " name says it: NAME.ndjson.zst"
        )
    if output.summary is not None:
        _check_summary(output.summary, output.path, names)


def _check_summary(summary: str, path: str, names: Names) -> None:
    name = names("output.summary")
    if summary == "-" or is_folder(summary):
        raise SettingsError(
            f"{name}: {shown(summary)} is not the path of a file; '-' and folders are not allowed"
        )
    if os.path.realpath(summary) == os.path.realpath(path):
        raise SettingsError(
            f"{name}: {shown(summary)} is also {names.mention('output.path')}; allowed is any other file"
        )
