"""Asks for the service's counts of one target: soon given up, and named where there are none."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from harvester.aws.counts import count_severities
from harvester.errors import RefusedError, ServiceError
from harvester.events import Listener, Warned
from harvester.model import Query, Target
from harvester.paging.channel import Channel
from harvester.proof import can_be_counted, count_queries, why_not_counted
from harvester.trust import CountTrust

_WORTH_ANOTHER_COUNT = 40
"""Pages of a reading after which a count that failed before it is asked for once more."""

_log = logging.getLogger("harvester")


class TargetCounts:
    """The service's counts of one target.

    Args:
        channel: carries the target's calls.
        emit: takes warnings.
        strict: whether counts are required: then a failure is an error, and a query that cannot
            be counted is a warning.
        trust: what the run has told about counts.
    """

    def __init__(
        self, channel: Channel, emit: Listener, trust: CountTrust, *, strict: bool
    ) -> None:
        self._channel = channel
        self._emit = emit
        self._trust = trust
        self._strict = strict
        self._failure: ServiceError | None = None

    async def by_severity(self) -> dict[str, int] | None:
        """Return the counts by severity, None where they cannot be had."""
        try:
            return await count_severities(self._channel.hurried())
        except ServiceError as error:
            # Counting helps to be fast; the findings can be read without it.
            self._failed(error)
            return None

    async def before(self, query: Query) -> dict[str, int]:
        """Return the count of a query that is about to be read, as `all`; or nothing."""
        try:
            counts = await self.of([query] if can_be_counted(query) else [])
        except ServiceError:
            return {}  # if it is required, it is asked for once more when all is read
        return {"all": counts[query]} if query in counts else {}

    async def of(self, queries: Sequence[Query], pages: int = 0) -> dict[Query, int]:
        """Return the counts of those queries that can be counted.

        After a failure they are asked for again only if they are required, or once more when
        many `pages` have been read.

        Raises:
            ServiceError: they cannot be had, and are required.
        """
        channel = self._channel.hurried()
        if self._failure is not None and not self._strict:
            if isinstance(self._failure, RefusedError) or pages < _WORTH_ANOTHER_COUNT:
                return {}
            channel = self._channel.hurried(attempts=1)
        try:
            counts = await count_queries(channel, queries)
        except ServiceError as error:
            if self._strict:
                raise
            self._failed(error)
            return {}
        self._name_missing([query for query in queries if query not in counts])
        return counts

    def _failed(self, error: ServiceError) -> None:
        self._failure = error
        target = Target(self._channel.account or "", self._channel.region)
        place = {"account": target.account, "region": target.region}
        _log.debug("%s: not counted: %s", target, error, extra={"event": "not_counted", **place})

    def _name_missing(self, queries: Sequence[Query]) -> None:
        """Warn, once in a run each, of queries that a strict verification cannot compare."""
        for query in queries if self._strict else ():
            reason = f"the service returned no count of {query} in {query.target}"
            if not can_be_counted(query):
                reason = why_not_counted(query)
            if self._trust.is_news(reason):
                message = f"--verify: {reason}: these findings are not compared with a count"
                self._emit(Warned(code="NotVerifiable", message=message))
