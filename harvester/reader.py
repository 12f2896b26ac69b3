"""Reads one target: its queries side by side, or one large chain cut into several."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from harvester.aws.counts import count_severities
from harvester.aws.cuts import possible_cuts
from harvester.aws.findings import PageSizes, fetch_page
from harvester.concurrency import each
from harvester.errors import (
    ChainError,
    DamagedAnswerError,
    HarvesterError,
    ServiceError,
    TokenRefusedError,
)
from harvester.events import FindingsWithdrawn, Listener, TargetSplit
from harvester.model import Page, Query, Standing, Target
from harvester.output.quarantine import Quarantine
from harvester.output.sink import TargetSink
from harvester.paging.channel import Channel
from harvester.paging.pager import Pager
from harvester.paging.splitter import QUERIES_AT_ONCE, Cut, best_of, is_enough, is_long
from harvester.proof import calls_to_count, count_queries, doubtful, mismatch
from harvester.settings.sections import FindingSettings

# These end one query; the other queries of the same target may still be read.
_OF_ONE_QUERY = (ChainError, DamagedAnswerError, TokenRefusedError)
_log = logging.getLogger("harvester")


class TargetReader:
    """Reads the queries of one target into a sink.

    Args:
        channel: carries the target's calls.
        sizes: the page sizes that regions grant.
        sink: where the findings go.
        emit: takes an event for each page.
        chosen: how a long chain without a filter is cut, and what is verified.
        quarantine: where pages go that cannot be understood.
        width: how many calls fill the target's pace, as far as it is known beforehand.
        rest: how many calls the rest of the sweep takes, one after the other.
    """

    def __init__(
        self,
        channel: Channel,
        sizes: PageSizes,
        sink: TargetSink,
        emit: Listener,
        chosen: FindingSettings,
        *,
        quarantine: Quarantine,
        width: float = QUERIES_AT_ONCE,
        rest: float = 0.0,
    ) -> None:
        self._width = width
        self._rest = rest
        self._channel = channel
        self._sizes = sizes
        self._sink = sink
        self._emit = emit
        self._split = chosen.split
        self._verify = chosen.verify
        self._quarantine = quarantine
        self._countable = True

    async def read(self, target: Target, queries: Sequence[Query]) -> None:
        """Read all findings of the queries.

        Raises the error of the first query that could not be read to its end; others may have
        been. A refusal, or a target that cannot be reached, stops them all.
        """
        standing, before = self._sink.standing(target), dict[Query, int]()
        if self._split != "none" and [query.name for query in queries] == [""]:
            pagers = await self._read_whole(queries[0], standing, before)
        else:
            self._sink.begin(target, queries, None)
            pagers = [self._pager(query, standing) for query in queries]
            await self._read_all(pagers)
        await self._prove(pagers, before)
        await self._sink.finished(target)

    async def _read_whole(
        self, query: Query, standing: Standing | None, before: dict[Query, int]
    ) -> list[Pager]:
        """Read a target without a filter: by one call where it is small, cut where it is large.

        Returns what is still to be proved; the service's count goes into `before`.
        """
        if standing is not None and standing.expected is not None:
            before[query] = standing.expected
            return await self._read_cut(query, list(standing.cursors), standing, before)
        pager = self._pager(query, standing)
        if pager.cursor.token is not None or pager.cursor.done:
            await pager.read()
            return [pager]
        first = await pager.first()
        counts = await self._count() if first.next_token is not None else None
        cut = await self._choose(counts, first) if counts is not None else None
        if counts is not None:
            before[query] = counts["all"]
        if cut is not None:
            return await self._read_cut(query, cut.queries(query.target), None, before)
        self._sink.begin(query.target, [query], None)
        await pager.read(first)
        return [pager]

    async def _read_cut(
        self,
        whole: Query,
        parts: Sequence[Query],
        standing: Standing | None,
        before: dict[Query, int],
    ) -> list[Pager]:
        """Read the parts of a cut, and the whole instead where they are not all of it.

        Returns what is still to be proved: nothing, since two readings are enough.
        """
        self._sink.begin(whole.target, parts, before[whole])
        by = tuple(dict.fromkeys(part.name for part in parts))
        self._emit(
            TargetSplit(target=whole.target, by=by, queries=len(parts), expected=before[whole])
        )
        pagers = [self._pager(part, standing) for part in parts]
        await self._read_all(pagers)
        if await self._is_all(pagers, before[whole]):
            return []
        self._sink.begin(whole.target, [whole], None)
        again = await self._read_again(pagers, whole)
        if self._verify is not False:
            last = await self._count_again([whole])
            await _settle([again], before, last)
            if doubtful([again], before, last):
                raise mismatch(again, last)
        return []

    async def _read_again(self, pagers: Sequence[Pager], by: Query) -> Pager:
        """Read a query in place of what some pagers have written, which is withdrawn."""
        for pager in pagers:
            self._emit(FindingsWithdrawn(target=by.target, severities=pager.cursor.severities))
        await self._sink.replace([pager.query for pager in pagers], by)
        pager = self._pager(by, hold=True)
        await pager.read()
        return pager

    async def _prove(self, pagers: Sequence[Pager], before: Mapping[Query, int]) -> None:
        """Hold what was read against the service's counts, and read twice what differs.

        Raises:
            CountMismatchError: it differs still.
            ServiceError: the counts cannot be had, though they were asked for.
        """
        unproved = [one for one in pagers if before.get(one.query) != one.written]
        queries = [one.query for one in unproved]
        if self._verify is None:
            several = any(one.cursor.pages > 1 for one in unproved)
            wanted = several and calls_to_count(queries) == 1
        else:
            wanted = self._verify
        after = await self._count_again(queries) if wanted else {}
        await _settle(unproved, after)
        wrong = doubtful(unproved, before, after)
        if not wrong:
            return
        _log.info("%s: %s: reading it again", wrong[0].query.target, mismatch(wrong[0], after))
        again = [await self._read_again([one], one.query) for one in wrong]
        last = await self._count_again([one.query for one in again])
        await _settle(again, after, last)
        if still := doubtful(again, after, last):
            raise mismatch(still[0], last)

    async def _count_again(self, queries: Sequence[Query]) -> dict[Query, int]:
        if not (self._countable or self._verify):
            return {}
        try:
            return await count_queries(self._channel.hurried(), queries)
        except ServiceError as error:
            if self._verify:
                raise
            _log.debug("not verified: %s", error)
            return {}

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
            # Counting helps to be fast; the findings can be read without it. What hangs once is
            # not asked for again.
            _log.debug("not counted, so not cut: %s", error)
            self._countable = False
            return None

    async def _choose(self, counts: dict[str, int], first: Page) -> Cut | None:
        """Return how to cut a target whose first page has a token, None for one chain.

        A cut that does not hold each finding of the first page, or less than the service
        counts in all, is none: an unknown severity, a finding outside any pipeline.
        """
        findings, size = counts["all"], self._sizes.of(self._channel.region)
        # What the pace would allow at this moment does not count: it says nothing yet.
        width = self._width
        if self._split == "auto" and not is_long(findings, size, width, self._rest):
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

    def _pager(
        self, query: Query, standing: Standing | None = None, *, hold: bool = False
    ) -> Pager:
        """Return what reads a query; to `hold` is to hold repetitions back.

        It is for second readings, which a count has asked for: what is held is in memory alone,
        and a run that is killed with it leaves a query that has to be read anew. What cannot be
        withdrawn is held back in any case.
        """
        place = self._channel.place()

        async def fetch(token: str | None) -> Page:
            # A page that is asked for in place of another. To wait for the pace with a place in
            # hand would be to wait for who waits for a place.
            place.release()
            try:
                return await fetch_page(self._channel, self._sizes, query, token, place)
            except DamagedAnswerError as error:
                raise self._quarantine.set_aside(query.target, error) from None

        cursor = standing.cursors.get(query) if standing is not None else None
        hold = self._verify is not False and (hold or not self._sink.withdraws)
        return Pager(
            query, fetch, self._sink, self._emit, cursor=cursor, done=place.release, hold=hold
        )


async def _settle(pagers: Sequence[Pager], *counts: Mapping[Query, int]) -> None:
    """Write what looked like repetitions, but where the service counts that it is none of its."""
    for pager in pagers:
        if pager.holds and all(known.get(pager.query) != pager.written for known in counts):
            await pager.release()
