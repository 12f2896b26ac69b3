"""What a process that reads has in place of a sink and a tally: all of it is passed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harvester.events import (
    CallsResumed,
    CallsSuspended,
    Event,
    TargetSplit,
    TargetWaiting,
    Warned,
)
from harvester.model import Page, Query, Standing, Target
from harvester.processes.link import Link
from harvester.processes.messages import Begun, Calls, Finished, Happened, Replaced, Wrote
from harvester.tally import Tally

_PASSED_ON = (TargetSplit, TargetWaiting, CallsSuspended, CallsResumed, Warned)


class PassingTally(Tally):
    """Counts requests; findings are counted where they are written."""

    link: Link | None = None

    def __call__(self, event: Event) -> None:
        """Count an event, or pass it on if only this process can tell of it."""
        if isinstance(event, _PASSED_ON) and self.link is not None:
            self.link.post(Happened(event))
        else:
            super().__call__(event)

    def read(self, target: Target, severities: Mapping[str, int], *, pages: int = 1) -> None:
        """Nothing to do here."""

    def take_back(self, target: Target, severities: Mapping[str, int]) -> None:
        """Nothing to do here."""


class PassingSink:
    """Passes on what is read of one target, with the calls that it took.

    Args:
        withdraws: whether what was written can be withdrawn.
        standing: where an earlier run left the target.
    """

    def __init__(
        self, link: Link, reporter: Reporter, *, withdraws: bool, standing: Standing | None
    ) -> None:
        self.withdraws = withdraws
        self._link = link
        self._reporter = reporter
        self._standing = standing

    def standing(self, target: Target) -> Standing | None:  # noqa: ARG002  # there is one
        """Return where an earlier run left the target."""
        return self._standing

    def begin(self, target: Target, queries: Sequence[Query], expected: int | None) -> None:
        """Pass on by which queries the target is read."""
        self._link.post(Begun(target, tuple(queries), expected))

    async def write(self, query: Query, page: Page) -> None:
        """Pass on a page; returns when there is room for more."""
        self._reporter.report()
        await self._link.post_in_turn(Wrote(query, page.next_token, page.severities), page.text)

    async def replace(self, queries: Sequence[Query], by: Query) -> None:
        """Pass on that what was written is withdrawn."""
        self._link.post(Replaced(tuple(queries), by))

    async def finished(self, target: Target) -> None:
        """Pass on that the target was read whole."""
        self._link.post(Finished(target))


class Reporter:
    """Passes on how many calls were made, where they are more than it said before."""

    def __init__(self, link: Link, tally: Tally) -> None:
        self._link = link
        self._tally = tally
        self._said = Calls()

    def report(self) -> None:
        """Say how many calls there were."""
        if self._calls() != self._said:
            self.beat()

    def beat(self) -> None:
        """Say so though it was said before: who says nothing for long is taken to hang."""
        self._said = self._calls()
        self._link.post(self._said)

    def _calls(self) -> Calls:
        return Calls(self._tally.requests, self._tally.throttled, self._tally.retries)
