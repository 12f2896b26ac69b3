"""The journey: accounts, regions and pipelines to targets, to queries, to pages, to the output."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from harvester.aws.accounts import Accounts
from harvester.aws.clients import Clients
from harvester.aws.credentials import Credentials, OwnCredentials
from harvester.aws.findings import PageSizes
from harvester.aws.listings import list_pipelines
from harvester.aws.regions import choose_regions
from harvester.clock import Clock
from harvester.concurrency import each, plain_errors
from harvester.errors import (
    HarvesterError,
    OutputError,
    SettingsError,
)
from harvester.memory import Memory
from harvester.model import Account, Caller, Outcome, Query, Stage, Target
from harvester.names import is_account, is_region
from harvester.openfiles import requests_in_flight
from harvester.output.quarantine import Quarantine
from harvester.output.sink import Sink
from harvester.paging.channel import Channel, Exchange
from harvester.paging.planner import match_pipelines, plan_queries
from harvester.paging.retry import RetryPolicy
from harvester.paging.slots import FairSlots
from harvester.reader import TargetReader
from harvester.settings import Settings
from harvester.stopping import LastCalls
from harvester.tally import Tally, code_of, message_of
from harvester.text import printable

_ACCOUNTS_AT_ONCE = 16
_log = logging.getLogger("harvester")


@dataclass(frozen=True, slots=True)
class Visit:
    """A target that was found, with the credentials to read it."""

    target: Target
    credentials: Credentials


@asynccontextmanager
async def open_journey(
    settings: Settings, tally: Tally, clock: Clock, memory: Memory | None = None
) -> AsyncIterator[Journey]:
    """Yield a journey whose clients are closed when the block ends.

    Raises:
        SettingsError: an endpoint is not allowed, or the CA bundle cannot be used; no region
            is given, and the SDK has none configured.
        StartError: this process may have too few files open.
    """
    width, aws = requests_in_flight(settings.limits.max_concurrency), settings.aws
    async with Clients(
        profile=aws.profile,
        endpoint_url=aws.endpoint_url,
        max_connections=width,
        allow_insecure_endpoint=aws.allow_insecure_endpoint,
    ) as clients:
        slots = FairSlots(width)
        wire = LastCalls(clients)
        exchange = Exchange(wire, slots, tally, clock, RetryPolicy(throttle_cap=0.0))
        home = _home_region(settings, clients.configured_region)
        own = OwnCredentials(aws.profile, clients.http_session)
        accounts = Accounts(settings.accounts, exchange, own, home)
        yield Journey(settings, exchange, accounts, home, memory or Memory(), calls=wire)


class Journey:
    """One sweep, or the plan of one."""

    def __init__(
        self,
        settings: Settings,
        exchange: Exchange,
        accounts: Accounts,
        home: str,
        memory: Memory,
        *,
        calls: LastCalls,
    ) -> None:
        self._settings = settings
        self._exchange = exchange
        self._tally = exchange.tally
        self._accounts = accounts
        self._home = home
        self._memory = memory
        self._calls = calls
        self._sizes = PageSizes(settings.findings.page_size)
        self._listed = self._matched = 0  # targets whose pipelines are known; pipelines chosen

    def finish_within(self, seconds: float) -> None:
        """Let calls under way finish for so many seconds, though all else is cancelled."""
        self._calls.finish_within(seconds)

    async def sweep(self, sink: Sink, quarantine: Quarantine) -> None:
        """Read every target into the sink, and set pages that cannot be understood aside.

        What happens to a target is an outcome in the tally. Raises:
            StartError, SettingsError: nothing could begin.
            OutputError: the sink failed, and the sweep stopped.
        """

        async def read(channel: Channel, target: Target) -> None:
            standing = sink.standing(target)
            if standing is not None and standing.complete:
                for cursor in standing.cursors.values():
                    self._tally.read(target, cursor.severities, pages=cursor.pages)
                return
            queries = await self._queries(channel, target)
            chosen = self._settings.findings
            reader = TargetReader(
                channel, self._sizes, sink, self._tally, chosen, quarantine=quarantine
            )
            await reader.read(target, queries)

        await self._visit_targets(read)

    async def plan(self) -> dict[Target, tuple[Query, ...]]:
        """Return the queries of every target, without reading a finding."""
        plans: dict[Target, tuple[Query, ...]] = {}

        async def note(channel: Channel, target: Target) -> None:
            plans[target] = await self._queries(channel, target)

        await self._visit_targets(note)
        return plans

    async def _visit_targets(self, do: Callable[[Channel, Target], Awaitable[None]]) -> None:
        width = self._settings.limits.max_concurrency
        caller = await self._accounts.caller()
        accounts = await self._accounts.choose(caller)
        if not any(account.active for account in accounts):
            _log.warning("there is nothing to sweep: no active account is chosen")
        found, waiting = anyio.create_memory_object_stream[Visit](width)
        async with plain_errors(), anyio.create_task_group() as group:
            group.start_soon(self._discover, accounts, caller, found)
            for _ in range(width):
                group.start_soon(self._work, waiting.clone(), do)
            waiting.close()
        globs = self._settings.findings.pipelines
        if self._listed and not self._matched:
            _log.warning("no pipeline matches %s, in any target", " or ".join(globs))

    async def _discover(
        self,
        accounts: Sequence[Account],
        caller: Caller,
        found: MemoryObjectSendStream[Visit],
    ) -> None:
        # What was large the last time comes first, so that it is not waited for at the end.
        largest = self._memory.largest()
        order = sorted(accounts, key=lambda one: -largest.get(one.id, 0.0))
        async with found:
            await each(order, _ACCOUNTS_AT_ONCE, lambda one: self._enter(one, caller, found))
        self._tally.discovering = False

    async def _enter(
        self, account: Account, caller: Caller, found: MemoryObjectSendStream[Visit]
    ) -> None:
        if not account.active:
            self._tally.end(Outcome(account.id, None, "skipped", "accounts", "NotActive"))
            return
        if not is_account(account.id):
            self._tally.end(_no_name(account.id, None, "an account's id"))
            return
        credentials = self._accounts.credentials(account, caller)
        stage: Stage = "credentials"
        try:
            await credentials.current()
            stage = "regions"
            ec2 = self._exchange.channel("ec2", self._home, credentials, account=account.id)
            regions = await choose_regions(self._settings.regions, self._home, ec2)
        except HarvesterError as error:
            code, message = code_of(error), message_of(error)
            self._tally.end(Outcome(account.id, None, "failed", stage, code, message))
            return
        for region in regions:
            if not is_region(region):
                self._tally.end(_no_name(account.id, region, "a region's name"))
        targets = [Target(account.id, region) for region in regions if is_region(region)]
        targets.sort(key=lambda one: -self._memory.size(one))
        for target in targets:
            self._tally.found(target)
        for target in targets:
            await found.send(Visit(target, credentials))

    async def _work(
        self,
        waiting: MemoryObjectReceiveStream[Visit],
        do: Callable[[Channel, Target], Awaitable[None]],
    ) -> None:
        async with waiting:
            async for visit in waiting:
                await self._visit(visit, do)

    async def _visit(self, visit: Visit, do: Callable[[Channel, Target], Awaitable[None]]) -> None:
        target = visit.target
        channel = self._exchange.channel(
            "imagebuilder",
            target.region,
            visit.credentials,
            account=target.account,
            max_rate=self._settings.limits.max_rate,
            start=self._memory.recall(target),
        )
        failure: HarvesterError | None = None
        self._tally.begun(target)
        try:
            await do(channel, target)
        except OutputError:
            raise  # not this target's fault: no target can go on
        except HarvesterError as error:
            failure = error
        except Exception as error:  # noqa: BLE001  # see the comment
            # A defect of ours, and still no reason to give up the other targets.
            _log.exception("%s: a defect of harvester, please report it", target)
            failure = HarvesterError(f"a defect of harvester: {type(error).__name__}")
        self._memory.learn(target, channel.pacer.learned)
        self._memory.note_size(target, self._tally.open[target].pages)
        self._tally.finish(target, failure)

    async def _queries(self, channel: Channel, target: Target) -> tuple[Query, ...]:
        chosen = self._settings.findings
        pipelines = None
        if chosen.pipelines:
            found = await list_pipelines(channel)
            pipelines = match_pipelines(chosen.pipelines, found)
            self._listed += 1
            self._matched += len(pipelines)
        return plan_queries(target, chosen.filters, pipelines)


def _home_region(settings: Settings, configured: str | None) -> str:
    """Return the region whose STS and EC2 are asked, and that is swept where none is given."""
    given = next((name for name in settings.regions.include if name != "all"), None)
    if configured or given:
        return configured or given or ""
    if settings.regions.include:
        return "us-east-1"
    raise SettingsError(
        "regions.include: no region is given, and none is configured for the SDK: "
        "use --region NAME, --region all, or set AWS_REGION"
    )


def _no_name(account: str, region: str | None, what: str) -> Outcome:
    """Return the outcome of what is called as nothing is: no host or path is made of that."""
    return Outcome(
        printable(account, 80),
        None if region is None else printable(region, 80),
        "failed",
        "accounts" if region is None else "regions",
        "DamagedAnswer",
        f"the service's answer does not hold {what} here",
    )
