"""The token loop: follows one query's chain of pages to its end, or says why it cannot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Protocol

from harvester.errors import ChainError, ServiceError, TokenRefusedError
from harvester.events import FindingsWithdrawn, Listener, PageRead
from harvester.model import BROKEN, Cursor, Page, Query
from harvester.paging.planner import belonging
from harvester.paging.repeats import Repeats


class PageSink(Protocol):
    """Where the pages of a query go."""

    async def write(self, query: Query, page: Page) -> None:
        """Take a page of what belongs to the query; its next token is where the query stands."""
        ...

    async def replace(self, queries: Sequence[Query], by: Query) -> None:
        """Withdraw what was written for some queries: `by` reads all of it (again)."""
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
    repeats: int = 5
    restarts: int = 5


class Pager:
    """Reads one query, page by page.

    Args:
        query: what to read.
        fetch: returns the page at a token, None for the first, retried as far as it makes
            sense.
        sink: where the findings go.
        emit: takes an event for each page.
        cursor: where an earlier run left the query; what it read is counted as read.
        done: called as soon as a page that was fetched is no longer held.
        hold: hold back what looks like the same finding on two pages, until it is settled by
            `release`, or dropped with the pager.

    Attributes:
        query: what it reads.
        cursor: where the query stands.
        released: how many findings that look like repetitions were written after all.
    """

    def __init__(
        self,
        query: Query,
        fetch: Callable[[str | None], Awaitable[Page]],
        sink: PageSink,
        emit: Listener,
        *,
        limits: ChainLimits | None = None,
        cursor: Cursor | None = None,
        done: Callable[[], None] = lambda: None,
        hold: bool = False,
    ) -> None:
        self.query = query
        self._fetch = fetch
        self._done = done
        self._sink = sink
        self._emit = emit
        self._limits = limits or ChainLimits()
        self._seen: set[bytes] = set()
        self.cursor = cursor or Cursor()
        self.released = 0
        self._restarts = 0
        self._empty = 0
        self._resumed = self.cursor.token is not None
        self._repeats = Repeats() if hold else None
        self._doubt: ServiceError | None = None
        if self.cursor.token is not None:
            self._seen.add(_digest(self.cursor.token))
        if cursor is not None:
            emit(
                PageRead(
                    target=query.target,
                    severities=cursor.severities,
                    pages=cursor.pages,
                    resumed=True,
                )
            )

    @property
    def written(self) -> int:
        """How many findings were handed to the sink."""
        return sum(self.cursor.severities.values())

    @property
    def holds(self) -> bool:
        """Whether findings are held back that look like repetitions."""
        return bool(self._repeats)

    async def release(self) -> None:
        """Write what was held back: there is no proof that it is a repetition."""
        if self._repeats:
            page = self._repeats.take(self.cursor.token)
            self.released += len(page.facets)
            await self._write(page, pages=0)

    async def first(self) -> Page:
        """Return the first page, without writing it: `read` goes on from there."""
        page = await self._fetch(None)
        self._done()  # it waits for what takes other calls, and there is one for a target
        return page

    async def read(self, first: Page | None = None) -> None:
        """Read the chain to its end: a page without a next token.

        A page with a doubt is written like any other, and the chain is followed as far as its
        tokens lead; the doubt is raised after the last page.

        Raises:
            ServiceError: a page could not be had, a page was doubtful, or the chain
                (`ChainError`) has no end.
        """
        try:
            if first is not None:
                await self._take(first)
            while not self.cursor.done:
                await self._take(await self._next())
            if self._doubt is not None:
                raise self._doubt
        except ServiceError:
            await self.release()
            raise
        finally:
            self._done()

    async def _next(self) -> Page:
        if self.cursor.token == BROKEN:
            await self._start_over()
        if self.cursor.token is None:
            return await self._fetch(None)
        try:
            return await self._ask(self.cursor.token)
        except TokenRefusedError:
            if self._restarts >= self._limits.restarts:
                raise
            await self._start_over()
            return await self._fetch(None)

    async def _ask(self, token: str) -> Page:
        page = await self._fetch_twice(token)
        for _ in range(self._limits.repeats - 1):
            if page.next_token is None or _digest(page.next_token) not in self._seen:
                break
            page = await self._fetch_twice(token)
        return page

    async def _fetch_twice(self, token: str) -> Page:
        try:
            return await self._fetch(token)
        except TokenRefusedError:
            # Once may be a hiccup, and starting over is dear; twice, and the token is dead.
            return await self._fetch(token)

    async def _take(self, page: Page) -> None:
        ours = belonging(page, self.query)
        if again := page.next_token is not None and _digest(page.next_token) in self._seen:
            if self._resumed:
                # The tokens of the earlier run are not known: this page may be one of its own.
                await self._start_over()
                return
            ours = replace(ours, next_token=BROKEN)
        self._doubt = self._doubt or page.doubt
        await self._write(ours if self._repeats is None else self._repeats.rest(ours))
        self._empty = 0 if page.facets else self._empty + 1
        if self._doubt is not None and page.next_token == BROKEN:
            raise self._doubt
        if again:
            raise self._broken(
                "TokenRepeated", "the service returned a next token that it had returned before"
            )
        if page.next_token is not None:
            self._seen.add(_digest(page.next_token))
            if self._empty >= self._limits.empty_pages:
                raise self._broken("EndlessEmptyPages", f"{self._empty} empty pages in a row")

    async def _write(self, page: Page, *, pages: int = 1) -> None:
        # What is held back is in memory alone: a run that ends with it, killed or interrupted,
        # must not be gone on with behind it. The same holds for what a doubtful page lacks.
        lacks = self.holds or self._doubt is not None
        known = replace(page, next_token=BROKEN) if lacks else page
        await self._sink.write(self.query, known)
        self._done()
        self.cursor = self.cursor.after(page)
        self._emit(PageRead(target=self.query.target, severities=page.severities, pages=pages))

    async def _start_over(self) -> None:
        self._restarts += 1
        self._resumed = False
        self._doubt = None
        self._repeats = None if self._repeats is None else Repeats()
        self._seen.clear()
        self._empty = 0
        await self._sink.replace([self.query], self.query)
        self._emit(FindingsWithdrawn(target=self.query.target, severities=self.cursor.severities))
        self.cursor = Cursor()

    def _broken(self, code: str, message: str) -> ChainError:
        target = self.query.target
        return ChainError(
            code,
            f"{message} ({self.query})",
            operation="ListImageScanFindings",
            account=target.account,
            region=target.region,
        )


def _digest(token: str) -> bytes:
    # Tokens may be 64 KiB long; a chain may have tens of thousands of them.
    return blake2b(token.encode("utf-8", "surrogatepass"), digest_size=16).digest()
