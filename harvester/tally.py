"""What a sweep has done so far: counts for the progress display and the summary."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harvester import events
from harvester.errors import CredentialsError, DamagedAnswerError, HarvesterError, ServiceError
from harvester.model import Outcome, Stage, Status, Target

SLOWEST = 5
"""How many of the slowest targets are remembered."""


@dataclass(slots=True)
class Reading:
    """A target that is not finished: when it began (None: not yet), and the pages so far.

    `expected` is the service's own count of its findings, None where nobody asked for it.
    """

    account_name: str | None = None
    begun: float | None = None
    findings: int = 0
    pages: int = 0
    expected: int | None = None


@dataclass(slots=True)
class Tally:
    """The counts of one sweep: a listener of its events.

    Attributes:
        findings: findings handed to the output.
        pages: answers to ListImageScanFindings that were used.
        requests: calls sent to AWS, repeated ones included.
        throttled: calls that AWS answered with a throttle.
        retries: calls repeated after a throttle, a fault or a renewal of credentials.
        severities: findings by their `severity`, "" for those without one.
        ended: targets that ended, by status.
        problems: the outcomes of targets that are incomplete or failed.
        skipped: the outcomes of accounts that are not swept.
        warnings: what the user should know beside.
        nothing: why nothing is selected, None where something is.
        kept_findings: findings of an earlier run that a single file still holds.
        complete: the targets that were read to their end.
        open: targets found and not ended yet.
        stale: those of them whose older findings stand.
        slowest: the slowest of the ended targets, the slowest first.
        entering: the names of accounts whose regions are not known yet, by id.
        discovering: whether more targets may still be found.
        names: the names of accounts by their ids, as far as the organization told them.
    """

    now: Callable[[], float]
    findings: int = 0
    pages: int = 0
    requests: int = 0
    throttled: int = 0
    retries: int = 0
    severities: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    problems: list[Outcome] = field(default_factory=list)
    skipped: list[Outcome] = field(default_factory=list)
    warnings: list[events.Warned] = field(default_factory=list)
    resumed: events.SweepResumed | None = None
    nothing: events.NothingSelected | None = None
    kept_findings: int = 0
    complete: set[Target] = field(default_factory=set)
    open: dict[Target, Reading] = field(default_factory=dict)
    stale: set[Target] = field(default_factory=set)
    entering: dict[str, str | None] = field(default_factory=dict)
    discovering: bool = True
    names: dict[str, str] = field(default_factory=dict)
    _slowest: list[tuple[float, int, Outcome]] = field(default_factory=list)
    _problem_index: dict[tuple[str, str | None], int] = field(default_factory=dict)

    def __call__(self, event: events.Event) -> None:
        """Count an event."""
        count = _COUNTS.get(type(event))
        if count is not None:
            count(self, event)

    @property
    def total(self) -> int:
        """Targets found so far; an account that ended before its regions were read is one."""
        return self.ended.total() + len(self.open)

    @property
    def slowest(self) -> list[Outcome]:
        """The slowest targets, the slowest first."""
        return [outcome for _, _, outcome in sorted(self._slowest, reverse=True)]

    def found(self, target: Target, account_name: str | None = None) -> None:
        """Note a target that is to be read."""
        self.open[target] = Reading(account_name)

    def split(self, event: events.TargetSplit) -> None:
        """Note how many findings a target that is split has."""
        if event.target in self.open:
            self.open[event.target].expected = event.expected

    def begun(self, target: Target) -> None:
        """Note that the reading of a target begins."""
        self.open[target].begun = self.now()

    def read(self, target: Target, severities: Mapping[str, int], *, pages: int = 1) -> None:
        """Note a page and the severities of its findings that go to the output.

        More than one page where an earlier run, which this one goes on with, has read them.
        """
        findings = sum(severities.values())
        self.pages += pages
        self.findings += findings
        self.severities.update(severities)
        reading = self.open[target]
        reading.pages += pages
        reading.findings += findings

    def take_back(self, target: Target, severities: Mapping[str, int]) -> None:
        """Note that findings written for a query are withdrawn, since it starts over."""
        findings = sum(severities.values())
        self.findings -= findings
        self.severities.subtract(severities)
        self.open[target].findings -= findings

    def requested(self, *, requests: int = 0, throttled: int = 0, retries: int = 0) -> None:
        """Note requests that were sent, throttled, or sent again."""
        self.requests += requests
        self.throttled += throttled
        self.retries += retries

    def choose(self, accounts: Sequence[str], names: Mapping[str, str]) -> None:
        """Note the accounts of the sweep."""
        self.names.update(names)
        self.entering = {account: names.get(account) for account in accounts}

    def enter(self, account: str) -> None:
        """Note that the regions of an account are known."""
        self.entering.pop(account, None)

    def discovered(self) -> None:
        """Note that no further target will be found."""
        self.discovering = False

    def resume(self, event: events.SweepResumed) -> None:
        """Note that the run continues an earlier one."""
        self.resumed = event

    def finish(self, target: Target, error: HarvesterError | None) -> None:
        """Note that the reading of a target ended, by `error` or else complete."""
        self.end(self.outcome(target, error))

    def outcome(self, target: Target, error: HarvesterError | None) -> Outcome:
        """Return how the reading of an open target ended: by `error`, or else complete."""
        reading = self.open[target]
        # A page that came and cannot be understood came all the same.
        came = isinstance(error, DamagedAnswerError) and _stage_of(error) == "findings"
        broken: Status = "incomplete" if reading.pages or came else "failed"
        return Outcome(
            target.account,
            target.region,
            "complete" if error is None else broken,
            _stage_of(error),
            code=code_of(error),
            message=message_of(error),
            findings=reading.findings,
            pages=reading.pages,
            seconds=self.now() - reading.begun if reading.begun is not None else 0.0,
            account_name=reading.account_name,
        )

    def select_nothing(self, event: events.NothingSelected) -> None:
        """Note that the selection matches nothing."""
        self.nothing = event

    def keep_older(self, account: str, region: str | None) -> None:
        """Note that the older findings of a target that is not complete stand."""
        index = self._problem_index.get((account, region))
        if index is None:
            self.stale.add(Target(account, region or ""))
            return
        outcome = self.problems[index]
        self.ended[outcome.status] -= 1
        self.ended["stale"] += 1
        self.problems[index] = replace(outcome, status="stale")

    def set_aside(self, target: Target, path: str, severities: Mapping[str, int]) -> None:
        """Note that the findings of an incomplete target are not in the output."""
        count = sum(severities.values())
        self.findings -= count
        self.severities.subtract(severities)
        index = self._problem_index[target.account, target.region]
        outcome = self.problems[index]
        message = f"{outcome.message}; the {count:,} findings of this run are in {path}"
        self.problems[index] = replace(outcome, message=message)

    def publish(self, event: events.OutputPublished) -> None:
        """Note what became of the output."""
        self.kept_findings = event.kept_findings

    def end(self, outcome: Outcome) -> None:
        """Note an outcome."""
        self.ended[outcome.status] += 1
        if outcome.region is None:
            self.entering.pop(outcome.account, None)
        if outcome.region is not None:
            target = Target(outcome.account, outcome.region)
            self.open.pop(target, None)
            if outcome.status == "complete":
                self.complete.add(target)
        if outcome.status == "skipped":
            self.skipped.append(outcome)
        elif outcome.status != "complete":
            self._problem_index[outcome.account, outcome.region] = len(self.problems)
            self.problems.append(outcome)
        heapq.heappush(self._slowest, (outcome.seconds, self.ended.total(), outcome))
        if len(self._slowest) > SLOWEST:
            heapq.heappop(self._slowest)


_STAGES: dict[str, Stage] = {"AssumeRole": "credentials", "ListImagePipelines": "pipelines"}


def _stage_of(error: HarvesterError | None) -> Stage:
    if isinstance(error, CredentialsError):
        return "credentials"
    if isinstance(error, ServiceError):
        return _STAGES.get(error.operation, "findings")
    return "findings"


def code_of(error: HarvesterError | None) -> str:
    """Return an error's code: the service's own, or the kind of ours."""
    if isinstance(error, ServiceError):
        return error.code
    return type(error).__name__ if error is not None else ""


def message_of(error: HarvesterError | None) -> str:
    """Return an error's own words, without what the outcome says anyway."""
    if isinstance(error, ServiceError):
        return error.message
    return str(error) if error is not None else ""


