"""What was found out about accounts and regions, kept from one run to the next."""

from __future__ import annotations

import logging
import os
import time
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from harvester.model import Target
from harvester.output.workspace import write_private
from harvester.paging.learned import Learned

_VERSION = 2
_READABLE = (1, 2)
"""Version 1 had no section `bursts`."""

_DAYS = 7 * 86_400
_HIGHEST = 1000.0
_LARGEST_BURST = 100.0
_MOST = 1e9
_MANY = 20
"""Pages from which on a target is remembered as large."""

_log = logging.getLogger("harvester")


class Memory:
    """Token buckets and sizes of targets, and whose counts are unreliable, in a cache file.

    The file may be deleted at any time. A file that cannot be read is ignored, and a failure to
    write it is logged: everything is learned again. A bucket is forgotten after a week without
    a throttle, a size after a week, and counts that differed after a week in which they were not
    compared.

    The file is a JSON object: `version`, and a section for each kind of fact (`rates`, `bursts`,
    `pages`, `doubted_counts`). A section maps the name of a target to a number and the time at
    which it was learned. A damaged section or entry is ignored alone.

    Args:
        path: the file; None keeps the rates in memory alone.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._rates: dict[str, tuple[float, float]] = {}
        self._bursts: dict[str, tuple[float, float]] = {}
        self._pages: dict[str, tuple[float, float]] = {}
        self._doubted: dict[str, tuple[float, float]] = {}
        self._place = ""

    def keep_to(self, endpoint: str | None) -> None:
        """Keep to what is asked at an endpoint; None is AWS's own.

        What a rehearsal learns of an account says nothing of the real one.
        """
        digest = blake2b((endpoint or "").encode(), digest_size=6).hexdigest()
        self._place = f"@{digest}" if endpoint else ""

    def load(self) -> None:
        """Read the file, if there is one."""
        if self._path is None:
            return
        try:
            held = orjson.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return
        if not isinstance(held, dict) or held.get("version") not in _READABLE:
            return
        self._rates = _entries(held.get("rates"), _HIGHEST)
        self._bursts = _entries(held.get("bursts"), _LARGEST_BURST)
        self._pages = _entries(held.get("pages"), _MOST)
        self._doubted = _entries(held.get("doubted_counts"), 1.0)

    def save(self) -> None:
        """Write the file, whole."""
        if self._path is None:
            return
        held = {
            "rates": self._rates,
            "bursts": self._bursts,
            "pages": self._pages,
            "doubted_counts": self._doubted,
        }
        if not any(held.values()) and not self._path.exists():
            return
        try:
            write_private(self._path, orjson.dumps({"version": _VERSION, **held}))
        except OSError as error:
            _log.debug(
                "what was learned is not kept: %s", error, extra={"event": "history_not_kept"}
            )

    def recall(self, target: Target) -> Learned | None:
        """Return the bucket learned for a target, None if there is none."""
        rate = self._rates.get(self._name(target))
        burst = self._bursts.get(self._name(target))
        return Learned(rate[0], burst[0] if burst else None) if rate else None

    def learn(self, target: Target, learned: Learned | None) -> None:
        """Keep the bucket learned for a target, if any, instead of an earlier one."""
        if learned is None:
            return
        name, now = self._name(target), round(time.time())
        self._rates[name] = (round(learned.rate, 3), now)
        self._bursts.pop(name, None)
        if learned.burst is not None:
            self._bursts[name] = (learned.burst, now)

    def size(self, target: Target) -> float:
        """Return how many pages a target had, 0 where that is not known or not many."""
        entry = self._pages.get(self._name(target))
        return entry[0] if entry else 0.0

    def largest(self) -> dict[str, float]:
        """Return how many pages the largest target of each account had, as far as known."""
        largest: dict[str, float] = {}
        for name, (pages, _) in self._pages.items():
            account, _, rest = name.partition("/")
            if self._place != "".join(rest.partition("@")[1:]):
                continue
            largest[account] = max(pages, largest.get(account, 0.0))
        return largest

    def note_size(self, target: Target, pages: int) -> None:
        """Keep how many pages a target had, where they are many."""
        self._pages.pop(self._name(target), None)
        if pages >= _MANY:
            self._pages[self._name(target)] = (float(pages), round(time.time()))

    def doubts_counts(self, target: Target) -> bool:
        """Return whether the service's counts of a target were found to differ from its list."""
        return self._name(target) in self._doubted

    def note_counts(self, target: Target, *, verified: bool | None) -> None:
        """Keep whether a target's counts are unreliable; None, not compared, changes nothing."""
        if verified is not None:
            self._doubted.pop(self._name(target), None)
        if verified is False:
            self._doubted[self._name(target)] = (1.0, round(time.time()))

    def _name(self, target: Target) -> str:
        return f"{target}{self._place}"


def default_path() -> Path | None:
    """Return where the command keeps its memory: below XDG_CACHE_HOME, or ~/.cache.

    None where a user has neither, as in some containers.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # the XDG specification: such a path is to be ignored
        try:
            base = Path.home() / ".cache"
        except RuntimeError:
            return None
    return base / "harvester" / "rates.json"


def _entries(held: Any, highest: float) -> dict[str, tuple[float, float]]:
    """Return the entries of a number and its time that can be used."""
    oldest = time.time() - _DAYS
    return {
        name: (float(entry[0]), float(entry[1]))
        for name, entry in (held.items() if isinstance(held, dict) else ())
        if _is_entry(entry, highest) and entry[1] > oldest
    }


def _is_entry(entry: Any, highest: float) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 2  # noqa: PLR2004
        and all(type(number) in (int, float) for number in entry)
        and 0.0 < entry[0] <= highest
    )
