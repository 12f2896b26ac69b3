"""What an unfinished run left of an output, and whether it can be gone on with."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from harvester.errors import SettingsError
from harvester.output.contents import Contents
from harvester.output.journal import DamagedJournalError, Journal, Record
from harvester.output.workspace import Workspace

SPOOL = "spool"
"""The file in the workspace that holds the pages."""

_VERSION = 1
_TOO_OLD = 20 * 3600.0
"""Seconds after which an unfinished sweep is not gone on with: a nightly sweep should not
call complete what was read the night before, and timers are not exact."""

_log = logging.getLogger("harvester")


def header(begun: float, identity: Mapping[str, Any]) -> Record:
    """Return the first record of a journal: when the sweep began, and with what settings."""
    return {"version": _VERSION, "begun": begun, "settings": dict(identity)}


def take_up(
    workspace: Workspace, journal: Journal, identity: Mapping[str, Any]
) -> tuple[float, Contents] | None:
    """Return when an unfinished sweep began and what it has read, None where there is none.

    One that is damaged, too old or of another version is no more than a warning: everything
    is read anew then, so that nothing is lost but time.

    Args:
        workspace: where spool and journal stand.
        journal: what is read.
        identity: the settings that decide what is read, by key.

    Raises:
        SettingsError: it was begun with other settings.
        OSError: it cannot be read.
    """
    try:
        records = journal.load()
        if not records:
            return None
        begun = _begun(records[0])
        if begun is None:
            return None
        _compare(records[0]["settings"], identity)
        contents = _contents(records[1:], workspace.size(SPOOL))
    except (DamagedJournalError, KeyError, TypeError, ValueError, IndexError) as error:
        reason = f"damaged ({error})"
    else:
        _log.info("going on with the unfinished sweep of %s", _moment(begun))
        return begun, contents
    _log.warning("the unfinished sweep in %s is %s: starting over", workspace.folder, reason)
    return None


def _begun(first: Record) -> float | None:
    if first["version"] != _VERSION:
        _log.warning("the unfinished sweep is of another version of harvester: starting over")
        return None
    begun = float(first["begun"])
    if not 0.0 <= time.time() - begun <= _TOO_OLD:
        _log.warning("the unfinished sweep of %s is too old: starting over", _moment(begun))
        return None
    return begun


def _compare(settings: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    for name, value in identity.items():
        if settings[name] != value:
            raise SettingsError(
                f"{name}: the unfinished sweep of this output was begun with "
                f"{settings[name]!r}, and now it is {value!r}",
                hint="--fresh throws that sweep away; with the old value it is gone on with",
            )


def _contents(records: list[Record], size: int) -> Contents:
    contents = Contents()
    for record in records:
        contents.apply(record)
    if size < contents.end:
        raise DamagedJournalError(f"{SPOOL} is shorter than the journal says")
    return contents


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
