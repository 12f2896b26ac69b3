"""Find the lines on which the keys of a TOML document stand.

`tomllib` keeps no positions. The scanner here reads documents that `tomllib` has accepted, so it
needs to know where keys, strings, brackets and comments begin and end, and nothing else.
"""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress

KeyPath = tuple[str, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_KEY = re.compile(rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*")
_EQUALS = re.compile(r"[ \t]*=[ \t]*")
_HEADER = re.compile(rf"\[{{1,2}}[ \t]*({_KEY.pattern})[ \t]*\]{{1,2}}")
_SCALAR = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|' + r"'''.*?'{3,5}|" + r'"(?:[^"\\\n]|\\.)*"|'
    r"'[^'\n]*'|[^\s,\[\]{}#\"'][^\n,\[\]{}#\"']*",
    re.DOTALL,
)


def lines_of_keys(text: str) -> dict[KeyPath, int]:
    """Return the first line, from 1, of each key and table of a valid TOML document.

    An unexpected construct ends the scan: the keys before it are returned.
    """
    scanner = _Scanner(text)
    with suppress(_UnexpectedError):
        scanner.scan()
    return scanner.lines


class _UnexpectedError(Exception):
    """The text is not the TOML that the scanner expects."""


class _Scanner:
    """Reads a document once, from its beginning to its end."""

    def __init__(self, text: str) -> None:
        self.lines: dict[KeyPath, int] = {}
        self._text = text
        self._at = 0
        self._line, self._counted = 1, 0

    def scan(self) -> None:
        """Note the line of each key."""
        table: KeyPath = ()
        while self._next():
            if self._next() == "[":
                start = self._at
                table = self._note((), self._take(_HEADER)[1], start)
            else:
                self._value(self._key(table))

    def _value(self, path: KeyPath) -> None:
        """Pass the value of a key; the keys of inline tables in it are noted."""
        opened: list[tuple[str, KeyPath]] = []  # not recursive: arrays can nest deeply
        while True:
            sign = self._next()
            if sign and sign in "[{":
                opened.append((sign, path))
                self._at += 1
            elif sign and sign in "]}" and opened:
                path = opened.pop()[1]
                self._at += 1
            elif sign == "," and opened:
                self._at += 1
            else:
                self._take(_SCALAR)
            if not opened:
                return
            kind, outer = opened[-1]
            path = outer
            if kind == "{" and sign in ("{", ",") and self._next() != "}":
                path = self._key(outer)

    def _key(self, table: KeyPath) -> KeyPath:
        self._next()
        start = self._at
        path = self._note(table, self._take(_KEY)[0], start)
        self._take(_EQUALS)
        return path

    def _note(self, table: KeyPath, key: str, start: int) -> KeyPath:
        """Note the line of a key as it was written, and return its path."""
        self._line += self._text.count("\n", self._counted, start)
        self._counted = start
        inner = tomllib.loads(f"{key} = 0")
        while True:
            ((name, below),) = inner.items()
            table = (*table, name)
            self.lines.setdefault(table, self._line)
            if not isinstance(below, dict):
                return table
            inner = below

    def _next(self) -> str:
        """Return the next character of meaning, empty at the end."""
        match = _BLANK.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._text[self._at : self._at + 1]

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str]:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise _UnexpectedError
        self._at = match.end()
        return match
