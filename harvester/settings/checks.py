"""Which sections and keys exist, and the way from a table of them to settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from harvester.errors import SettingsError
from harvester.settings.types import ImageArn, PipelineArn, Text
from harvester.settings.values import check_list, check_value, escaped, shown

SectionT = TypeVar("SectionT", bound=msgspec.Struct)

FILTER_KINDS: Mapping[str, Any] = {
    "imageBuildVersionArn": ImageArn,
    "imagePipelineArn": PipelineArn,
    "vulnerabilityId": Text,
    "severity": Text,
}
"""The API's filter names, and what a value of each may be."""

_NAME_CHARACTERS = 200
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")
_SECRET_KEY = re.compile("accesskey|secret|token|passw|passphrase|credential|privatekey|apikey")


class Names:
    """What an error calls a setting: the option as it was typed, else the dotted key."""

    def __init__(self, origins: Mapping[str, str] | None = None) -> None:
        self._origins = origins or {}

    def __call__(self, key: str) -> str:
        """The name of this dotted key."""
        return self._origins.get(key, key)

    def within(self, key: str, part: str) -> str:
        """The name of a part of the value of this dotted key."""
        option = self._origins.get(key)
        return f"{key}.{part}" if option is None else f"{option} {part}"


def refuse_secrets(tree: Mapping[Any, Any]) -> None:
    """Raise SettingsError where any key, however deep, looks made for a credential."""
    waiting: list[tuple[str, object]] = [("", tree)]  # not recursive: files can nest deeply
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, list | tuple):
            waiting.extend((path, item) for item in value)
        if not isinstance(value, Mapping):
            continue
        for key, inner in value.items():
            name = f"{path}.{_key(key)}" if path else _key(key)
            if _SECRET_KEY.search(re.sub(r"[^a-z]", "", str(key).lower())):
                raise SettingsError(
                    f"{_cut(name)}: credentials have no key here; they come from the SDK's own"
                    " chain (environment, profile, role)"
                )
            waiting.append((_cut(name), inner))


def check_section_names(tree: Mapping[Any, Any], sections: Mapping[str, type]) -> None:
    """Raise SettingsError for a section that does not exist."""
    for name in tree:
        if name in sections:
            continue
        homes = [f"{section}.{name}" for section, kind in sections.items() if name in _keys(kind)]
        raise _unknown(_key(name), "section", name, sections, homes)


def check_section(
    section: str, content: object, kind: type[SectionT], names: Names | None = None
) -> SectionT:
    """The section's settings from a table of its keys; a key left out has its default.

    Raises SettingsError for a key that does not exist and for each value that is not allowed.
    """
    names = names or Names()
    if not isinstance(content, Mapping):
        raise SettingsError(
            f"{section}: {shown(content)} is not a table; allowed are its keys:"
            f" {', '.join(sorted(_keys(kind)))}"
        )
    kinds = _keys(kind)
    clean: dict[str, Any] = {}
    for key, value in content.items():
        dotted = f"{section}.{_key(key)}"
        if key not in kinds:
            raise _unknown(names(dotted), "key", key, kinds)
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
            raise _unknown(names.within(dotted, _key(name)), "filter", name, FILTER_KINDS)
        checked = check_list(names.within(dotted, name), values, FILTER_KINDS[name])
        if checked:
            filters[name] = checked
    return filters


def _unknown(
    name: str, what: str, given: object, allowed: Mapping[str, Any], better: list[str] | None = None
) -> SettingsError:
    # Imported here: only a mistake needs it.
    from difflib import get_close_matches  # noqa: PLC0415

    close = better or get_close_matches(str(given)[:80], allowed, n=1)
    guess = f"; did you mean {close[0]}?" if close else "."
    listed = ", ".join(sorted(allowed))
    return SettingsError(f"{name}: unknown {what}{guess} Allowed: {listed}")


def _keys(kind: type) -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(kind)}


def _key(key: object) -> str:
    return key if isinstance(key, str) and _BARE_KEY.fullmatch(key) else shown(key)


def _cut(name: str) -> str:
    return name if len(name) <= _NAME_CHARACTERS else f"…{escaped(name[1 - _NAME_CHARACTERS :])}"
