"""Checking one value against its type, and the line that refuses it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from harvester.errors import SettingsError
from harvester.settings.suggestions import closest, did_you_mean, meant

SHOWN_CHARACTERS = 80
"""How much of a refused value a message repeats."""


def escaped(text: str) -> str:
    """The text on one line: whatever a terminal would act upon becomes an escape."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def shown(value: object) -> str:
    """A refused value as messages repeat it: its repr, printable, at most 80 characters.

    What is inside a table is never shown, since one of its keys may be private.
    """
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple) and any(
        isinstance(item, Mapping | list | tuple) for item in value
    ):
        return "a list of tables or lists"
    text = escaped(_repr(value))
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _repr(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # Python writes no integer of thousands of digits
        return f"a very long {type(value).__name__}"


def check_value(name: str, value: object, kind: Any) -> Any:
    """The value as a setting of this type holds it.

    Args:
        name: the key or option that an error names.
        value: what was found; a list does for a tuple.
        kind: one of ``settings_types``, a Literal, either of them ``| None``, or a tuple of them.

    Raises SettingsError: one line with the name, the value, and what is allowed.
    """
    if get_origin(kind) in (Union, UnionType):
        if value is None:
            return None
        (kind,) = (part for part in get_args(kind) if part is not NoneType)
    if get_origin(kind) is tuple:
        return check_list(name, value, get_args(kind)[0])
    return _check_one(name, value, kind)


def check_list(name: str, value: object, kind: Any) -> tuple[Any, ...]:
    """The values of a list, each of this type, in their order and once each.

    Raises SettingsError as ``check_value`` does.
    """
    if not isinstance(value, list | tuple):
        guess = did_you_mean(name, _meant(value, kind), as_list=True)
        raise _refusal(name, value, kind, "a list in brackets; each of its values is ", guess)
    return tuple(dict.fromkeys(_check_one(name, item, kind, listed=True) for item in value))


def _check_one(name: str, value: object, kind: Any, *, listed: bool = False) -> Any:
    plain = os.fspath(value) if isinstance(value, os.PathLike) else value
    try:
        return _converted(plain, kind)
    except (msgspec.ValidationError, ValueError, OverflowError):
        values = _meant(plain, kind)
        guess = did_you_mean(name, values, as_list=False) if listed or len(values) == 1 else ""
        raise _refusal(name, value, kind, guess=guess) from None


def _converted(value: object, kind: Any) -> Any:
    """The value as this type; ValueError where it is not allowed."""
    clean = msgspec.convert(value, kind)
    check = _extra(kind).get("check")
    if check is not None and not check(clean):
        raise ValueError
    return clean


def _meant(value: object, kind: Any) -> tuple[str, ...]:
    """The values that were probably meant by one that is refused."""
    if not isinstance(value, str):
        return ()
    if get_origin(kind) is Literal:
        word = closest(value, get_args(kind))
        return () if word is None else (word,)
    spelling = _extra(kind).get("spelling")
    if spelling is None:
        return ()

    def accepts(text: str) -> bool:
        try:
            _converted(text, kind)
        except (msgspec.ValidationError, ValueError):
            return False
        return True

    return meant(value, spelling, accepts)


def _refusal(
    name: str, value: object, kind: Any, opening: str = "", guess: str = ""
) -> SettingsError:
    extra = _extra(kind)
    private = extra.get("private")
    text = "the value" if private and private.search(_repr(value)) else shown(value)
    numeric = isinstance(value, int) and not isinstance(value, bool)
    note = f"; {extra['unquoted']}" if numeric and "unquoted" in extra else ""
    return SettingsError(f"{name}: {text} is not {opening}{_words(kind)}{note}{guess}")


def _extra(kind: Any) -> dict[str, Any]:
    return (get_args(kind)[1].extra or {}) if get_origin(kind) is Annotated else {}


def _words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    return str(get_args(kind)[1].description)
