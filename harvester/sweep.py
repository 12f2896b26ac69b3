"""The journey: accounts, regions and pipelines to targets, to queries, to pages, to the output."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
from aiobotocore.session import AioSession
from anyio.streams.memory import MemoryObjectSendStream

from harvester.aws.entry import Entry, enter
from harvester.aws.regions import choose_regions
from harvester.clock import Clock
from harvester.concurrency import plain_errors
from harvester.errors import HarvesterError
from harvester.events import (
    AccountsChosen,
    CallerIdentified,
    DiscoveryFinished,
    Event,
    Listener,
    PageRead,
    RateLearned,
    RegionsChosen,
    TargetFinished,
    TargetFound,
    TargetResumed,
    TargetStarted,
    Warned,
)
from harvester.matches import Matches
from harvester.memory import Memory
from harvester.model import Account, Caller, Outcome, Query, Stage, Standing, Target
from harvester.names import is_account, is_region
from harvester.output.ages import Ages
from harvester.output.quarantine import Quarantine
from harvester.output.sink import Sink
from harvester.paging.channel import Channel, Exchange
from harvester.paging.seats import each_seated
from harvester.reading_order import ReadingOrder
from harvester.settings import Settings, unusual_severities
from harvester.settings.filters import KNOWN_SEVERITIES
from harvester.shares import shares
from harvester.stopping import LastCalls
from harvester.tally import Tally, code_of, message_of
from harvester.text import printable
from harvester.visit import Ended, Visit, Visitor, open_clients

if TYPE_CHECKING:
    from harvester.processes.crew import Crew

_ACCOUNTS_AT_ONCE = 16
_log = logging.getLogger("harvester")


@asynccontextmanager
async def open_journey(
    settings: Settings,
    tally: Tally,
    clock: Clock,
    memory: Memory | None = None,
    *,
    emit: Listener | None = None,
    session: AioSession | None = None,
) -> AsyncIterator[Journey]:
    """Yield a journey whose clients are closed when the block ends.

    `emit` takes the events of the sweep, and hands them to `tally` too; None is `tally` alone.
    The caller's credentials are those of a `session`, or else those of the SDK's own chain.

    Raises:
        SettingsError: an endpoint is not allowed, or the CA bundle cannot be used; a region
            does not exist; no region is given, and the SDK has none configured.
        StartError: this process may have too few files open.
    """
    width = shares(settings)[0]
    async with open_clients(settings.aws, width, emit or tally, clock) as (
        clients,
        calls,
        exchange,
    ):
        if session is not None:
            clients.session.use_region_of(session)
        entry = await enter(settings, clients, exchange, session)
        memory = memory or Memory()
        memory.keep_to(clients.endpoints.get("imagebuilder"))
        yield Journey(settings, exchange, entry, memory, calls=calls, tally=tally)


class Journey:
    """One sweep, or the plan of one."""

    def __init__(
        self,
        settings: Settings,
        exchange: Exchange,
        entry: Entry,
        memory: Memory,
        *,
        calls: LastCalls,
        tally: Tally,
    ) -> None:
        self._settings = settings
        self._exchange = exchange
        self._emit = exchange.emit
        self._tally = tally
        self._entry = entry
        self._accounts = entry.accounts
        self._memory = memory
        self._calls = calls
        self._crew: Crew | None = None
        self._visitor = Visitor(exchange, settings.findings, settings.limits.max_rate)
        self._told_not_compared = False
        self._matches = Matches(settings)
        self._sink: Sink | None = None
        self._ages = Ages()

    def finish_within(self, seconds: float) -> None:
        """Let calls under way finish for so many seconds, though all else is cancelled."""
        self._calls.finish_within(seconds)
        if self._crew is not None:
            self._crew.finish_within(seconds)

    @property
    def regions(self) -> frozenset[str] | None:
        """The regions that are selected by name, None for all regions of each account."""
        names = self._settings.regions.include or (self._entry.home.default,)
        return None if "all" in names else frozenset(names)

    async def sweep(self, sink: Sink, quarantine: Quarantine) -> None:
        """Read every target into the sink, and set pages that cannot be understood aside.

        If the run before did not finish, targets that have waited longest are read first.

        What happens to a target is an outcome in the tally. Raises:
            StartError, SettingsError: nothing could begin.
            OutputError: the sink failed, and the sweep stopped.
        """
        self._sink, self._ages = sink, sink.ages
        async with self._readers(sink, quarantine) as read_target:

            async def read(visit: Visit) -> Ended:
                standing = sink.standing(visit.target)
                if standing is not None and (standing.complete or standing.cursors):
                    self._emit(_resumed(visit.target, standing))
                if standing is None or not standing.complete:
                    return await read_target(visit)
                self._name_not_compared()
                if not any(cursor.pages for cursor in standing.cursors.values()):
                    self._matches.list(())  # read without a query: no pipeline matched
                for cursor in standing.cursors.values():
                    if cursor.pages:
                        self._matches.resume()
                    self._emit(
                        PageRead(
                            target=visit.target,
                            severities=cursor.severities,
                            pages=cursor.pages,
                            resumed=True,
                        )
                    )
                return Ended()

            await self._visit_targets(read)

    async def plan(self) -> dict[Target, tuple[Query, ...]]:
        """Return the queries of every target, without reading a finding."""
        plans: dict[Target, tuple[Query, ...]] = {}

        async def note(visit: Visit) -> Ended:
            async def keep(_: Channel, queries: tuple[Query, ...]) -> None:
                plans[visit.target] = queries

            return await self._visitor.visit(visit, keep)

        await self._visit_targets(note)
        return plans

    @asynccontextmanager
    async def _readers(
        self, sink: Sink, quarantine: Quarantine
    ) -> AsyncIterator[Callable[[Visit], Awaitable[Ended]]]:
        """Yield what reads a target into the sink: this process, or one of several."""
        _, *others = shares(self._settings)
        if not others:
            yield lambda visit: self._visitor.read(visit, sink, quarantine)
            return
        # Imported here: one process needs none of it.
        from harvester.processes.crew import open_crew  # noqa: PLC0415
        from harvester.processes.reading import Place  # noqa: PLC0415

        findings = self._settings.findings
        filtered = bool(findings.filters or findings.pipelines)
        place = Place(sink, quarantine, self._emit, filtered)
        async with open_crew(
            self._settings, others, place, self._visitor, self._exchange.clock
        ) as crew:
            self._crew = crew
            yield crew.read

    async def _visit_targets(self, do: Callable[[Visit], Awaitable[Ended]]) -> None:
        width = self._settings.limits.max_concurrency
        caller = await self._entry.caller()
        self._emit(CallerIdentified(account=caller.account, arn=caller.arn))
        chosen = await self._accounts.choose(caller)
        accounts = chosen.accounts
        self._matches.choose(chosen)
        named = {account.id: account.name for account in accounts if account.name}
        ids = tuple(account.id for account in accounts)
        self._emit(AccountsChosen(accounts=ids, account_names=named))
        for severity in unusual_severities(self._settings):
            known = ", ".join(KNOWN_SEVERITIES)
            message = f"unknown severity {severity}; documented: {known}"
            self._emit(Warned(code="UnknownSeverity", message=message))
        self._emit_all(self._matches.of_accounts())
        found, waiting = anyio.create_memory_object_stream[Visit](width)
        async with plain_errors(), anyio.create_task_group() as group:
            if self._ages.read_at:
                unordered = anyio.create_memory_object_stream[Visit](math.inf)
                group.start_soon(ReadingOrder(self._ages).take, unordered[1], found)
                found = unordered[0]
            group.start_soon(self._discover, accounts, caller, found)
            async with waiting:
                await each_seated(waiting, width, lambda visit: self._visit(visit, do))
        self._emit_all(self._matches.of_targets(self._entry.partitions))
        read = None if self._sink is None else self._tally.findings
        if (nothing := self._matches.nothing(read)) is not None:
            self._emit(nothing)

    def _name_not_compared(self) -> None:
        """Warn, once, that a strict verification leaves out targets that an earlier run read."""
        if self._settings.findings.verify and not self._told_not_compared:
            self._told_not_compared = True
            message = (
                "--verify: targets that the interrupted run had completed are not compared again: "
                "use --fresh to read them again"
            )
            self._emit(Warned(code="NotVerifiable", message=message))

    def _emit_all(self, found: Iterable[Event]) -> None:
        for event in found:
            self._emit(event)

    async def _discover(
        self,
        accounts: Sequence[Account],
        caller: Caller,
        found: MemoryObjectSendStream[Visit],
    ) -> None:
        # Largest accounts of the previous run first, so they don't finish last; before that,
        # those that have waited longest, if the previous run did not finish.
        largest, ages = self._memory.largest(), self._ages
        order = sorted(accounts, key=lambda one: (ages.of_account(one.id), -largest.get(one.id, 0)))

        async def later() -> AsyncIterator[tuple[Account, int]]:
            for place, account in enumerate(order, 1):
                yield account, len(order) - place

        async with found:
            await each_seated(
                later(), _ACCOUNTS_AT_ONCE, lambda one: self._enter(*one, caller, found)
            )
        self._emit(DiscoveryFinished())

    async def _enter(
        self, account: Account, later: int, caller: Caller, found: MemoryObjectSendStream[Visit]
    ) -> None:
        """Find an account's targets; so many accounts come later."""
        if not account.active:
            message = f"the account is {account.state}"
            outcome = Outcome(account.id, None, "skipped", "accounts", "NotActive", message)
            self._end(outcome, account)
            return
        if not is_account(account.id):
            self._end(_no_name(account.id, None, "an account's id"), account)
            return
        credentials = self._accounts.credentials(account, caller)
        stage: Stage = "credentials"
        try:
            await credentials.current()
            stage = "regions"
            home = self._entry.home
            ec2 = self._exchange.channel("ec2", home.region, credentials, account=account.id)
            regions = await choose_regions(self._settings.regions, home.default, ec2)
        except HarvesterError as error:
            code, message = code_of(error), message_of(error)
            self._end(Outcome(account.id, None, "failed", stage, code, message), account)
            return
        self._matches.enter(account, regions)
        for region in regions.names:
            if not is_region(region):
                self._end(_no_name(account.id, region, "a region's name"), account)
        targets = [Target(account.id, region) for region in regions.names if is_region(region)]
        targets.sort(key=lambda one: (self._ages.of(one), -self._memory.size(one)))
        names = tuple(target.region for target in targets)
        self._emit(RegionsChosen(account=account.id, account_name=account.name, regions=names))
        for target in targets:
            self._emit(TargetFound(target=target, account_name=account.name))
            if self._sink is not None:
                self._sink.found(target)
        # A call for each at least. What is known only as the sweep goes on does not count: the
        # same sweep is to make the same cuts, whatever its timing is.
        rest = (later + 1) * len(targets) / self._settings.limits.max_concurrency
        for target in targets:
            learned, pages = self._memory.recall(target), self._memory.size(target)
            doubted = self._memory.doubts_counts(target)
            await found.send(Visit(target, credentials, learned, pages, rest, doubted))

    def _end(self, outcome: Outcome, account: Account) -> None:
        self._emit(TargetFinished(outcome=replace(outcome, account_name=account.name)))

    async def _visit(self, visit: Visit, do: Callable[[Visit], Awaitable[Ended]]) -> None:
        target = visit.target
        self._emit(TargetStarted(target=target))
        ended = await do(visit)
        self._memory.learn(target, ended.learned)
        if (learned := ended.learned) is not None:
            self._emit(RateLearned(target=target, rate=learned.rate, burst=learned.burst))
        if ended.error is None:  # what broke off says nothing about sizes and counts
            self._memory.note_size(target, self._tally.open[target].pages)
            self._memory.note_counts(target, verified=ended.verified)
        if ended.globs is not None:
            self._matches.list(ended.globs)
        outcome = replace(self._tally.outcome(target, ended.error), verified=ended.verified)
        self._emit(TargetFinished(outcome=outcome))


def _resumed(target: Target, standing: Standing) -> TargetResumed:
    cursors = standing.cursors.values()
    return TargetResumed(
        target=target,
        complete=standing.complete,
        pages=sum(cursor.pages for cursor in cursors),
        findings=sum(sum(cursor.severities.values()) for cursor in cursors),
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
