"""What an unfinished run left of an output, and how much of it can be resumed."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harvester.errors import SettingsError
from harvester.model import Target
from harvester.output.contents import Contents
from harvester.output.journal import DamagedJournalError, Journal, Record
from harvester.output.spool import DamagedSpoolError, Segment, Spool
from harvester.output.workspace import Workspace

MAX_AGE = 6 * 3600.0
"""Seconds after which a target that was read is read again, by default."""

_VERSION = 2
_CLOCK_ERROR = 60.0
"""Seconds by which a clock may be set back without making a time in the journal a future one."""

_DISCARDED = {"event": "unfinished_discarded"}
_log = logging.getLogger("harvester")


@dataclass(frozen=True, slots=True)
class Resumed:
    """The unfinished sweep that a run resumes. Times are seconds since 1970.

    Attributes:
        run_id: the run that began it, None where it is not known.
        begun: when it began.
        oldest: when the oldest page of the targets visited so far was read, None where there
            is none.
    """

    run_id: str | None
    begun: float
    oldest: float | None


@dataclass(frozen=True, slots=True)
class Header:
    """The first record of a journal.

    Attributes:
        begun: when the sweep began.
        run_id: the run that began it, None where it is not known.
        settings: those that decide which findings are read, by key.
        packed: whether the spool is compressed.
        segments: the files of the spool.
    """

    begun: float
    run_id: str | None
    settings: Mapping[str, Any]
    packed: bool = False
    segments: tuple[Segment, ...] = ()

    def record(self) -> Record:
        """Return it as a record."""
        return {
            "version": _VERSION,
            "begun": self.begun,
            "run_id": self.run_id,
            "settings": dict(self.settings),
            "packed": self.packed,
            "segments": [[one.name, one.base] for one in self.segments],
        }

    @classmethod
    def of(cls, record: Record) -> Header:
        """Return the header that a record holds."""
        run_id = record["run_id"]
        return cls(
            float(record["begun"]),
            None if run_id is None else str(run_id),
            record["settings"],
            bool(record["packed"]),
            tuple(Segment(str(name), int(base)) for name, base in record["segments"]),
        )


def take_up(
    workspace: Workspace,
    journal: Journal,
    identity: Mapping[str, Any],
    *,
    between: Callable[[], None] = lambda: None,
    max_age: float = MAX_AGE,
    now: float | None = None,
) -> tuple[Header, Contents] | None:
    """Return what an unfinished sweep has read, None where there is nothing to resume.

    Each target that was read too long ago, and each query whose pages are damaged, is left
    out with a warning, and so read again. Where the journal is damaged or of another version,
    all of it is.

    Args:
        workspace: where spool and journal stand.
        journal: what is read.
        identity: the settings that decide what is read, by key.
        between: called between pieces of the spool that are read.
        max_age: seconds after which a target has to be read again.
        now: the time, in seconds since 1970.

    Raises:
        SettingsError: it was begun with other settings.
        OSError: it cannot be read.
    """
    loaded = _load(workspace, journal, identity)
    if loaded is None:
        return None
    header, contents = loaded
    if contents.is_blank:
        return None
    _forget_old(contents, max_age, time.time() if now is None else now)
    if contents.is_blank:
        _log.warning(
            "the unfinished sweep of %s is too old: starting over",
            _moment(header.begun),
            extra=_DISCARDED,
        )
        return None
    _compare(header.settings, identity)  # only of a sweep that could be resumed
    spool = Spool(workspace, packed=header.packed, segments=header.segments)
    _forget_damaged(contents, spool, between)
    if contents.is_blank:
        return None
    return header, contents


def _load(
    workspace: Workspace, journal: Journal, identity: Mapping[str, Any]
) -> tuple[Header, Contents] | None:
    try:
        records = journal.load()
        if not records:
            return None
        if records[0]["version"] != _VERSION:
            _log.warning(
                "the unfinished sweep is of another version of harvester: starting over",
                extra=_DISCARDED,
            )
            return None
        header = Header.of(records[0])
        for name in identity:
            header.settings[name]  # a header that lacks one is damaged
        contents = Contents()
        for record in records[1:]:
            contents.apply(record)
    except (DamagedJournalError, LookupError, TypeError, ValueError, OverflowError) as error:
        _log.warning(
            "the journal of the unfinished sweep in %s is damaged (%s): starting over",
            workspace.folder,
            error,
            extra=_DISCARDED,
        )
        return None
    return header, contents


def _compare(settings: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    for name, value in identity.items():
        if settings[name] != value:
            raise SettingsError(
                f"{name}: the unfinished sweep of this output was begun with "
                f"{settings[name]!r}, and now it is {value!r}",
                hint="restore the old value to resume that sweep, or discard it with --fresh",
            )


def _forget_old(contents: Contents, max_age: float, now: float) -> None:
    """Forget targets that were read too long ago, or in the future: the clock was set back."""
    old: dict[Target, float] = {}
    for target in contents.all_targets():
        since = contents.read_at(target)
        if since is not None and not -_CLOCK_ERROR <= now - since <= max_age:
            old[target] = since
            contents.forget(target)
    if old and not contents.is_blank:
        _log.warning(
            "%s of the targets that the unfinished sweep has read are too old, the oldest of %s: "
            "reading them again",
            len(old),
            _moment(min(old.values())),
            extra={"event": "old_targets_discarded", "targets": len(old)},
        )


def _forget_damaged(contents: Contents, spool: Spool, between: Callable[[], None]) -> None:
    """Forget queries whose pages in the spool are not those that were written."""
    damaged: Counter[Target] = Counter()
    try:
        for query, places in list(contents.all_places()):
            try:
                for _ in spool.check(places):
                    between()
            except DamagedSpoolError as error:
                damaged[query.target] += 1
                _log.debug(
                    "%s, %s: %s", query.target, query, error, extra={"event": "spool_damaged"}
                )
                contents.forget_query(query)
    finally:
        spool.close()
    for target in damaged:
        _log.warning(
            "%s: findings of the unfinished sweep are damaged on the disk: reading them again",
            target,
            extra={
                "event": "spool_damaged",
                "account": target.account,
                "region": target.region,
            },
        )


def _moment(seconds: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (ValueError, OverflowError, OSError):
        return "an unknown time"
