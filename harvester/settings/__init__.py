"""What a sweep is told: frozen, validated settings from a TOML file, options, or code.

Nothing here contacts anything: it reads the config file, and asks the file system whether
the output is a folder.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harvester.errors import SettingsError
from harvester.settings.checks import (
    FILTER_KINDS,
    Names,
    check_section,
    check_section_names,
    refuse_secrets,
)
from harvester.settings.conflicts import check_contradictions
from harvester.settings.sections import (
    AccountSettings,
    AwsSettings,
    FindingSettings,
    LimitSettings,
    LogSettings,
    OutputSettings,
    RegionSettings,
)
from harvester.settings.types import parse_duration
from harvester.settings.values import escaped
from harvester.text import Secret

if TYPE_CHECKING:
    import os

__all__ = [
    "FILTER_NAMES",
    "SELECTION_KEYS",
    "AccountSettings",
    "AwsSettings",
    "FindingSettings",
    "LimitSettings",
    "LogSettings",
    "OutputSettings",
    "RegionSettings",
    "Settings",
    "check_settings",
    "load_settings",
    "parse_duration",
    "selection",
    "unusual_severities",
]

DEFAULT_FILE = "harvester.toml"
"""The config file that is read, where there is one, when none is named."""

MAX_FILE_BYTES = 1024 * 1024
"""A larger config file is refused: it is no config file."""

FILTER_NAMES = tuple(FILTER_KINDS)
"""The API's filter names, case-sensitive."""

KNOWN_SEVERITIES = ("UNTRIAGED", "INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL")
"""The severities that the service documents; it may use others."""

CHOOSING_KEYS = ("organization", "organizational_units", "include")
"""The keys of ``[accounts]`` that choose accounts: an option for one replaces all three."""


SELECTION_KEYS: Mapping[str, tuple[str, ...]] = {
    "accounts": ("organization", "organizational_units", "include", "exclude"),
    "regions": ("include", "exclude"),
    "findings": ("pipelines", "filters"),
}
"""The keys, by section, that decide which findings are read. How they are read, and as whom, may
change while a sweep is unfinished."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that a sweep is told, one attribute for each section of the config file.

    A section given as a plain mapping is validated and becomes the section's own type;
    SettingsError says what is wrong with it. ``check_settings`` validates the whole.
    """

    accounts: AccountSettings = AccountSettings()
    regions: RegionSettings = RegionSettings()
    findings: FindingSettings = msgspec.field(default_factory=FindingSettings)
    limits: LimitSettings = LimitSettings()
    output: OutputSettings = OutputSettings()
    log: LogSettings = LogSettings()
    aws: AwsSettings = AwsSettings()

    def __post_init__(self) -> None:
        """Turn sections given as mappings into their own types."""
        for name, kind in _SECTIONS.items():
            content: object = getattr(self, name)
            if not isinstance(content, kind):
                refuse_secrets({name: content})
                msgspec.structs.force_setattr(self, name, check_section(name, content, kind))


_SECTIONS: Mapping[str, type[msgspec.Struct]] = {
    field.name: field.type for field in msgspec.structs.fields(Settings)
}


def load_settings(
    path: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    origins: Mapping[str, str] | None = None,
) -> Settings:
    """Settings from a TOML file and what beats it.

    Args:
        path: the file; None reads ``./harvester.toml`` where there is one.
        overrides: values by dotted key (``{"limits.max_rate": 3.0}``), each in place of the
            file's. A choice of accounts here replaces the file's as a whole.
        origins: by dotted key, the option that an override came from (``--max-rate``);
            errors then name the option.

    Raises SettingsError, with one line, for a file that cannot be read, an unknown key, and a
    value that is not allowed or contradicts another.
    """
    tree = _veiled(_read(path))
    refuse_secrets(tree)
    check_section_names(tree, _SECTIONS)
    given = overrides or {}
    if any(f"accounts.{key}" in given for key in CHOOSING_KEYS):
        tree["accounts"] = _without(tree.get("accounts", {}), CHOOSING_KEYS)
    for dotted, value in given.items():
        section, _, key = dotted.partition(".")
        content = tree.get(section, {})
        # Where the file has no table, its error is more to the point than the override.
        tree[section] = {**content, key: value} if isinstance(content, Mapping) else content
    tree = _veiled(tree)
    return _build(tree, Names(origins))


def check_settings(settings: Settings, origins: Mapping[str, str] | None = None) -> Settings:
    """The same settings with every value checked anew, however they were made.

    Lists become tuples, and values given twice are kept once. `origins` is as for
    ``load_settings``. Raises SettingsError for the first value that is not allowed or
    contradicts another.
    """
    tree = {}
    for name, kind in _SECTIONS.items():
        content = getattr(settings, name)
        tree[name] = msgspec.structs.asdict(content) if isinstance(content, kind) else content
    tree = _veiled(tree)
    return _build(tree, Names(origins))


def selection(settings: Settings) -> dict[str, Any]:
    """Return the settings that decide which findings are read, but for defaults, by dotted key."""
    found: dict[str, Any] = {}
    for section, keys in SELECTION_KEYS.items():
        for key in keys:
            if value := getattr(getattr(settings, section), key):
                found[f"{section}.{key}"] = list(value) if isinstance(value, tuple) else value
    return found


def unusual_severities(settings: Settings) -> tuple[str, ...]:
    """Severities filtered for that the service does not document: a typing error, perhaps."""
    wanted = settings.findings.filters.get("severity", ())
    return tuple(severity for severity in wanted if severity not in KNOWN_SEVERITIES)


def _build(tree: Mapping[str, Any], names: Names) -> Settings:
    refuse_secrets(tree)
    check_section_names(tree, _SECTIONS)
    sections: dict[str, Any] = {
        name: check_section(name, content, _SECTIONS[name], names) for name, content in tree.items()
    }
    settings = Settings(**sections)
    check_contradictions(settings, names)
    return settings


def _veiled(tree: dict[str, Any]) -> dict[str, Any]:
    """The same table, where no repr of it shows the external id."""
    accounts = tree.get("accounts")
    if not isinstance(accounts, Mapping) or not isinstance(accounts.get("external_id"), str):
        return tree
    return {**tree, "accounts": {**accounts, "external_id": Secret(accounts["external_id"])}}


def _without(content: Any, keys: tuple[str, ...]) -> Any:
    if not isinstance(content, Mapping):
        return content
    return {key: value for key, value in content.items() if key not in keys}


def _read(path: str | os.PathLike[str] | None) -> dict[str, Any]:
    file = Path(DEFAULT_FILE if path is None else path)
    name = escaped(str(file))
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        if path is None:
            return {}
        raise SettingsError(f"{name}: there is no such file; a config file is TOML") from None
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingsError(f"{name}: cannot be read: {escaped(reason)}") from None
    if len(data) > MAX_FILE_BYTES:
        raise SettingsError(f"{name}: larger than 1 MiB, which no config file is")
    return _parse(data, name)


def _parse(data: bytes, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{name}: not UTF-8 text (at line {line}); TOML must be") from None
    except RecursionError:
        raise SettingsError(f"{name}: not valid TOML: nested too deeply") from None
    except ValueError as error:  # beside TOMLDecodeError, an integer of thousands of digits
        reason = re.sub(r"\s+", " ", escaped(str(error)))[:200]
        raise SettingsError(f"{name}: not valid TOML: {reason}") from None