_COUNTS: dict[type[events.Event], Callable[[Tally, Any], None]] = {
    events.TargetFound: lambda counts, event: counts.found(event.target, event.account_name),
    events.TargetStarted: lambda counts, event: counts.begun(event.target),
    events.TargetFinished: lambda counts, event: counts.end(event.outcome),
    events.AccountsChosen: lambda counts, event: counts.choose(event.accounts, event.account_names),
    events.RegionsChosen: lambda counts, event: counts.enter(event.account),
    events.DiscoveryFinished: lambda counts, _: counts.discovered(),
    events.PageRead: lambda counts, event: counts.read(
        event.target, event.severities, pages=event.pages
    ),
    events.FindingsWithdrawn: lambda counts, event: counts.take_back(
        event.target, event.severities
    ),
    events.RequestSent: lambda counts, _: counts.requested(requests=1),
    events.RequestThrottled: lambda counts, _: counts.requested(throttled=1),
    events.RequestRetried: lambda counts, _: counts.requested(retries=1),
    events.RequestsCounted: lambda counts, event: counts.requested(
        requests=event.requests, throttled=event.throttled, retries=event.retries
    ),
    events.TargetSplit: lambda counts, event: counts.split(event),
    events.SweepResumed: lambda counts, event: counts.resume(event),
    events.Warned: lambda counts, event: counts.warnings.append(event),
    events.NothingSelected: lambda counts, event: counts.select_nothing(event),
    events.OlderFindingsKept: lambda counts, event: counts.keep_older(event.account, event.region),
    events.ReadingSetAside: lambda counts, event: counts.set_aside(
        event.target, event.path, event.severities
    ),
    events.OutputPublished: lambda counts, event: counts.publish(event),
}
