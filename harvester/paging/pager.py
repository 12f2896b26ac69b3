"""The token loop: follows one query's chain of pages to its end, or says why it cannot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

from harvester.errors import ChainError, TokenRefusedError
from harvester.model import Finding, Page, Query
from harvester.paging.planner import passes
from harvester.tally import Tally, severity_counts


class PageSink(Protocol):
    """Where the pages of a query go."""

    async def write(self, query: Query, findings: list[Finding]) -> None:
        """Take the findings of one page."""
        ...

    async def restart(self, query: Query) -> None:
        """Withdraw what was written for a query: it is read again from its start."""
        ...


@dataclass(frozen=True, slots=True)
class ChainLimits:
    """When a chain is given up.

    Attributes:
        empty_pages: empty pages in a row. Services that filter as they read can answer many,
            so the limit is far beyond what a real chain shows.
        repeats: how often a page whose token was seen before is asked for.
        restarts: how often a query starts over because its token was refused.
    """

    empty_pages: int = 1000
    repeats: int = 3
    restarts: int = 3


class Pager:
    """Reads one query, page by page.

    Args:
        query: what to read.
        fetch: returns the page at a token, None for the first, retried as far as it makes
            sense.
        sink: where the findings go.
        tally: where they are counted.
    """

    def __init__(
        self,
        query: Query,
        fetch: Callable[[str | None], Awaitable[Page]],
        sink: PageSink,
        tally: Tally,
        limits: ChainLimits | None = None,
    ) -> None:
        self._query = query
        self._fetch = fetch
        self._sink = sink
        self._tally = tally
        self._limits = limits or ChainLimits()
        self._seen: set[bytes] = set()
        self._written: Counter[str] = Counter()
        self._restarts = 0

    async def read(self) -> None:
        """Read the chain to its absent token.

        Raises:
            ServiceError: a page could not be had, or the chain (`ChainError`) has no end.
        """
        token: str | None = None
        empty = 0
        while True:
            try:
                page = await self._ask(token)
            except TokenRefusedError:
                if token is None or self._restarts >= self._limits.restarts:
                    raise
                token, empty = None, 0
                await self._start_over()
                continue
            await self._write(page)
            if page.next_token is None:
                return
            empty = 0 if page.findings else empty + 1
            self._guard(page.next_token, empty)
            token = page.next_token

    async def _ask(self, token: str | None) -> Page:
        page = await self._fetch_twice(token)
        for _ in range(self._limits.repeats - 1):
            if page.next_token is None or _digest(page.next_token) not in self._seen:
                break
            page = await self._fetch_twice(token)
        return page

    async def _fetch_twice(self, token: str | None) -> Page:
        try:
            return await self._fetch(token)
        except TokenRefusedError:
            if token is None:
                raise
            # Once may be a hiccup, and starting over is dear; twice, and the token is dead.
            return await self._fetch(token)

    async def _write(self, page: Page) -> None:
        findings = page.findings
        if self._query.conditions:
            findings = [item for item in findings if passes(item, self._query.conditions)]
        if findings:
            await self._sink.write(self._query, findings)
            self._written.update(severity_counts(findings))
        self._tally.read(self._query.target, findings)

    async def _start_over(self) -> None:
        self._restarts += 1
        self._seen.clear()
        await self._sink.restart(self._query)
        self._tally.take_back(self._query.target, self._written)
        self._written.clear()

    def _guard(self, next_token: str, empty: int) -> None:
        digest = _digest(next_token)
        if digest in self._seen:
            raise self._broken("TokenRepeated", "the service gave a token for the second time")
        if empty >= self._limits.empty_pages:
            raise self._broken("EndlessEmptyPages", f"{empty} empty pages in a row")
        self._seen.add(digest)

    def _broken(self, code: str, message: str) -> ChainError:
        target = self._query.target
        return ChainError(
            code,
            f"{message} ({self._query})",
            operation="ListImageScanFindings",
            account=target.account,
            region=target.region,
        )


def _digest(token: str) -> bytes:
    # Tokens may be 64 KiB long; a chain may have tens of thousands of them.
    return blake2b(token.encode("utf-8", "surrogatepass"), digest_size=16).digest()
