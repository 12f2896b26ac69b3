"""What one process does with one target: plan its queries, read them, say how that ended."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from msgspec.structs import replace

from harvester.aws.clients import Clients
from harvester.aws.credentials import Credentials
from harvester.aws.listings import list_pipelines
from harvester.aws.pagesizes import PageSizes
from harvester.clock import Clock
from harvester.errors import HarvesterError, OutputError
from harvester.events import Listener
from harvester.model import Query, Target
from harvester.openfiles import requests_in_flight
from harvester.output.quarantine import Quarantine
from harvester.output.sink import TargetSink
from harvester.paging.channel import Channel, Exchange
from harvester.paging.learned import Learned
from harvester.paging.planner import match_pipelines, matching_globs, plan_queries
from harvester.paging.retry import RetryPolicy
from harvester.paging.slots import FairSlots
from harvester.paging.splitter import width_at
from harvester.reader import TargetReader
from harvester.settings import AwsSettings, FindingSettings
from harvester.stopping import LastCalls
from harvester.trust import CountTrust

_PAGES = 10.0
_PAGES_HELD = 2
"""Pages for each request in flight that are on their way or wait for the sink."""
_log = logging.getLogger("harvester")


@dataclass(frozen=True, slots=True)
class Visit:
    """A target that was found, and the credentials to read it.

    From earlier runs: the bucket that was learned, None where that is not known, and how many
    pages it had, 0 where that is not known or not many; `doubted` is whether the service's counts
    were found to differ from its list. `rest` is how many calls it and those that come later take
    at least, one after the other.
    """

    target: Target
    credentials: Credentials
    learned: Learned | None = None
    pages: float = 0.0
    rest: float = 0.0
    doubted: bool = False

    @property
    def load(self) -> float:
        """How many pages to reckon with: a few where it is not known to be large."""
        return max(self.pages, _PAGES)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a visit ended: by an error, or else well.

    `learned` is the target's token bucket, None before any throttle; `globs` are those that
    match a pipeline, None where no pipelines are selected by globs or they are not known;
    `verified` is that of the target's `Outcome`.
    """

    error: HarvesterError | None = None
    learned: Learned | None = None
    globs: tuple[str, ...] | None = None
    verified: bool | None = None


@asynccontextmanager
async def open_clients(
    settings: AwsSettings, concurrency: int, emit: Listener, clock: Clock
) -> AsyncIterator[tuple[Clients, LastCalls, Exchange]]:
    """Yield a process's clients, closed when the block ends, and what carries calls over them.

    Raises:
        SettingsError: an endpoint is not allowed, or the CA bundle cannot be used.
        StartError: this process may have too few files open.
    """
    width = requests_in_flight(concurrency)
    async with Clients(
        profile=settings.profile,
        endpoint_url=settings.endpoint_url,
        max_connections=width,
        allow_insecure_endpoint=settings.allow_insecure_endpoint,
    ) as clients:
        calls = LastCalls(clients)
        policy = RetryPolicy(throttle_cap=0.0)
        room = FairSlots(_PAGES_HELD * width)
        yield clients, calls, Exchange(calls, FairSlots(width), emit, clock, policy, room)


class Visitor:
    """Visits targets, any number of them at a time.

    Args:
        exchange: carries their calls.
        chosen: what is read.
        max_rate: calls a second for each target, None for no cap.
    """

    def __init__(self, exchange: Exchange, chosen: FindingSettings, max_rate: float | None) -> None:
        self._exchange = exchange
        self._chosen = chosen
        self._max_rate = max_rate
        self._sizes = PageSizes(chosen.page_size)
        self._trust = CountTrust()

    async def read(
        self, visit: Visit, sink: TargetSink, quarantine: Quarantine, *, chain: bool = False
    ) -> Ended:
        """Read a target into a sink, in one chain of pages if need be.

        What cannot be understood is set aside. Raises OutputError: the sink failed.
        """
        chosen = replace(self._chosen, split="none") if chain else self._chosen
        reader: TargetReader | None = None

        async def read(channel: Channel, queries: tuple[Query, ...]) -> None:
            nonlocal reader
            reader = TargetReader(
                channel,
                self._sizes,
                sink,
                self._exchange.emit,
                chosen,
                quarantine=quarantine,
                width=width_at(visit.learned.rate if visit.learned else None, self._max_rate),
                rest=visit.rest,
                trust=self._trust,
                doubted=visit.doubted,
            )
            await reader.read(visit.target, queries)

        ended = await self.visit(visit, read)
        return ended if reader is None else dataclasses.replace(ended, verified=reader.verified)

    async def visit(
        self, visit: Visit, do: Callable[[Channel, tuple[Query, ...]], Awaitable[None]]
    ) -> Ended:
        """Plan a target's queries, and do something with them and its channel."""
        target = visit.target
        channel = self._exchange.channel(
            "imagebuilder",
            target.region,
            visit.credentials,
            account=target.account,
            max_rate=self._max_rate,
            start=visit.learned,
        )
        failure: HarvesterError | None = None
        pipelines: tuple[str, ...] | None = None
        globs: tuple[str, ...] | None = None
        try:
            if self._chosen.pipelines:
                found = await list_pipelines(channel)
                pipelines = match_pipelines(self._chosen.pipelines, found)
                globs = matching_globs(self._chosen.pipelines, found)
            await do(channel, plan_queries(target, self._chosen.filters, pipelines))
        except OutputError:
            raise  # not this target's fault: no target can go on
        except HarvesterError as error:
            failure = error
        except Exception as error:  # noqa: BLE001  # see the comment
            # A defect of ours, and still no reason to give up the other targets.
            place = {"account": target.account, "region": target.region}
            _log.exception(
                "%s: a defect of harvester, please report it",
                target,
                extra={"event": "internal_error", **place},
            )
            failure = HarvesterError(f"a defect of harvester: {type(error).__name__}")
        return Ended(failure, channel.pacer.learned, globs)
