"""Suggest the value that was probably meant when a setting is refused."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SEPARATORS = re.compile(r"[\s,;|]+")
"""Between values that were written as one."""

LIST_SEPARATORS = re.compile(r"[,;|]+")
"""The same where a value may hold spaces."""

_MOST_VALUES = 10
_LONGEST = 400


@dataclass(frozen=True, slots=True)
class Spelling:
    """How values of one type are spelt, and misspelt.

    Attributes:
        tidy: corrects the spelling of one value.
        separators: stands between values that were written as one.
        around: characters that may surround a value by mistake.
    """

    tidy: Callable[[str], str]
    separators: re.Pattern[str] = SEPARATORS
    around: str = " \t\r\n\"'`=[](){}<>"

    def values_in(self, text: str) -> list[str]:
        """Return the values that were written as one text, tidied."""
        parts = (part.strip(self.around) for part in self.separators.split(text))
        return [self.tidy(part) for part in parts if part]


def meant(text: str, spelling: Spelling, accepts: Callable[[str], bool]) -> tuple[str, ...]:
    """Return the values that a refused text stands for, empty if no guess is allowed."""
    whole = spelling.tidy(text.strip(spelling.around))
    if accepts(whole):
        return (whole,)
    values = spelling.values_in(text)
    return tuple(dict.fromkeys(values)) if values and all(map(accepts, values)) else ()


def closest(text: str, allowed: Sequence[str]) -> str | None:
    """Return the allowed word that differs least from a text, ignoring case, `-` and `_`."""
    # Imported here: only a mistake needs it.
    from difflib import get_close_matches  # noqa: PLC0415

    by_letters = {_letters(word): word for word in allowed}
    close = get_close_matches(_letters(text[:80]), by_letters, n=1)
    return by_letters[close[0]] if close else None


def did_you_mean(name: str, values: Sequence[str], *, as_list: bool) -> str:
    """Return the question that ends a refusal, empty without values.

    Args:
        name: the option (`--account`, `--filter severity`) or key that the message names.
        values: the values that were probably meant.
        as_list: write even a single value as a list.
    """
    if not 0 < len(values) <= _MOST_VALUES:
        return ""
    if name.startswith("--"):
        guess = values[0] if len(values) == 1 else _as_options(name, values)
    elif as_list or len(values) > 1:
        guess = "[" + ", ".join(f'"{value}"' for value in values) + "]"
    else:
        guess = values[0]
    return f"; did you mean {guess}?" if len(guess) <= _LONGEST and guess.isprintable() else ""


def _as_options(name: str, values: Sequence[str]) -> str:
    option, _, part = name.partition(" ")
    words = [shlex.quote(f"{part}={value}" if part else value) for value in values]
    return " ".join(f"{option} {word}" for word in words)


def _letters(text: str) -> str:
    return re.sub(r"[\s_-]", "", text.casefold())
