"""What was asked and how it was answered."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request.

    account: the caller's, empty where the caller is not known. status: 0 where the connection
    ended without an answer. code: the error code, None for a success. fault: the name of the
    transient fault that struck, if any. parameters: the decoded body or query. time: seconds since
    the epoch.
    """

    service: str
    operation: str
    account: str
    region: str
    status: int
    code: str | None
    fault: str | None
    parameters: dict[str, Any]
    time: float


class Ledger:
    """All requests in the order of their answers; only counts them where `keep` is False."""

    def __init__(self, *, keep: bool = True) -> None:
        self.requests: list[RequestRecord] = []
        self._keep = keep
        self._counts: Counter[tuple[str, str, str, str, str | None, str | None]] = Counter()

    def add(self, record: RequestRecord) -> None:
        """Note a request."""
        key = (record.service, record.operation, record.account, record.region)
        self._counts[(*key, record.code, record.fault)] += 1
        if self._keep:
            self.requests.append(record)

    def count(self, **wanted: str | None) -> int:
        """How many requests there were with these values; one not given may be any."""
        names = ("service", "operation", "account", "region", "code", "fault")
        checks = [(names.index(name), value) for name, value in wanted.items()]
        return sum(
            number
            for key, number in self._counts.items()
            if all(key[place] == value for place, value in checks)
        )
