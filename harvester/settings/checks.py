"""Which sections and keys exist, and the way from a table of them to settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from harvester.errors import SettingsError
from harvester.settings.filters import FILTER_KINDS
from harvester.settings.names import Names, key_name
from harvester.settings.suggestions import closest
from harvester.settings.toml_lines import KeyPath
from harvester.settings.values import check_list, check_value, escaped, shown

SectionT = TypeVar("SectionT", bound=msgspec.Struct)

_NAME_CHARACTERS = 200
_SECRET_KEY = re.compile("accesskey|secret|token|passw|passphrase|credential|privatekey|apikey")


def refuse_secrets(tree: Mapping[Any, Any], names: Names | None = None) -> None:
    """Raise SettingsError where any key, however deep, looks made for a credential."""
    names = names or Names()
    waiting: list[tuple[str, KeyPath, object]] = [("", (), tree)]  # files can nest deeply
    while waiting:
        name, path, value = waiting.pop()
        if isinstance(value, list | tuple):
            waiting.extend((name, path, item) for item in value)
        if not isinstance(value, Mapping):
            continue
        for key, inner in value.items():
            dotted, below = f"{name}.{key_name(key)}" if name else key_name(key), (*path, str(key))
            if _SECRET_KEY.search(re.sub(r"[^a-z]", "", str(key).lower())):
                raise SettingsError(
                    f"{names(_cut(dotted), below)}: credentials have no key here; they come from"
                    " the SDK's own chain (environment, profile, role)"
                )
            waiting.append((_cut(dotted), below, inner))


def check_section_names(
    tree: Mapping[Any, Any], sections: Mapping[str, type], names: Names | None = None
) -> None:
    """Raise SettingsError for a section that does not exist."""
    names = names or Names()
    for name in tree:
        if name in sections:
            continue
        homes = [f"{section}.{name}" for section, kind in sections.items() if name in _keys(kind)]
        raise _unknown(names(key_name(name), (str(name),)), "section", name, sections, homes)


def check_section(
    section: str, content: object, kind: type[SectionT], names: Names | None = None
) -> SectionT:
    """The section's settings from a table of its keys; a key left out has its default.

    Raises SettingsError for a key that does not exist and for each value that is not allowed.
    """
    names = names or Names()
    if not isinstance(content, Mapping):
        raise SettingsError(
            f"{names(section)}: {shown(content)} is not a table; allowed are its keys:"
            f" {', '.join(sorted(_keys(kind)))}"
        )
    kinds = _keys(kind)
    clean: dict[str, Any] = {}
    for key, value in content.items():
        dotted = f"{section}.{key_name(key)}"
        if key not in kinds:
            raise _unknown(names(dotted, (section, str(key))), "key", key, kinds)
        if dotted == "findings.filters":
            clean[key] = _check_filters(value, dotted, names)
        else:
            clean[key] = check_value(names(dotted), value, kinds[key])
    return kind(**clean)


def _check_filters(value: object, dotted: str, names: Names) -> dict[str, tuple[str, ...]]:
    allowed = ", ".join(sorted(FILTER_KINDS))
    if not isinstance(value, Mapping):
        raise SettingsError(
            f"{names(dotted)}: {shown(value)} is not a table of filter names; allowed: {allowed}"
        )
    filters: dict[str, tuple[str, ...]] = {}
    for name, values in value.items():
        if name not in FILTER_KINDS:
            raise _unknown(names.within(dotted, name), "filter", name, FILTER_KINDS)
        checked = check_list(names.within(dotted, name), values, FILTER_KINDS[name])
        if checked:
            filters[name] = checked
    return filters


def _unknown(
    name: str, what: str, given: object, allowed: Mapping[str, Any], better: list[str] | None = None
) -> SettingsError:
    close = better or ([word] if (word := closest(str(given), list(allowed))) else [])
    guess = f"; did you mean {close[0]}?" if close else "."
    listed = ", ".join(sorted(allowed))
    return SettingsError(f"{name}: unknown {what}{guess} Allowed: {listed}")


def _keys(kind: type) -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(kind)}


def _cut(name: str) -> str:
    return name if len(name) <= _NAME_CHARACTERS else f"…{escaped(name[1 - _NAME_CHARACTERS :])}"
