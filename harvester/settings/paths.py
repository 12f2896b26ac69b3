"""Expand `~` and environment variables in paths that a person wrote.

`~` and `~USER` at the beginning, `$NAME` and `${NAME}` anywhere; `$$` is a literal dollar sign.
"""

from __future__ import annotations

import os
import re

from harvester.errors import SettingsError
from harvester.settings.values import escaped, shown

_VARIABLE = re.compile(
    r"\$(?:(?P<literal>\$)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|\{(?P<braced>[^}]*)\}?)"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# A path is logged and shown: no secret may become part of it.
_SECRET = re.compile(
    "access_?key|secret|token|passw|credential|private_?key|api_?key", re.IGNORECASE
)


def expand_path(name: str, path: str) -> str:
    """Return a path without `~` and variables.

    Args:
        name: the option or key that an error names.
        path: the path as it was written.

    Raises SettingsError for a variable that is not set or empty, and for an unknown user.
    """
    return _VARIABLE.sub(lambda match: _value(name, path, match), _without_tilde(name, path))


def _value(name: str, path: str, match: re.Match[str]) -> str:
    if match["literal"]:
        return "$"
    variable = match["name"] or match["braced"]
    if not _NAME.fullmatch(variable) or not match[0].endswith(("}", variable)):
        raise SettingsError(
            f"{name}: {shown(path)} has a malformed variable {escaped(match[0])[:80]};"
            " write $NAME or ${NAME}, and $$ for a dollar sign"
        )
    if _SECRET.search(variable):
        raise SettingsError(
            f"{name}: {shown(path)} uses ${variable[:80]}, which may be a secret; paths are logged"
        )
    value = os.environ.get(variable)
    if not value:
        raise SettingsError(
            f"{name}: {shown(path)} uses ${variable[:80]}, which is not set or is empty;"
            " set it, or write $$ for a dollar sign"
        )
    return value


def _without_tilde(name: str, path: str) -> str:
    if not path.startswith("~"):
        return path
    user, slash, rest = path.partition("/")
    home = os.path.expanduser(user)  # noqa: PTH111  # pathlib would raise RuntimeError
    if not home.startswith("/") or (user == "~" and os.environ.get("HOME") == ""):
        raise SettingsError(
            f"{name}: {shown(path)} begins with {shown(user)}, whose home directory is unknown;"
            " write ./~ for a name that begins with ~"
        )
    return f"{home.replace('$', '$$')}{slash}{rest}"
