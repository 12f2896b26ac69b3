"""When each target was last read to its end, over the runs of a sweep that never finished."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

from harvester.model import Target
from harvester.output.journal import DamagedJournalError, Journal, Record
from harvester.output.workspace import Workspace
from harvester.portability import sync_file

NAME = "ages"
"""The name of the file in the workspace."""

_VERSION = 1
_NEVER = 0.0


@dataclass(frozen=True, slots=True)
class Ages:
    """Times, in seconds since 1970, at which targets were read.

    Empty where the run before finished: then no target has waited for its turn.
    """

    read_at: Mapping[Target, float] = field(default_factory=dict)
    _accounts: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Find the target of each account that has waited longest."""
        for target, moment in self.read_at.items():
            known = self._accounts.get(target.account, moment)
            self._accounts[target.account] = min(known, moment)

    def of_account(self, account: str) -> float:
        """Return when the target of an account that has waited longest was read, 0 if never."""
        return self._accounts.get(account, _NEVER)

    def of(self, target: Target) -> float:
        """Return when a target was read, 0 if never."""
        return self.read_at.get(target, _NEVER)


def load_ages(workspace: Workspace) -> Ages:
    """Return the ages that unfinished runs left in a workspace, its journal's included.

    They decide the order of reading and nothing else, so damaged ones are ignored.
    """
    read_at = _load(workspace)
    try:
        records = Journal(workspace).load()
    except (DamagedJournalError, OSError):
        records = []
    with suppress(KeyError, TypeError, ValueError, IndexError):
        _add(read_at, records)
    return Ages(read_at if any(read_at.values()) else {})


def save_ages(workspace: Workspace, ages: Ages) -> None:
    """Write the ages, so that they outlive the journal that they were taken from."""
    rows = [[one.account, one.region, moment] for one, moment in ages.read_at.items()]
    new = workspace.temporary(NAME)
    with os.fdopen(workspace.create(new), "wb") as stream:
        stream.write(orjson.dumps({"version": _VERSION, "read": rows}))
        stream.flush()
        sync_file(stream.fileno())
    (workspace.folder / new).replace(workspace.folder / NAME)


def _load(workspace: Workspace) -> dict[Target, float]:
    try:
        with os.fdopen(workspace.open_file(NAME), "rb") as stream:
            held = orjson.loads(stream.read())
        if held["version"] != _VERSION:
            return {}
        return {Target(account, region): float(at) for account, region, at in held["read"]}
    except (OSError, KeyError, TypeError, ValueError):
        return {}


def _add(read_at: dict[Target, float], records: Iterable[Record]) -> None:
    for record in list(records)[1:]:
        marks: list[list[Any]] = record["targets"]
        for account, region, since, _, complete, *_ in marks:
            target = Target(account, region)
            if complete:
                read_at[target] = float(since)
            else:
                read_at.setdefault(target, _NEVER)
