"""Reads one target: its queries side by side, or one large chain cut into several."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from harvester.aws.counts import count_severities
from harvester.aws.cuts import Split, possible_cuts
from harvester.aws.findings import PageSizes, fetch_page
from harvester.concurrency import each
from harvester.errors import (
    ChainError,
    DamagedAnswerError,
    HarvesterError,
    ServiceError,
    TokenRefusedError,
)
from harvester.model import Page, Query, Standing, Target
from harvester.output.sink import Sink
from harvester.paging.channel import Channel
from harvester.paging.pager import Pager
from harvester.paging.splitter import QUERIES_AT_ONCE, Cut, best_of, is_enough, is_long
from harvester.tally import Tally

# These end one query; the other queries of the same target may still be read.
_OF_ONE_QUERY = (ChainError, DamagedAnswerError, TokenRefusedError)
_log = logging.getLogger("harvester")


class TargetReader:
    """Reads the queries of one target into a sink.

    Args:
        channel: carries the target's calls.
        sizes: the page sizes that regions grant.
        sink: where the findings go.
        tally: where they are counted.
        split: how a long chain without a filter is cut.
    """

    def __init__(
        self, channel: Channel, sizes: PageSizes, sink: Sink, tally: Tally, split: Split
    ) -> None:
        self._channel = channel
        self._sizes = sizes
        self._sink = sink
        self._tally = tally
        self._split = split

    async def read(self, target: Target, queries: Sequence[Query]) -> None:
        """Read all findings of the queries.

        Raises the error of the first query that could not be read to its end; others may have
        been. A refusal, or a target that cannot be reached, stops them all.
        """
        standing = self._sink.standing(target)
        if self._split != "none" and [query.name for query in queries] == [""]:
            await self._read_whole(queries[0], standing)
        else:
            self._sink.begin(target, queries, None)
            await self._read_all([self._pager(query, standing) for query in queries])
        await self._sink.finished(target)

    async def _read_whole(self, query: Query, standing: Standing | None) -> None:
        """Read a target without a filter: by one call where it is small, cut where it is large."""
        if standing is not None and standing.expected is not None:
            await self._read_cut(query, list(standing.cursors), standing.expected, standing)
            return
        pager = self._pager(query, standing)
        if pager.cursor.token is not None or pager.cursor.done:
            await pager.read()
            return
        first = await pager.first()
        counts = await self._count() if first.next_token is not None else None
        cut = await self._choose(counts, first) if counts is not None else None
        if counts is None or cut is None:
            self._sink.begin(query.target, [query], None)
            await pager.read(first)
            return
        await self._read_cut(query, cut.queries(query.target), counts["all"], None)

    async def _read_cut(
        self, whole: Query, parts: Sequence[Query], expected: int, standing: Standing | None
    ) -> None:
        """Read the parts of a cut, and the whole instead where they are not all of it."""
        self._sink.begin(whole.target, parts, expected)
        pagers = [self._pager(part, standing) for part in parts]
        await self._read_all(pagers)
        if not await self._is_all(pagers, expected):
            for part in pagers:
                self._tally.take_back(whole.target, part.cursor.severities)
            await self._sink.replace(parts, whole)
            self._sink.begin(whole.target, [whole], None)
            await self._pager(whole).read()

    async def _read_all(self, pagers: Sequence[Pager]) -> None:
        failures: list[HarvesterError] = []

        async def read(pager: Pager) -> None:
            try:
                await pager.read()
            except _OF_ONE_QUERY as error:
                failures.append(error)

        await each(pagers, QUERIES_AT_ONCE, read)
        if failures:
            raise failures[0]

    async def _is_all(self, pagers: Sequence[Pager], expected: int) -> bool:
        """Return whether a cut gave just what the service counts: then, or else now.

        More than the count is no proof either: a count that is too low would hide what the cut
        does not hold.
        """
        read = sum(pager.written for pager in pagers)
        if read != expected:
            counts = await self._count()
            if counts is None or read != counts["all"]:
                _log.info(
                    "%s: %s queries gave %s of %s findings: reading it in one chain instead",
                    pagers[0].query.target,
                    len(pagers),
                    read,
                    expected,
                )
                return False
        return True

    async def _count(self) -> dict[str, int] | None:
        try:
            return await count_severities(self._channel.hurried())
        except ServiceError as error:
            # Counting helps to be fast; the findings can be read without it.
            _log.debug("not counted, so not cut: %s", error)
            return None

    async def _choose(self, counts: dict[str, int], first: Page) -> Cut | None:
        """Return how to cut a target whose first page has a token, None for one chain.

        A cut that does not hold each finding of the first page, or less than the service
        counts in all, is none: an unknown severity, a finding outside any pipeline.
        """
        findings, size = counts["all"], self._sizes.of(self._channel.region)
        width = self._channel.width
        if self._split == "auto" and not is_long(findings, size):
            return None
        cuts: list[Cut] = []
        try:
            async for cut in possible_cuts(self._channel.hurried(), self._split, counts, size):
                if cut.findings >= findings and cut.holds(first.facets):
                    cuts.append(cut)
                if is_enough(best_of(cuts, findings, size, width), findings, size, width):
                    break
        except ServiceError as error:
            _log.debug("no finer cut: %s", error)
        if self._split != "auto":
            return cuts[0] if cuts else None
        return best_of(cuts, findings, size, width)

    def _pager(self, query: Query, standing: Standing | None = None) -> Pager:
        async def fetch(token: str | None) -> Page:
            return await fetch_page(self._channel, self._sizes, query, token)

        cursor = standing.cursors.get(query) if standing is not None else None
        return Pager(query, fetch, self._sink, self._tally, cursor=cursor)
