"""Where findings go: the interface of all destinations, and what streams have in common."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b
from types import TracebackType
from typing import Protocol, Self

from harvester.model import Finding, Query, Target
from harvester.output.ndjson import encode_lines


class Sink(Protocol):
    """A destination; an async context manager. All of its errors are `OutputError`s."""

    async def __aenter__(self) -> Self:
        """Take hold of the destination, before anything is read."""
        ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of it; what was not published does not appear."""
        ...

    async def write(self, query: Query, findings: list[Finding]) -> None:
        """Take the findings of one page; returns when there is room for more."""
        ...

    async def restart(self, query: Query) -> None:
        """Withdraw what was written for a query: it is read again from its start."""
        ...

    async def finished(self, query: Query) -> None:
        """Note that no more of a query will come."""
        ...

    async def publish(self, complete: Collection[Target]) -> None:
        """Make everything appear; `complete` are the targets that were read whole."""
        ...


class Replay:
    """What a stream needs when a query starts over: it cannot withdraw what it has sent.

    Each page sent is remembered by its digest until its query is finished. After a restart,
    pages that come again in the same order are recognized and not sent twice; from the first
    one that differs, everything is sent, so nothing is lost, though lines may repeat.
    """

    def __init__(self) -> None:
        self._sent: dict[Query, list[bytes]] = {}
        self._again: dict[Query, int] = {}

    def is_new(self, query: Query, lines: bytes) -> bool:
        """Return whether this page must be sent, and remember that it is."""
        digest = blake2b(lines, digest_size=16).digest()
        sent = self._sent.setdefault(query, [])
        position = self._again.get(query)
        if position is not None:
            if position < len(sent) and sent[position] == digest:
                self._again[query] = position + 1
                return False
            del self._again[query]
            del sent[position:]
        sent.append(digest)
        return True

    def restart(self, query: Query) -> None:
        """Note that a query begins again."""
        self._again[query] = 0

    def finished(self, query: Query) -> None:
        """Forget a query."""
        self._sent.pop(query, None)
        self._again.pop(query, None)


class StreamSink:
    """The base of destinations that pass pages on at once."""

    def __init__(self) -> None:
        self._replay = Replay()

    async def __aenter__(self) -> Self:
        """Nothing to take hold of."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to let go of."""

    async def write(self, query: Query, findings: list[Finding]) -> None:
        """Pass a page on, unless it was before its query started over."""
        lines = encode_lines(findings)
        if self._replay.is_new(query, lines):
            await self.send(findings, lines)

    async def send(self, findings: list[Finding], lines: bytes) -> None:
        """Pass on the findings of a page, or the lines that they make."""
        raise NotImplementedError

    async def restart(self, query: Query) -> None:
        """Note that a query begins again."""
        self._replay.restart(query)

    async def finished(self, query: Query) -> None:
        """Forget a query."""
        self._replay.finished(query)

    async def publish(self, complete: Collection[Target]) -> None:
        """Nothing to do: everything was passed on when it came."""
