"""What a sweep is told: frozen, validated settings from a TOML file, options, or code.

Nothing here contacts anything: it reads the config file, and asks the file system whether
the output is a folder.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from harvester.errors import SettingsError
from harvester.settings.arn_scope import check_arn_scope
from harvester.settings.checks import check_section, check_section_names, refuse_secrets
from harvester.settings.conflicts import check_contradictions
from harvester.settings.filters import FILTER_KINDS, KNOWN_SEVERITIES
from harvester.settings.names import KeyPlaces, Names
from harvester.settings.paths import expand_path
from harvester.settings.sections import (
    AccountSettings,
    AwsSettings,
    FindingSettings,
    LimitSettings,
    LogSettings,
    OutputSettings,
    RegionSettings,
)
from harvester.settings.source import DEFAULT_FILE, MAX_FILE_BYTES, parse_config, read_config
from harvester.settings.types import is_path, parse_duration
from harvester.text import Secret

if TYPE_CHECKING:
    import os

__all__ = [
    "DEFAULT_FILE",
    "FILTER_NAMES",
    "MAX_FILE_BYTES",
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

FILTER_NAMES = tuple(FILTER_KINDS)
"""The API's filter names, case-sensitive."""

CHOOSING_KEYS = ("organization", "organizational_units", "include")
"""The keys of ``[accounts]`` that choose accounts: an option for one replaces all three."""


SELECTION_KEYS: Mapping[str, tuple[str, ...]] = {
    "accounts": ("organization", "organizational_units", "include", "exclude"),
    "regions": ("include", "exclude"),
    "findings": ("pipelines", "filters"),
}
"""The keys, by section, that decide which findings are read. How they are read, and as whom, may
change while a sweep is unfinished."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
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

    if TYPE_CHECKING:
        # Wider than the fields: a section is stored as its own type, whatever it was given as.
        def __init__(
            self,
            *,
            accounts: AccountSettings | Mapping[str, Any] = ...,
            regions: RegionSettings | Mapping[str, Any] = ...,
            findings: FindingSettings | Mapping[str, Any] = ...,
            limits: LimitSettings | Mapping[str, Any] = ...,
            output: OutputSettings | Mapping[str, Any] = ...,
            log: LogSettings | Mapping[str, Any] = ...,
            aws: AwsSettings | Mapping[str, Any] = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        """Turn sections given as mappings into their own types."""
        for name, kind in _SECTIONS.items():
            content: object = getattr(self, name)
            if not isinstance(content, kind):
                refuse_secrets({name: content})
                msgspec.structs.force_setattr(self, name, check_section(name, content, kind))

    @property
    def source(self) -> str | None:
        """The config file that was read, as it was named; None without one.

        Not a setting: it takes no part in comparisons, and ``msgspec.structs.replace`` drops it.
        """
        return _names_of(self).file

    def name_of(self, key: str) -> str:
        """Return what an error calls a dotted key: the option, or the key with FILE:LINE."""
        return _names_of(self)(key)


def _names_of(settings: Settings) -> Names:
    names = settings.__dict__.get(_NAMES)
    return names if isinstance(names, Names) else Names()


_NAMES = "names"
_SECTIONS: Mapping[str, type[msgspec.Struct]] = {
    field.name: field.type for field in msgspec.structs.fields(Settings)
}
_PATHS = [
    (section, field.name)
    for section, kind in _SECTIONS.items()
    for field in msgspec.structs.fields(kind)
    if is_path(field.type)
]


def load_settings(
    path: str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    origins: Mapping[str, str] | None = None,
) -> Settings:
    """Settings from a TOML file and what beats it.

    Args:
        path: the file; None reads ``./harvester.toml`` where there is one.
        overrides: values by dotted key (``{"limits.max_rate": 3.0}``), each in place of the
            file's. A choice of accounts here replaces the file's as a whole, and a destination
            here that has no use for the file's compression ignores it.
        origins: by dotted key, the option that an override came from (``--max-rate``);
            errors then name the option.

    ``~`` and environment variables in paths are expanded, in the file and in overrides.

    Raises SettingsError, with one line, for a file that cannot be read or trusted, an unknown
    key, and a value that is not allowed or contradicts another.
    """
    file = read_config(path)
    tree = _veiled({} if file is None else parse_config(file))
    places = None if file is None else KeyPlaces(file.name, file.text)
    given = overrides or {}
    refuse_secrets(tree, Names(places=places))
    check_section_names(tree, _SECTIONS, Names(places=places))
    names = Names(origins, places, given)
    return _build(_expanded(_overridden(tree, given), names), names, decided=given)


def check_settings(settings: Settings, origins: Mapping[str, str] | None = None) -> Settings:
    """The same settings with every value checked again, however they were made.

    Lists become tuples, and values given twice are kept once. `origins` is as for
    ``load_settings``. Raises SettingsError for the first value that is not allowed or
    contradicts another.
    """
    given: object = settings
    if not isinstance(given, Settings):
        raise SettingsError(
            f"settings: {type(given).__name__} is not harvester.Settings: use "
            "harvester.Settings(accounts=…, regions=…) or harvester.load_settings(FILE)"
        )
    tree = _veiled(
        {name: _values(getattr(settings, name), kind) for name, kind in _SECTIONS.items()}
    )
    return _build(tree, _names_of(settings) if origins is None else Names(origins))


def _values(section: object, kind: type[msgspec.Struct]) -> Any:
    return msgspec.structs.asdict(section) if isinstance(section, kind) else section


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


def _build(tree: Mapping[str, Any], names: Names, *, decided: Collection[str] = ()) -> Settings:
    """Return the settings from a tree of values; the `decided` keys beat the others."""
    tree = _veiled(tree)
    refuse_secrets(tree, names)
    check_section_names(tree, _SECTIONS, names)
    sections: dict[str, Any] = {
        name: check_section(name, content, _SECTIONS[name], names) for name, content in tree.items()
    }
    settings = Settings(**sections)
    if "output.path" in decided and "output.compression" not in decided:
        output = settings.output.for_its_path()
        settings = msgspec.structs.replace(settings, output=output)
    check_contradictions(settings, names)
    check_arn_scope(settings, names)
    settings.__dict__[_NAMES] = names
    return settings


def _overridden(tree: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the file's values with those that were given in their place."""
    result = dict(tree)
    if any(f"accounts.{key}" in given for key in CHOOSING_KEYS):
        result["accounts"] = _without(result.get("accounts", {}), CHOOSING_KEYS)
    for dotted, value in given.items():
        section, _, key = dotted.partition(".")
        content = result.get(section, {})
        # Where the file has no table, its error is more to the point than the override.
        result[section] = {**content, key: value} if isinstance(content, Mapping) else content
    return result


def _expanded(tree: dict[str, Any], names: Names) -> dict[str, Any]:
    """Return the values with `~` and variables in paths expanded."""
    result = dict(tree)
    for section, key in _PATHS:
        content = result.get(section)
        if isinstance(content, Mapping) and isinstance(path := content.get(key), str):
            result[section] = {**content, key: expand_path(names(f"{section}.{key}"), path)}
    return result


def _veiled(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same table, where no repr of it shows the external id."""
    accounts = tree.get("accounts")
    if not isinstance(accounts, Mapping) or not isinstance(accounts.get("external_id"), str):
        return tree
    return {**tree, "accounts": {**accounts, "external_id": Secret(accounts["external_id"])}}


def _without(content: Any, keys: tuple[str, ...]) -> Any:
    if not isinstance(content, Mapping):
        return content
    return {key: value for key, value in content.items() if key not in keys}
