"""Where findings go: the interface of all destinations, and what streams have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Protocol, Self

from harvester.model import Page, Query, Standing, Target
from harvester.output.ages import Ages
from harvester.output.results import Published, Results
from harvester.output.resume import Resumed


class TargetSink(Protocol):
    """What the reading of a target needs of a destination. Its errors are `OutputError`s.

    Attributes:
        withdraws: whether what was written can be withdrawn, until it is published.
    """

    withdraws: bool

    def standing(self, target: Target) -> Standing | None:
        """Return where an earlier run left a target, None where it has to be read anew."""
        ...

    def begin(self, target: Target, queries: Sequence[Query], expected: int | None) -> None:
        """Note by which queries a target is read from now on, and what a cut should hold."""
        ...

    async def write(self, query: Query, page: Page) -> None:
        """Take a page of what belongs to the query; returns when there is room for more.

        The page's next token is where the query stands from then on.
        """
        ...

    async def replace(self, queries: Sequence[Query], by: Query) -> None:
        """Withdraw what was written for some queries: `by` reads all of it (again)."""
        ...

    async def finished(self, target: Target) -> None:
        """Note that no more of a target will come."""
        ...


class Sink(TargetSink, Protocol):
    """A destination; an async context manager. All of its errors are `OutputError`s.

    Attributes:
        published: what the output became, once everything has appeared, for good.
        ages: when targets were last read, if the run before did not finish.
    """

    published: Published | None
    ages: Ages

    @property
    def resumed(self) -> Resumed | None:
        """The unfinished sweep that this one resumes, None where it began by itself."""
        ...

    @property
    def resumable(self) -> bool:
        """Whether the same command will find something to resume."""
        ...

    async def __aenter__(self) -> Self:
        """Take hold of the destination, before anything is read."""
        ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of it; what was not published does not appear."""
        ...

    def found(self, target: Target) -> None:
        """Note that a target is to be read."""
        ...

    async def save_regularly(self) -> None:
        """Make durable what was read, every second, until cancelled: also while nothing comes."""
        ...

    async def publish(self, results: Results) -> Published:
        """Make everything appear that may replace what an earlier sweep left."""
        ...

    def stale(self, results: Results) -> Collection[Target | str]:
        """Return targets, and accounts, that were not read and whose older findings stand."""
        ...

    def discard(self) -> None:
        """Let go of what was read: the output is left as it is, and nothing is to resume."""
        ...

    def finish_within(self, seconds: float) -> None:
        """Let pages be taken to their end for so long, although the run is about to be stopped."""
        ...


class StreamSink(ABC):
    """The base of destinations that pass pages on at once, and cannot withdraw them.

    The hashes of a target's lines are kept (8 bytes each) until it is finished. When a query
    is read again, or others in its place, lines that were passed on already are recognized,
    in whatever order they come, and not passed on twice. A finding that changed meanwhile is
    another line, and so it is passed on: nothing is lost.
    """

    withdraws = False
    published: Published | None = None
    ages = Ages()
    resumed: Resumed | None = None
    resumable = False

    def __init__(self) -> None:
        self._sent: dict[Query, array[int]] = {}
        self._again: dict[Query, Counter[int]] = {}

    async def __aenter__(self) -> Self:
        """Nothing to take hold of."""
        return self

    async def __aexit__(  # noqa: B027  # a stream's own answer, not one that is missing
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to let go of."""

    def standing(self, target: Target) -> Standing | None:  # noqa: ARG002  # a protocol's method
        """Return None: what was passed on cannot be gone on with."""
        return None

    def begin(  # noqa: B027  # likewise
        self, target: Target, queries: Sequence[Query], expected: int | None
    ) -> None:
        """Nothing to note."""

    async def write(self, query: Query, page: Page) -> None:
        """Pass on those findings of a page that were not passed on before."""
        lines = page.lines
        again = self._again.get(query)
        if again is not None:
            lines = [line for line in lines if not _take(again, hash(line))]
        self._sent.setdefault(query, array("q")).extend(map(hash, lines))
        if lines:
            await self.send(lines)

    @abstractmethod
    async def send(self, lines: list[bytes]) -> None:
        """Pass on lines."""

    async def replace(self, queries: Sequence[Query], by: Query) -> None:
        """Remember what was passed on for the queries, so that `by` does not repeat it."""
        sent = array("q")
        for query in queries:
            sent.extend(self._sent.pop(query, ()))
            self._again.pop(query, None)
        self._sent[by] = sent
        self._again[by] = Counter(sent)

    async def finished(self, target: Target) -> None:
        """Forget a target."""
        for query in [query for query in self._sent if query.target == target]:
            del self._sent[query]
            self._again.pop(query, None)

    def found(self, target: Target) -> None:  # noqa: B027  # likewise
        """Nothing to note."""

    async def publish(self, results: Results) -> Published:  # noqa: ARG002  # likewise
        """Nothing to do: everything was passed on when it came."""
        self.published = Published()
        return self.published

    def stale(self, results: Results) -> Collection[Target | str]:  # noqa: ARG002  # likewise
        """Return nothing: a stream holds no older findings."""
        return ()

    def discard(self) -> None:  # noqa: B027  # likewise
        """Nothing to let go of."""

    async def save_regularly(self) -> None:  # noqa: B027  # likewise
        """Nothing to do: a stream keeps nothing."""

    def finish_within(self, seconds: float) -> None:  # noqa: B027  # likewise
        """Nothing to do: what a caller has not taken yet is not wanted any more."""


def _take(bag: Counter[int], item: int) -> bool:
    """Take an item out of a bag; return whether it was there."""
    if bag[item] <= 0:
        return False
    bag[item] -= 1
    return True
