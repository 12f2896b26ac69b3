"""Telling one cause once: equal warnings are grouped, the first in full, the others counted."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import Any

_NAMES_SHOWN = 5
_OF_MANY = frozenset({"older_findings_kept", "reading_set_aside", "count_mismatch"})
"""Events below warnings that come once for each target that shares a cause."""

_ENDS = frozenset({"sweep_finished", "plan_finished"})
# The parts of a message that differ where the cause is the same.
_VARIABLE = (
    (re.compile(r"(?i)\brequest[ _-]?id\b[:=]?\s*[\w/+=-]+"), "REQUEST"),
    (re.compile(r"(?i)\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\b\d{12}\b"), "ACCOUNT"),
    (re.compile(r"\b[a-z]{2}(?:-[a-z]+){1,3}-\d{1,2}\b"), "REGION"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*"), "TIME"),
    (re.compile(r"\b(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{16,}\b"), "ID"),
    (re.compile(r"(?<!HTTP )(?<![\w.])\d[\d,.]*"), "NUMBER"),
)
# What a short record of an equal cause leaves out.
_TOLD = ("hint", "stage")


def same_cause(message: str) -> str:
    """Return a message without account ids, regions, request ids, times and numbers."""
    for pattern, kind in _VARIABLE:
        message = pattern.sub(kind, message)
    return message


@dataclass(slots=True)
class _Group:
    first: logging.LogRecord
    names: list[str] = field(default_factory=list)
    count: int = 0
    told: int = 0

    def add(self, name: str | None) -> None:
        self.count += 1
        if name and len(self.names) < _NAMES_SHOWN:
            self.names.append(name)


class Grouping:
    """Decides which records are written in the place of each.

    Args:
        counted: whether equal causes are only counted, to be told with the progress and at the
            end; otherwise each is written as a short record.
        recap: whether the counts are told at the end.
    """

    def __init__(self, *, counted: bool, recap: bool = True) -> None:
        self._counted = counted
        self._recap = recap
        self._groups: dict[tuple[Any, ...], _Group] = {}

    def __call__(self, record: logging.LogRecord) -> list[logging.LogRecord]:
        """Return the records to write in place of one."""
        event = getattr(record, "event", None)
        if self._counted and event == "progress":
            return [*self._grown(), record]
        if self._counted and self._recap and event in _ENDS:
            return [*self._totals(), record]
        told_of_each = record.levelno < logging.WARNING and event not in _OF_MANY
        if event is None or told_of_each or record.exc_info:
            return [record]
        key = _cause(record)
        group = self._groups.get(key)
        if group is None:
            self._groups[key] = _Group(record)
            return [record]
        group.add(_place(record, named=True))
        return [] if self._counted else [_short(record)]

    def _grown(self) -> list[logging.LogRecord]:
        """Return a record for each group that has grown since it was told of."""
        grown = [one for one in self._groups.values() if one.count > one.told]
        for one in grown:
            one.told = one.count
        return [_count_of(one, "so far") for one in grown]

    def _totals(self) -> list[logging.LogRecord]:
        return [_count_of(one, "") for one in self._groups.values() if one.count]


def _cause(record: logging.LogRecord) -> tuple[Any, ...]:
    fields = ("event", "status", "stage", "code")
    message = record.getMessage()
    if place := _place(record, named=True):
        message = message.removeprefix(place)
    return (*(getattr(record, name, None) for name in fields), same_cause(message))


def _place(record: logging.LogRecord, *, named: bool) -> str | None:
    account = getattr(record, "account", None)
    region = getattr(record, "region", None)
    if account is None:
        return None
    place = f"{account}/{region}" if region else str(account)
    name = getattr(record, "account_name", None)
    return f"{place} ({name})" if named and name else place


def _short(record: logging.LogRecord) -> logging.LogRecord:
    """Return a record without the message and the hint, which were told before."""
    told = {key: value for key, value in vars(record).items() if key not in _TOLD}
    words = (getattr(record, "status", None), getattr(record, "code", None))
    message = ": ".join(str(word) for word in (_place(record, named=False), *words) if word)
    same = message or "as told before"
    return logging.makeLogRecord({**told, "msg": "%s", "args": (same,)})


def _count_of(group: _Group, when: str) -> logging.LogRecord:
    record = group.first
    code = getattr(record, "code", None)
    kind = "target" if getattr(record, "region", None) else "account"
    subject = (kind if group.names else "warning") + ("s" if group.count > 1 else "")
    status = getattr(record, "status", None)
    cause = f"{status} with {code}" if status and code else status or f"like: {_begin(group)}"
    names = ", ".join(group.names)
    more = ", …" if group.count > len(group.names) else ""
    listed = f": {names}{more}" if names and not when else ""
    text = f"{group.count:,} more {subject} {cause}{f' {when}' if when else ''}{listed}"
    told = {key: vars(record)[key] for key in ("name", "levelno", "levelname")}
    return logging.makeLogRecord({**told, "event": "repeated", "msg": "%s", "args": (text,)})


def _begin(group: _Group) -> str:
    text = group.first.getMessage()
    return text if len(text) <= 100 else text[:99] + "…"  # noqa: PLR2004
