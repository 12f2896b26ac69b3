"""Compares what was read of one target with the service's counts, and decides what follows."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from harvester.counting import TargetCounts
from harvester.events import Listener, Warned
from harvester.model import Query, Target
from harvester.paging.channel import Channel
from harvester.paging.pager import Pager
from harvester.proof import (
    agree,
    calls_to_count,
    doubtful,
    is_what_was_counted,
    mismatch,
    mismatch_text,
)
from harvester.trust import MOST_DIFFERENT, CountTrust

_log = logging.getLogger("harvester")

Counts = Mapping[Query, int]


class Verifier:
    """Compares the readings of one target with the service's counts.

    Args:
        channel: carries the target's calls.
        target: what is read.
        emit: takes warnings.
        verify: True is strict, False is never; None is where it costs a call, and counts that
            differ systematically make no target incomplete.
        trust: what the run found out about counts.
        doubted: an earlier run found that this target's counts differ.
        read_again: reads a query in place of what some pagers have written.

    Attributes:
        verified: whether what was read is what the service counts, None where it was not compared.
    """

    def __init__(
        self,
        channel: Channel,
        target: Target,
        emit: Listener,
        *,
        verify: bool | None,
        trust: CountTrust,
        doubted: bool,
        read_again: Callable[[Sequence[Pager], Query], Awaitable[Pager]],
    ) -> None:
        self._target = target
        self._emit = emit
        self._verify = verify
        self._trust = trust
        self._doubted = doubted
        self._read_again = read_again
        self._counts = TargetCounts(channel, emit, trust, strict=bool(verify))
        self.verified: bool | None = None

    @property
    def relies_on_counts(self) -> bool:
        """Whether counts may decide how the target is read."""
        return not (self._doubted or self._trust.is_lost)

    async def count_before(self, query: Query, *, by_severity: bool) -> dict[str, int]:
        """Return what the service counts for a query that is about to be read, as `all`.

        Args:
            query: what is read.
            by_severity: also return the counts that a split needs.

        Returns nothing where the counts cannot be had, or are not wanted.
        """
        if by_severity:
            return await self._counts.by_severity() or {}
        wanted = self._verify is not False and self.relies_on_counts
        return await self._counts.before(query) if wanted else {}

    async def is_all(
        self, parts: Sequence[Pager], counts: Mapping[str, int], *, resumed: bool
    ) -> int | None:
        """Return None if a split gave what the service counts, else the service's count now.

        More than the count is no proof either: a count that is too low would hide what the split
        does not hold. Where the count cannot be had, -1 is returned.

        Args:
            parts: the readings.
            counts: what the service counted before.
            resumed: whether an earlier run began to read them: as many findings may have come
                since as have gone, so the severities have to be those counted as well.
        """
        severities = severities_of(parts)
        is_proved = severities.total() == counts["all"]
        if resumed:
            is_proved = is_what_was_counted(severities, counts)
        if not is_proved:
            now = await self._counts.by_severity()
            if now is None:
                return -1
            if severities.total() != now["all"] or (
                resumed and not is_what_was_counted(severities, now)
            ):
                return now["all"]
        self.verified = True
        return None

    async def prove_instead(self, parts: Counter[str], whole: Pager, counted: int) -> None:
        """Compare a target that was read whole, after a split that gave `parts`.

        Raises:
            CountMismatchError: see `prove`.
        """
        known = {whole.query: counted} if counted >= 0 else {}
        if self._verify is False:
            if known and agree(whole, parts, known, known):
                self.verified = counted == whole.written
            return
        last = {**known, **await self._counts.of([whole.query], whole.cursor.pages)}
        await _settle([whole], known, last)
        wrong = doubtful([whole], known, last)
        self.verified = True if whole.query in last else None
        if wrong and known and agree(whole, parts, known, last):
            self._accept_twice(wrong, last)
        elif wrong:
            await self._read_twice(wrong, last)

    async def prove(
        self, pagers: Sequence[Pager], before: Counts, resumed: Collection[Query]
    ) -> None:
        """Compare readings with the service's counts, and read again those that differ.

        Args:
            pagers: the readings.
            before: counts that were asked for before the reading.
            resumed: the queries that an earlier run began to read.

        Raises:
            CountMismatchError: a reading differs from the count still, and from the first one;
                or `verify` is strict.
            ServiceError: the counts cannot be had, though `verify` is strict.
        """
        unproved = [one for one in pagers if before.get(one.query) != one.written]
        after = await self._counts_after(unproved, resumed)
        await _settle(unproved, after)
        compared = len(pagers) - len(unproved) + sum(one.query in after for one in unproved)
        self.verified = True if pagers and compared == len(pagers) else None
        if wrong := doubtful(unproved, before, after):
            await self._read_twice(wrong, after)

    async def _read_twice(self, wrong: Sequence[Pager], after: Counts) -> None:
        compared, self.verified = self.verified, False
        if self._verify is None and self._doubted:
            self._accept(
                wrong, after, "not read again, since an earlier run found its counts wrong"
            )
            return
        if self._verify:
            if await self._second_reading(wrong, after):
                self.verified = compared
            return
        async with self._trust.second_reading() as wanted:
            if not wanted:
                self._accept(
                    wrong,
                    after,
                    f"not read again, since this run found {MOST_DIFFERENT} counts wrong",
                )
            elif await self._second_reading(wrong, after):
                self.verified = compared

    async def _second_reading(self, wrong: Sequence[Pager], after: Counts) -> bool:
        """Read queries again; return whether they are what the service counts then."""
        place = {"account": self._target.account, "region": self._target.region}
        _log.info(
            "%s: %s: reading it again",
            self._target,
            mismatch_text(wrong[0], after),
            extra={"event": "count_mismatch", **place},
        )
        first = {one.query: Counter(one.cursor.severities) for one in wrong}
        again = [await self._read_again([one], one.query) for one in wrong]
        last = {**after, **await self._counts.of([one.query for one in again])}
        await _settle(again, after, last)
        still = doubtful(again, after, last)
        if not still:
            return True
        if not all(agree(one, first[one.query], after, last) for one in still):
            raise mismatch(still[0], last)
        self._accept_twice(still, last)
        return False

    def _accept_twice(self, wrong: Sequence[Pager], counts: Counts) -> None:
        """Accept what two readings agree on, unless a difference is never accepted."""
        self.verified = False
        if self._verify:
            raise mismatch(wrong[0], counts)
        self._trust.differs(self._target)
        self._accept(wrong, counts, "two readings agree")

    def _accept(self, wrong: Sequence[Pager], counts: Counts, reason: str) -> None:
        """Warn of counts that differ, and call the target complete all the same."""
        self.verified = False
        more = f" and {len(wrong) - 1} other queries" if len(wrong) > 1 else ""
        message = f"{self._target}: {mismatch_text(wrong[0], counts)}{more}; {reason}"
        place = {"account": self._target.account, "region": self._target.region}
        self._emit(Warned(code="CountMismatch", message=message, **place))

    async def _counts_after(
        self, unproved: Sequence[Pager], resumed: Collection[Query]
    ) -> dict[Query, int]:
        queries = [one.query for one in unproved]
        if self._verify is False:
            return {}
        if self._verify:
            return await self._counts.of(queries)
        pages = sum(one.cursor.pages for one in unproved)
        if any(one.cursor.pages > 1 for one in unproved) and calls_to_count(queries) == 1:
            return await self._counts.of(queries, pages)
        # What an earlier run read is no proof: findings may have come since.
        return await self._counts.of([one for one in queries if one in resumed], pages)


def severities_of(pagers: Sequence[Pager]) -> Counter[str]:
    """Return how many findings of each severity some queries gave together."""
    found: Counter[str] = Counter()
    for pager in pagers:
        found.update(pager.cursor.severities)
    return found


async def _settle(pagers: Sequence[Pager], *counts: Counts) -> None:
    """Write findings held back as repetitions, unless the count says that they are repetitions."""
    for pager in pagers:
        if pager.holds and all(known.get(pager.query) != pager.written for known in counts):
            await pager.release()
