"""A target that another process reads: what it says goes to the sink, and is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

from harvester.errors import DamagedAnswerError
from harvester.events import FindingsWithdrawn, Listener, PageRead
from harvester.model import Cursor, Page, Query, Standing, Target
from harvester.output.quarantine import Quarantine
from harvester.output.sink import TargetSink
from harvester.paging.seats import current_leave
from harvester.processes.messages import Begun, Order, Over, Replaced, Wrote
from harvester.visit import Ended, Visit


@dataclass(frozen=True, slots=True)
class PassedPage(Page):
    """A page that another process has looked at: it has counts in place of facets."""

    counts: Counter[str] = field(default_factory=Counter)

    @property
    def severities(self) -> Counter[str]:
        """How many of the findings have each severity, "" for those without one."""
        return self.counts


@dataclass(frozen=True, slots=True)
class Place:
    """Where all that is read goes, and who is told of it.

    `filtered` is whether the sweep has filters: then no target is split.
    """

    sink: TargetSink
    quarantine: Quarantine
    emit: Listener
    filtered: bool = False


class Afresh:
    """A sink in which no target stands anywhere: all of it is to be read."""

    def __init__(self, sink: TargetSink) -> None:
        self.withdraws = sink.withdraws
        self.begin = sink.begin
        self.write = sink.write
        self.replace = sink.replace
        self.finished = sink.finished

    def standing(self, target: Target) -> Standing | None:  # noqa: ARG002  # a protocol's method
        """Return None."""
        return None


class Reading:
    """The reading of one target by another process.

    What the sink takes is counted here, so that the counts are those of what was written.

    Attributes:
        visit: the target, and what is known of it.
        leave_seat: gives up the seat of the task that made this reading.
    """

    def __init__(self, place: Place, visit: Visit) -> None:
        self.visit = visit
        self._target = visit.target
        self._sink = place.sink
        self._quarantine = place.quarantine
        self._emit = place.emit
        self._filtered = place.filtered
        self._standing = place.sink.standing(visit.target)
        # What an earlier run read counts once it is known that it is gone on with.
        self._left = dict(self._standing.cursors) if self._standing else {}
        self._cursors: dict[Query, Cursor] = {}
        self._written: set[Query] = set()
        self._cut = self._finished = False
        self._ended: Ended | None = None
        self._over = anyio.Event()
        self.leave_seat = current_leave()

    def order(self) -> Order:
        """Return what a process is told to do."""
        visit = self.visit
        order = Order(self._target, visit.learned, visit.rest, doubted=visit.doubted)
        return order if self._standing is None else order.going_on(self._standing)

    async def ended(self) -> Ended | None:
        """Wait for the end, and return what it was, None where the process has died."""
        await self._over.wait()
        return self._ended

    def begun(self, message: Begun) -> None:
        """Note by which queries it is read; nothing else counts any more."""
        self._sink.begin(self._target, message.queries, message.expected)
        self._cut = message.expected is not None and not self._filtered
        for query in self._cursors.keys() - set(message.queries):
            self._withdraw(query)
        for query in message.queries:
            self._go_on_with(query)
        self._left.clear()

    async def wrote(self, message: Wrote, text: bytes) -> None:
        """Take a page."""
        query, severities = message.query, Counter(message.severities)
        page = PassedPage(text, [], message.next_token, counts=severities)
        await self._sink.write(query, page)
        self._written.add(query)
        before = self._go_on_with(query)
        after = self._cursors[query] = before.after(page)
        # What a reader held back and then released comes as a page that leads nowhere new.
        moved = (before.token, before.done) != (after.token, after.done)
        self._emit(PageRead(target=self._target, severities=severities, pages=int(moved)))

    async def replaced(self, message: Replaced) -> None:
        """Withdraw what was written for some queries."""
        await self._replace(message.queries, message.by)

    async def finished(self) -> None:
        """Note that it was read whole."""
        await self._sink.finished(self._target)
        self._finished = True

    def over(self, message: Over, body: bytes) -> None:
        """Note how the visit ended, and set aside the body that could not be understood."""
        for query in list(self._left):
            self._go_on_with(query)
        error = message.failure.error() if message.failure else None
        if isinstance(error, DamagedAnswerError) and body:
            error.body = body
            error = self._quarantine.set_aside(self._target, error)
        self._ended = Ended(error, message.learned, message.globs, message.verified)
        self._over.set()

    def lost(self) -> None:
        """Note that the process died."""
        if self._finished:  # it died before it could say so
            self._ended = Ended()
        self._over.set()

    async def withdraw(self) -> bool:
        """Withdraw all that was read, so that it can be read anew.

        Returns whether there was anything; else an earlier run's part can be gone on with.
        """
        if not (self._cursors or self._written):
            return False
        queries = self._written | self._cursors.keys() | self._left.keys()
        whole = Query(self._target)
        if self._cut or whole in queries:
            await self._replace(sorted(queries), whole)
        else:
            for query in sorted(queries):
                await self._replace([query], query)
        return True

    async def _replace(self, queries: Sequence[Query], by: Query) -> None:
        await self._sink.replace(queries, by)
        for query in queries:
            self._go_on_with(query)
            self._withdraw(query)
            self._written.discard(query)
        self._cursors[by] = Cursor()

    def _withdraw(self, query: Query) -> None:
        severities = self._cursors.pop(query).severities
        self._emit(FindingsWithdrawn(target=self._target, severities=severities))

    def _go_on_with(self, query: Query) -> Cursor:
        """Return where a query stands; what an earlier run read of it counts from now on."""
        cursor = self._left.pop(query, None)
        if cursor is not None:
            self._emit(
                PageRead(
                    target=self._target,
                    severities=cursor.severities,
                    pages=cursor.pages,
                    resumed=True,
                )
            )
        return self._cursors.setdefault(query, cursor or Cursor())
