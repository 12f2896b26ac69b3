"""The processes that read, the first among them: who reads what, and what if one dies."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup

from harvester.clock import Clock
from harvester.concurrency import plain_errors
from harvester.model import Target
from harvester.openfiles import requests_in_flight
from harvester.processes.keys import Lender
from harvester.processes.logs import levels
from harvester.processes.mate import Mate
from harvester.processes.messages import Setup
from harvester.processes.reading import Afresh, Place, Reading
from harvester.settings import Settings
from harvester.visit import Ended, Visit, Visitor

_CLIENT = 10.0
"""What a client for one more region costs, in pages."""

_WRITES_TOO = 1.25
"""How much more a page costs the process that also writes what the others read."""

_log = logging.getLogger("harvester")


@asynccontextmanager
async def open_crew(
    settings: Settings, shares: Sequence[int], place: Place, visitor: Visitor, clock: Clock
) -> AsyncIterator[Crew]:
    """Yield a crew: `visitor` in this process, and one process for each of the shares.

    All others are gone when the block ends. Raises:
        StartError: a process could not be started.
        OutputError: the sink failed.
    """
    max_rate = settings.limits.max_rate
    requests_in_flight(max(shares))  # warns, once for all, where there may be too few files open
    crew = Crew(place, visitor, clock)
    try:
        async with plain_errors(), anyio.create_task_group() as group:
            for share in shares:
                setup = Setup(
                    settings.findings, settings.aws, share, max_rate, place.sink.withdraws, levels()
                )
                await crew.hire(group, setup)
            yield crew
            group.cancel_scope.cancel()
    finally:
        await crew.dismiss()


class Crew:
    """Hands each target to one of its processes, this one among them."""

    def __init__(self, place: Place, visitor: Visitor, clock: Clock) -> None:
        self._place = place
        self._here = Here(place, visitor)
        self._clock = clock
        self._lender = Lender()
        self._mates: list[Mate] = []
        self._grace = 0.0

    async def hire(self, group: TaskGroup, setup: Setup) -> None:
        """Start a process."""
        mate = await Mate.start(self._place.emit, self._lender, self._clock)
        self._mates.append(mate)
        mate.link.post(setup)
        group.start_soon(mate.link.carry)
        group.start_soon(mate.listen, group)
        group.start_soon(mate.watch)

    async def read(self, visit: Visit) -> Ended:
        """Read a target: in one process or, where that one dies, anew in this one."""
        mate = self._least_busy(visit.target.region)
        if isinstance(mate, Here):
            return await mate.read(visit)
        self._lender.keep(visit.target.account, visit.credentials)
        reading = Reading(self._place, visit)
        ended = await mate.read(reading)
        if ended is not None:
            return ended
        _log.warning(
            "%s: %s; it is read again",
            visit.target,
            mate.fate,
            extra={
                "event": "worker_lost",
                "account": visit.target.account,
                "region": visit.target.region,
            },
        )
        return await self._here.read(visit, again=await reading.withdraw())

    def finish_within(self, seconds: float) -> None:
        """Once dismissed, let calls under way finish for so many seconds, and write their pages."""
        self._grace = seconds

    async def dismiss(self) -> None:
        """Have all processes end, and see to it that they do."""
        with anyio.CancelScope(shield=True):
            async with plain_errors(), anyio.create_task_group() as group:
                for mate in self._mates:
                    group.start_soon(mate.part, self._grace)

    def _least_busy(self, region: str) -> Mate | Here:
        # A process that has called a region before has a client for it.
        ready: list[Mate | Here] = [self._here, *(mate for mate in self._mates if mate.alive)]
        return min(ready, key=lambda one: one.load() + _CLIENT * (region not in one.regions))


class Here:
    """This process, as one of those that read.

    Attributes:
        regions: those that it has called.
    """

    def __init__(self, place: Place, visitor: Visitor) -> None:
        self.regions: set[str] = set()
        self._place = place
        self._visitor = visitor
        self._visits: dict[Target, Visit] = {}

    def load(self) -> float:
        """Return how much it has to do, in pages as far as they are known."""
        return _WRITES_TOO * sum(one.load for one in self._visits.values())

    async def read(self, visit: Visit, *, again: bool = False) -> Ended:
        """Read a target, `again` if what another process has read of it was withdrawn."""
        sink, quarantine = self._place.sink, self._place.quarantine
        self.regions.add(visit.target.region)
        self._visits[visit.target] = visit
        try:
            if not again:
                return await self._visitor.read(visit, sink, quarantine)
            # What cannot be withdrawn is recognized where it comes again by the same queries.
            chain = not sink.withdraws
            return await self._visitor.read(visit, Afresh(sink), quarantine, chain=chain)
        finally:
            del self._visits[visit.target]
