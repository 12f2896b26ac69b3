"""The rates that accounts and regions were found to grant, kept from one run to the next."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

import orjson

from harvester.model import Target
from harvester.output.workspace import make_private

_VERSION = 1
_DAYS = 7 * 86_400
_HIGHEST = 1000.0
_log = logging.getLogger("harvester")


class RateMemory:
    """Calls a second by target, in a cache file that may be deleted at any time.

    What cannot be read is taken for nothing, and what cannot be written is let go: the rates
    are learned anew then. A rate is forgotten after a week without a throttle.

    Args:
        path: the file; None keeps the rates in memory alone.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._rates: dict[str, tuple[float, float]] = {}

    def load(self) -> None:
        """Read the file, if there is one."""
        if self._path is None:
            return
        try:
            held = orjson.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return
        if not isinstance(held, dict) or held.get("version") != _VERSION:
            return
        rates = held.get("rates")
        oldest = time.time() - _DAYS
        for name, entry in rates.items() if isinstance(rates, dict) else ():
            if _is_entry(entry) and entry[1] > oldest:
                self._rates[name] = (float(entry[0]), float(entry[1]))

    def save(self) -> None:
        """Write the file, whole."""
        if self._path is None or not self._rates:
            return
        part = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            make_private(self._path.parent)
            part.write_bytes(orjson.dumps({"version": _VERSION, "rates": self._rates}))
            part.chmod(0o600)
            part.replace(self._path)
        except OSError as error:
            _log.debug("learned rates not kept: %s", error)

    def recall(self, target: Target) -> float | None:
        """Return the rate learned for a target, None where there is none."""
        entry = self._rates.get(str(target))
        return entry[0] if entry else None

    def learn(self, target: Target, rate: float | None) -> None:
        """Keep the rate learned for a target, if any."""
        if rate is not None:
            self._rates[str(target)] = (round(rate, 3), round(time.time()))


def default_path() -> Path:
    """Return where the command keeps its memory: below XDG_CACHE_HOME, or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "harvester" / "rates.json"


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 2  # noqa: PLR2004
        and all(type(number) in (int, float) for number in entry)
        and 0.0 < entry[0] <= _HIGHEST
    )
