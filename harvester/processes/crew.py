"""The processes that read, seen from the first: who reads what, and what if one dies."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup

from harvester.clock import Clock
from harvester.concurrency import plain_errors
from harvester.errors import WorkerError
from harvester.openfiles import requests_in_flight
from harvester.processes.keys import Lender
from harvester.processes.logs import levels
from harvester.processes.mate import Mate
from harvester.processes.messages import Setup
from harvester.processes.reading import Place, Reading
from harvester.settings import Settings
from harvester.visit import Ended, Visit

_TRIES = 2
_CLIENT = 10.0
"""What a client for one more region costs, in pages."""

_log = logging.getLogger("harvester")


@asynccontextmanager
async def open_crew(
    settings: Settings, shares: Sequence[int], place: Place, clock: Clock
) -> AsyncIterator[Crew]:
    """Yield a crew, one process for each share of the requests in flight.

    All of them are gone when the block ends. Raises:
        StartError: a process could not be started.
        OutputError: the sink failed.
    """
    max_rate = settings.limits.max_rate
    requests_in_flight(max(shares))  # warns, once for all, where there may be too few files open
    crew = Crew(place, clock)
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
    """Hands each target to one of its processes."""

    def __init__(self, place: Place, clock: Clock) -> None:
        self._place = place
        self._clock = clock
        self._lender = Lender()
        self._mates: list[Mate] = []
        self._grace = 0.0

    async def hire(self, group: TaskGroup, setup: Setup) -> None:
        """Start a process."""
        mate = await Mate.start(self._place.tally, self._lender, self._clock)
        self._mates.append(mate)
        mate.link.post(setup)
        group.start_soon(mate.link.carry)
        group.start_soon(mate.listen, group)
        group.start_soon(mate.watch)

    async def read(self, visit: Visit) -> Ended:
        """Read a target: in one process or, where that one dies, anew in another."""
        self._lender.keep(visit.target.account, visit.credentials)
        reading = Reading(self._place, visit)
        fate = ""
        for _ in range(_TRIES):
            mate = self._least_busy(visit.target.region)
            if mate is None:
                break
            if fate:
                _log.warning("%s: %s; it is read again", visit.target, fate)
                await reading.withdraw()
            ended = await mate.read(reading)
            if ended is not None:
                return ended
            fate = mate.fate
        return Ended(WorkerError(fate or "no process is left that could read it"))

    def finish_within(self, seconds: float) -> None:
        """Once dismissed, let calls under way finish for so many seconds, and write their pages."""
        self._grace = seconds

    async def dismiss(self) -> None:
        """Have all processes end, and see to it that they do."""
        with anyio.CancelScope(shield=True):
            async with plain_errors(), anyio.create_task_group() as group:
                for mate in self._mates:
                    group.start_soon(mate.part, self._grace)

    def _least_busy(self, region: str) -> Mate | None:
        # A process that has called a region before has a client for it.
        return min(
            (mate for mate in self._mates if mate.alive),
            key=lambda mate: mate.load() + _CLIENT * (region not in mate.regions),
            default=None,
        )
