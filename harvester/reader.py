"""Reads one target: its queries side by side, or one large chain split into several."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harvester.aws.cuts import choose_cut
from harvester.aws.findings import fetch_page
from harvester.aws.pagesizes import SURE_PER_PAGE, PageSizes
from harvester.concurrency import each
from harvester.errors import (
    ChainError,
    DamagedAnswerError,
    HarvesterError,
    TokenRefusedError,
)
from harvester.events import FindingsWithdrawn, Listener, TargetSplit
from harvester.model import Cursor, Page, Query, Standing, Target
from harvester.output.quarantine import Quarantine
from harvester.output.sink import TargetSink
from harvester.paging.channel import Channel
from harvester.paging.pager import Pager
from harvester.paging.splitter import QUERIES_AT_ONCE, Cut
from harvester.proof import can_be_counted
from harvester.settings.sections import FindingSettings
from harvester.trust import CountTrust
from harvester.verifier import Verifier, severities_of

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
        trust: what the run has found out about the service's counts.
        doubted: an earlier run found that this target's counts differ from its list.
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
        trust: CountTrust | None = None,
        doubted: bool = False,
    ) -> None:
        target = Target(channel.account or "", channel.region)
        self._target = target
        self._width = width
        self._rest = rest
        self._channel = channel
        self._sizes = sizes
        self._sink = sink
        self._emit = emit
        self._split = chosen.split
        self._verify = chosen.verify
        self._quarantine = quarantine
        self._verifier = Verifier(
            channel,
            target,
            emit,
            verify=chosen.verify,
            trust=trust or CountTrust(),
            doubted=doubted,
            read_again=self._read_again,
        )

    @property
    def verified(self) -> bool | None:
        """Whether what was read is what the service counts, None where it was not compared."""
        return self._verifier.verified

    async def read(self, target: Target, queries: Sequence[Query]) -> None:
        """Read all findings of the queries.

        Raises the error of the first query that could not be read to its end; others may have
        been. A refusal, or a target that cannot be reached, stops them all.
        """
        standing = self._sink.standing(target)
        if len(queries) == 1:
            await self._read_one(queries[0], standing)
        else:
            await self._read_several(target, queries, standing)
        await self._sink.finished(target)

    async def _read_several(
        self, target: Target, queries: Sequence[Query], standing: Standing | None
    ) -> None:
        """Read some queries side by side; those of an earlier run are proved or start over."""
        self._sink.begin(target, queries, None)
        if standing is not None and self._verify is not False:
            # A token may be a position in a list that has changed: then a finding is read twice
            # and another one is missing, which a count does not show. A query that was read to
            # its end may lack what came since, and only a count shows that.
            for query in queries:
                cursor = standing.cursors.get(query, Cursor())
                proved = cursor.token is None and can_be_counted(query)
                if cursor.pages and not proved:
                    await self._sink.replace([query], query)
                    standing = _without(standing, query)
        pagers = [self._pager(query, standing) for query in queries]
        await self._read_all(pagers)
        await self._verifier.prove(pagers, {}, standing.cursors if standing else ())

    async def _read_one(self, query: Query, standing: Standing | None) -> None:
        """Read what one query holds: by one call where it is small, split where it is large."""
        if standing is not None and await self._read_on(query, standing):
            return
        if standing is not None:
            # All of it: a new split may have parts of the same names.
            await self._sink.replace(list(standing.cursors), query)
        pager = self._pager(query)
        first = await pager.first()
        goes_on = first.next_token is not None and first.doubt is None
        counts = (
            await self._verifier.count_before(query, by_severity=self._may_split(query))
            if goes_on
            else {}
        )
        cut = await self._choose(counts, first) if self._may_split(query) and counts else None
        if cut is not None:
            await self._read_split(query, cut.queries(query.target), counts)
            return
        known = {query: counts["all"]} if counts else {}
        self._sink.begin(query.target, [query], known.get(query))
        await pager.read(first)
        await self._verifier.prove([pager], known, ())

    async def _read_on(self, query: Query, standing: Standing) -> bool:
        """Read on where an earlier run was killed; return False where all has to be read again.

        What that run read may lack findings that are new, and its tokens may be positions in a
        list that has changed. So its reading is continued only while the service's count is the
        one that it began with, and is compared with a count of now in any case. Only a run that
        is told to compare nothing continues without a count.
        """
        cursor = standing.cursors.get(query, Cursor())
        if not self._verifier.relies_on_counts:
            return False
        if standing.expected is None:
            # Without a token it is nothing, or a page: that costs as much as a count.
            if self._verify is not False or (cursor.token is None and cursor.pages <= 1):
                return False
            counts = None
        else:
            counts = await self._verifier.count_before(query, by_severity=self._may_split(query))
            if not counts or counts["all"] != standing.expected:
                return False
        if query not in standing.cursors:
            if counts and self._may_split(query):
                await self._read_split(query, list(standing.cursors), counts, standing)
            return bool(counts) and self._may_split(query)
        self._sink.begin(query.target, [query], standing.expected)
        pager = self._pager(query, standing)
        await pager.read()
        known = {query: counts["all"]} if counts else {}
        await self._verifier.prove([pager], known, [query])
        return True

    def _may_split(self, query: Query) -> bool:
        """Return whether a query may be split; the service takes no second filter beside its own."""
        return self._split != "none" and not query.name and self._verifier.relies_on_counts

    async def _read_split(
        self,
        whole: Query,
        parts: Sequence[Query],
        counts: Mapping[str, int],
        standing: Standing | None = None,
    ) -> None:
        """Read the parts of a split, and the whole instead where they are not all of it."""
        expected = counts["all"]
        self._sink.begin(whole.target, parts, expected)
        by = tuple(dict.fromkeys(part.name for part in parts))
        self._emit(TargetSplit(target=whole.target, by=by, queries=len(parts), expected=expected))
        pagers = [self._pager(part, standing) for part in parts]
        await self._read_all(pagers)
        counted = await self._verifier.is_all(pagers, counts, resumed=standing is not None)
        if counted is None:
            return
        read = severities_of(pagers)
        _log.info(
            "%s: %s queries gave %s findings, and the service counts %s: reading it in one chain "
            "instead",
            whole.target,
            len(pagers),
            read.total(),
            counted if counted >= 0 else f"{expected}, or other than that now",
            extra={"event": "split_abandoned"},
        )
        self._sink.begin(whole.target, [whole], None)
        again = await self._read_again(pagers, whole)
        await self._verifier.prove_instead(read, again, counted)

    async def _read_again(self, pagers: Sequence[Pager], by: Query) -> Pager:
        """Read a query in place of what some pagers have written, which is withdrawn."""
        for pager in pagers:
            self._emit(FindingsWithdrawn(target=by.target, severities=pager.cursor.severities))
        await self._sink.replace([pager.query for pager in pagers], by)
        pager = self._pager(by, hold=True)
        await pager.read()
        return pager

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

    async def _choose(self, counts: Mapping[str, int], first: Page) -> Cut | None:
        """Return how to split a target whose first page has a token, None for one chain."""
        # What the pace would allow at this moment does not count: it says nothing yet.
        return await choose_cut(
            self._channel.hurried(),
            self._split,
            counts,
            first.facets,
            page_size=self._page_size(first),
            width=self._width,
            rest=self._rest,
        )

    def _page_size(self, first: Page) -> int:
        """Return how many findings a page has: less than was asked for, if the service says so."""
        granted = self._sizes.of(self._target)
        return min(granted, max(len(first.facets), SURE_PER_PAGE))

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
                kept = self._quarantine.set_aside(query.target, error)
                if error.page is None:
                    raise kept from None
                return replace(error.page, doubt=kept)

        cursor = standing.cursors.get(query) if standing is not None else None
        hold = self._verify is not False and (hold or not self._sink.withdraws)
        return Pager(
            query, fetch, self._sink, self._emit, cursor=cursor, done=place.release, hold=hold
        )


def _without(standing: Standing, query: Query) -> Standing:
    """Return where a target stands apart from one query."""
    cursors = {other: cursor for other, cursor in standing.cursors.items() if other != query}
    return replace(standing, cursors=cursors)
