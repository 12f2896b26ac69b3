"""A process that reads: it does what the first process says, over the socket that is its stdin."""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import signal
import socket
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import anyio
from anyio.abc import TaskGroup

from harvester.clock import Clock
from harvester.errors import DamagedAnswerError, HarvesterError
from harvester.events import TargetWaiting
from harvester.output.quarantine import Quarantine
from harvester.paging.seats import seated
from harvester.processes.keys import Borrower
from harvester.processes.link import Link
from harvester.processes.logs import forward_logs
from harvester.processes.messages import (
    Failure,
    Grant,
    Happened,
    Order,
    Over,
    Setup,
    Stop,
    Wish,
)
from harvester.processes.passing import PassingSink, PassingTally, Reporter
from harvester.processes.program import link_of
from harvester.visit import Visit, Visitor, open_clients

_PARTING_SECONDS = 1
_REPORT_SECONDS = 0.5

_log = logging.getLogger("harvester")


def main() -> None:
    """Read what is ordered until the first process says no more, or is no more."""
    # To stop is for the first process, and for this one when that is gone.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Not the place of a closed stderr: what is written there must not go to the first process.
    end = socket.socket(fileno=fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    gc.set_threshold(50_000, 50, 100)  # for the reason given in harvester.commands
    code = anyio.run(_serve, end)
    os._exit(code)  # nothing is open any more, and to take the interpreter apart takes a while


async def _serve(end: socket.socket) -> int:
    link = link_of(end)
    code = 0
    async with anyio.create_task_group() as group:
        group.start_soon(link.carry)
        if batch := await link.receive():
            setup, _ = batch.pop(0)
            try:
                await _work(link, setup, batch)
            except Exception:  # noqa: BLE001  # see the comment
                # Said as all that is logged, whole lines without secrets: no bare traceback.
                forward_logs(setup.levels, link.post)
                _log.exception(
                    "a defect of harvester, please report it", extra={"event": "internal_error"}
                )
                code = 1
            await link.flush()
        group.cancel_scope.cancel()
    return code


async def _work(link: Link, setup: Setup, batch: list[tuple[Any, bytes]]) -> None:
    clock = Clock()
    tally = PassingTally(clock.now)
    tally.link = link
    logging.getLogger().addHandler(logging.NullHandler())
    async with open_clients(setup.aws, setup.concurrency, tally, clock) as (_, calls, exchange):
        # Not before: what the settings are warned of, the first process has said.
        forward_logs(setup.levels, link.post)
        visitor = Visitor(exchange, setup.findings, setup.max_rate)
        worker = Worker(link, visitor, Reporter(link, tally), clock, withdraws=setup.withdraws)
        async with anyio.create_task_group() as group:
            group.start_soon(worker.report)
            grace = await worker.work(batch, group)
            # Whatever should hang from now on, the kernel ends.
            signal.alarm(ceil(grace) + _PARTING_SECONDS)
            calls.finish_within(grace)
            group.cancel_scope.cancel()
        worker.reporter.report()


class Worker:
    """Visits targets, and borrows the keys for them."""

    def __init__(
        self, link: Link, visitor: Visitor, reporter: Reporter, clock: Clock, *, withdraws: bool
    ) -> None:
        self.reporter = reporter
        self._link = link
        self._visitor = visitor
        self._clock = clock
        self._withdraws = withdraws
        self._borrowers: dict[str, Borrower] = {}
        self._wishes: dict[str, _Answer] = {}

    async def work(self, batch: list[tuple[Any, bytes]], group: TaskGroup) -> float:
        """Do what the first process says until it says no more; `batch` is what it said already.

        Returns the seconds that it leaves for calls under way.
        """
        try:
            while True:
                for message, _ in batch:
                    match message:
                        case Order():
                            group.start_soon(self._visit, message)
                        case Grant():
                            self._receive(message)
                        case Stop():
                            return message.seconds
                batch = await self._link.receive()
                if not batch:  # it is gone
                    return 0.0
        finally:
            # However it ended: what is free in the ring is not heard of from now on.
            self._link.hear_no_more()

    async def report(self) -> None:
        """Say now and then how many calls were made, also where no page comes of them."""
        while True:
            await self._clock.sleep(_REPORT_SECONDS)
            if self._link.idle:
                self.reporter.beat()

    async def _visit(self, order: Order) -> None:
        keys = self._keys(order.target.account)
        visit = Visit(order.target, keys, order.learned, rest=order.rest, doubted=order.doubted)
        sink = PassingSink(
            self._link, self.reporter, withdraws=self._withdraws, standing=order.standing
        )
        # The first process sets damaged bodies aside, and has the target's seat.
        waiting = Happened(TargetWaiting(target=order.target))
        with seated(lambda: self._link.post(waiting)):
            ended = await self._visitor.read(visit, sink, Quarantine(None))
        self.reporter.report()
        error = ended.error
        failure = Failure.of(error) if error is not None else None
        over = Over(order.target, failure, ended.learned, ended.globs, ended.verified)
        self._link.post(over, _damaged_page(error) or b"")

    def _receive(self, grant: Grant) -> None:
        # None where whoever asked was cancelled, and another's wish was answered by it.
        if (answer := self._wishes.pop(grant.account, None)) is not None:
            answer.grant = grant
            answer.given.set()

    def _keys(self, account: str) -> Borrower:
        keys = self._borrowers.get(account)
        if keys is None:
            keys = self._borrowers[account] = Borrower(account, self._ask, self._clock.now)
        return keys

    async def _ask(self, wish: Wish) -> Grant:
        answer = self._wishes[wish.account] = _Answer()
        self._link.post(wish)
        await answer.given.wait()
        return answer.grant


@dataclass(slots=True)
class _Answer:
    """What a wish waits for."""

    given: anyio.Event = field(default_factory=anyio.Event)
    grant: Grant = field(init=False)


def _damaged_page(error: HarvesterError | None) -> bytes | None:
    if isinstance(error, DamagedAnswerError) and error.operation == "ListImageScanFindings":
        return error.body
    return None
