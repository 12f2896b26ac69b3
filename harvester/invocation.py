"""One start of the command: its run id, its signals, and the options that matter if it fails.

A failure has to be reported in the log format that was asked for, and in the summary file, even if
the command line or the config file has an error. So these two are looked for without validating
anything else.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from stat import S_ISREG
from typing import Any, Literal

from harvester.signals import Signals

LogFormat = Literal["text", "json"]

_FLAGS = "qvhV"
_LINE = re.compile(r"at line (\d+)")
_MOST_INVALID_LINES = 20
_OTHER_COMMANDS = frozenset({"plan", "simulate", "demo"})


class Invocation:
    """One start of the command.

    Args:
        arguments: the command line, without the program's name; None is that of the process.
        signals: the handlers of the process, None where it keeps its own.
    """

    def __init__(
        self, arguments: Sequence[str] | None = None, signals: Signals | None = None
    ) -> None:
        given = sys.argv[1:] if arguments is None else arguments
        self.arguments = tuple(given)
        self.signals = signals or Signals()
        self.started = datetime.now(UTC)

    @cached_property
    def run_id(self) -> str:
        """The id of the run, on each line of its log and in its summary."""
        from uuid import uuid4

        return str(uuid4())

    @cached_property
    def log_format(self) -> LogFormat:
        """The log format that is asked for, as far as that can be found out."""
        given = self._option("log-format")
        if given is None:
            given = self._key("log", "format")
        return "json" if given == "json" else "text"

    @property
    def asks_for_json(self) -> bool:
        """Whether an option asks for logs as JSON, which can be told without reading a file."""
        return self._option("log-format") == "json"

    @property
    def summary(self) -> str | None:
        """The summary file of a sweep, as far as that can be found out."""
        words = [word for word in self.arguments if not word.startswith("-")]
        if not words or words[0] in _OTHER_COMMANDS:
            return None
        path = self._expanded(self._option("summary") or self._key("output", "summary"))
        harmless = path and not path.startswith("-") and not self._is_input(path)
        return path if harmless else None

    @staticmethod
    def _expanded(path: str | None) -> str | None:
        """Return a path without `~` and variables, None where they have no value."""
        from harvester.errors import SettingsError
        from harvester.settings.paths import expand_path

        try:
            return None if path is None else expand_path("", path)
        except SettingsError:
            return None

    def _is_input(self, path: str) -> bool:
        """Whether a path is that of the output or of the config file: an option was mistaken."""
        output = self._expanded(self._option("output", "o") or self._key("output", "path"))
        taken = {os.path.realpath(one) for one in (output, self._config, "harvester.toml") if one}
        return os.path.realpath(path) in taken

    @property
    def _config(self) -> str | None:
        return self._expanded(self._option("config", "c"))

    @cached_property
    def _tree(self) -> Mapping[str, Any]:
        """The config file, empty where it cannot be read."""
        from harvester.errors import SettingsError
        from harvester.settings.source import DEFAULT_FILE, parse_config, read_config

        try:
            # A pipe can be read once only, and might be waited for.
            if not S_ISREG(Path(self._config or DEFAULT_FILE).stat().st_mode):
                return {}
            file = read_config(self._config)
        except (OSError, ValueError, SettingsError):
            return {}
        if file is None:
            return {}
        try:
            return parse_config(file)
        except SettingsError:
            return _readable_part(file.text)

    def _key(self, section: str, key: str) -> str | None:
        content = self._tree.get(section)
        value = content.get(key) if isinstance(content, Mapping) else None
        return value if isinstance(value, str) else None

    def _option(self, name: str, letter: str = "") -> str | None:
        """Return the last value of an option that takes one."""
        found = None
        words = iter(self.arguments)
        for word in words:
            if word == "--":
                break
            value = _value(word, name, letter)
            if value == "":
                value = next(words, None)
            found = value if value is not None else found
        return found


def _readable_part(text: str) -> Mapping[str, Any]:
    """Return the keys of a TOML text without the lines that make it invalid."""
    import tomllib

    lines = text.splitlines()
    for _ in range(_MOST_INVALID_LINES):
        try:
            return tomllib.loads("\n".join(lines))
        except (ValueError, RecursionError) as error:
            found = _LINE.search(str(error))
            number = int(found[1]) if found else len(lines)
            if not 0 < number <= len(lines):
                break
            lines[number - 1] = ""
    return {}


def _value(word: str, name: str, letter: str) -> str | None:
    """Return the value in an argument, empty where the next one holds it, None for no such option.

    `--name=VALUE`, `--name VALUE`, `-nVALUE`, `-n VALUE`; letters without a value may come before.
    """
    if word.startswith("--"):
        option, equals, value = word[2:].partition("=")
        return value if option == name and (value or not equals) else None
    if not letter or not word.startswith("-"):
        return None
    cluster = word[1:].lstrip(_FLAGS)
    return cluster[1:] if cluster.startswith(letter) else None
