"""Name settings in errors: the option, or the key with its place in the config file."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import cached_property

from harvester.settings.toml_lines import KeyPath, lines_of_keys
from harvester.settings.values import escaped, shown

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")


class KeyPlaces:
    """Where the keys of one config file stand in it.

    Args:
        file: the file's name as it was given.
        text: its text, which is valid TOML.
    """

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self._text = text

    def place(self, path: KeyPath) -> str | None:
        """Return `FILE:LINE` of a key, None for a key that is not in the file."""
        line = self._lines.get(path)
        return None if line is None else f"{escaped(self.file)}:{line}"

    @cached_property
    def _lines(self) -> dict[KeyPath, int]:
        return lines_of_keys(self._text)  # only an error asks for it


class Names:
    """The names of settings in error messages.

    Args:
        origins: by dotted key, the option that the value came from.
        places: where the keys of the config file stand; None without a file.
        overridden: dotted keys whose value is not the file's.
    """

    def __init__(
        self,
        origins: Mapping[str, str] | None = None,
        places: KeyPlaces | None = None,
        overridden: Collection[str] = (),
    ) -> None:
        self._origins = origins or {}
        self._places = places
        self._overridden = frozenset(overridden)

    @property
    def file(self) -> str | None:
        """The config file, None without one."""
        return None if self._places is None else self._places.file

    def __call__(self, key: str, path: KeyPath | None = None) -> str:
        """Return the name that begins a message: `--option`, `FILE:LINE: key`, or the key.

        `path` is the key's own spelling, by default the parts of `key`.
        """
        if key in self._origins:
            return self._origins[key]
        place = self._place(path or tuple(key.split(".")))
        return key if place is None else f"{place}: {key}"

    def mention(self, key: str) -> str:
        """Return the name within a message: `--option`, `key (FILE:LINE)`, or the key."""
        if key in self._origins:
            return self._origins[key]
        place = self._place(tuple(key.split(".")))
        return key if place is None else f"{key} ({place})"

    def within(self, key: str, part: object) -> str:
        """Return the name that begins a message about a part of a key's value."""
        option = self._origins.get(key)
        if option is not None:
            return f"{option} {key_name(part)}"
        return self(f"{key}.{key_name(part)}", (*key.split("."), str(part)))

    def _place(self, path: KeyPath) -> str | None:
        if self._places is None or ".".join(path[:2]) in self._overridden:
            return None
        return self._places.place(path)


def key_name(key: object) -> str:
    """Return a key as messages show it: quoted and escaped if it is not a bare one."""
    return key if isinstance(key, str) and _BARE_KEY.fullmatch(key) else shown(key)
