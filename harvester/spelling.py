"""Suggestions for misspelt names."""

from __future__ import annotations

from collections.abc import Iterable

_MOST_EDITS = 3


def closest(text: str, known: Iterable[str]) -> str | None:
    """Return the known name that differs from `text` by the fewest edits, None where all do much.

    An edit is a character that is missing, too many, wrong, or swapped with the next one.
    """
    wanted = text.lower()
    ranked = sorted((edits(wanted, name.lower()), name) for name in known)
    most = min(_MOST_EDITS, len(text) // 3)
    return ranked[0][1] if ranked and ranked[0][0] <= most else None


def edits(one: str, other: str) -> int:
    """Return how many edits make one text of another."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for row, char in enumerate(one, 1):
        line = [row]
        for column, its in enumerate(other, 1):
            cost = min(last[column] + 1, line[-1] + 1, last[column - 1] + (char != its))
            swapped = row > 1 and column > 1 and (one[row - 2], char) == (its, other[column - 2])
            line.append(min(cost, before[column - 2] + 1) if swapped else cost)
        before, last = last, line
    return last[-1]
