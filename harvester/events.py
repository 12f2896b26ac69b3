"""Events of a sweep: frozen values that tell listeners what happened, in the order it happened.

Counters, logs, progress and metrics learn of a sweep through events alone. A listener is a plain
function that takes one event and returns soon: it runs on the sweep's own event loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from harvester.model import Outcome, Target

_log = logging.getLogger("harvester")


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """The base of all events."""

    @property
    def name(self) -> str:
        """The stable name of this kind of event, as logs show it: `page_read`."""
        return str(self.__struct_config__.tag)


class SweepStarted(Event, frozen=True, kw_only=True, tag="sweep_started"):
    """A run began.

    Attributes:
        selection: the settings that decide which findings are read, by dotted key.
        destination: where findings go: a path, or `-` for stdout; empty for an iterator.
        config: the config file in use, None without one.
    """

    run_id: str
    started_at: str
    version: str
    destination: str
    selection: Mapping[str, Any]
    config: str | None = None


class SweepResumed(Event, frozen=True, kw_only=True, tag="sweep_resumed"):
    """The run continues an unfinished one, which began at `began_at`.

    `oldest_read_at` is when the oldest page that is kept was read, of the targets visited so far:
    the event comes again at the end of the run, when all of them are known. ISO 8601 in UTC.
    """

    began_at: str
    oldest_read_at: str | None = None


class CallerIdentified(Event, frozen=True, kw_only=True, tag="caller_identified"):
    """STS told whose credentials are used."""

    account: str
    arn: str


class AccountsChosen(Event, frozen=True, kw_only=True, tag="accounts_chosen"):
    """The accounts to sweep are known, those that are not active included.

    `account_names` holds the organization's names of those whose names it told.
    """

    accounts: tuple[str, ...]
    account_names: Mapping[str, str] = {}


class RegionsChosen(Event, frozen=True, kw_only=True, tag="regions_chosen"):
    """The regions to sweep of one account are known."""

    account: str
    account_name: str | None
    regions: tuple[str, ...]


class DiscoveryFinished(Event, frozen=True, kw_only=True, tag="discovery_finished"):
    """No further target will be found."""


class TargetFound(Event, frozen=True, kw_only=True, tag="target_found"):
    """An account and region is to be read."""

    target: Target
    account_name: str | None = None


class TargetStarted(Event, frozen=True, kw_only=True, tag="target_started"):
    """The reading of a target began."""

    target: Target


class TargetResumed(Event, frozen=True, kw_only=True, tag="target_resumed"):
    """An unfinished run left this much of a target: `complete` targets are not read again."""

    target: Target
    complete: bool
    pages: int
    findings: int


class TargetSplit(Event, frozen=True, kw_only=True, tag="target_split"):
    """A large target is read by several queries.

    Attributes:
        by: the API filters that tell the queries apart.
        queries: how many there are.
        expected: the service's own count of findings.
    """

    target: Target
    by: tuple[str, ...]
    queries: int
    expected: int


class PageRead(Event, frozen=True, kw_only=True, tag="page_read"):
    """A page was handed to the output.

    Attributes:
        severities: findings by their severity, "" for those without one.
        pages: how many pages; 0 where findings that were held back are written after all.
        resumed: an earlier run read them, and this one continues it.
    """

    target: Target
    severities: Mapping[str, int]
    pages: int = 1
    resumed: bool = False


class FindingsWithdrawn(Event, frozen=True, kw_only=True, tag="findings_withdrawn"):
    """Findings of a query that starts over are discarded."""

    target: Target
    severities: Mapping[str, int]


class RequestSent(Event, frozen=True, kw_only=True, tag="request_sent"):
    """A request was sent to AWS, for the first time or again."""

    service: str
    operation: str
    account: str | None
    region: str


class RequestThrottled(Event, frozen=True, kw_only=True, tag="request_throttled"):
    """AWS answered a request with a throttle."""

    service: str
    operation: str
    account: str | None
    region: str
    code: str


class RequestRetried(Event, frozen=True, kw_only=True, tag="request_retried"):
    """A request that failed with `code` will be sent again."""

    service: str
    operation: str
    account: str | None
    region: str
    code: str


class CallsSuspended(Event, frozen=True, kw_only=True, tag="calls_suspended"):
    """Every request for a region, or for an account, fails: its targets wait.

    Attributes:
        message: one sentence.
        code: the last error.
        account: the account, None where a region is concerned.
        region: the region, None where an account is concerned.
    """

    message: str
    code: str
    account: str | None = None
    region: str | None = None


class CallsResumed(Event, frozen=True, kw_only=True, tag="calls_resumed"):
    """A region, or an account, answers again."""

    message: str
    account: str | None = None
    region: str | None = None


class TargetWaiting(Event, frozen=True, kw_only=True, tag="target_waiting"):
    """A target waits for answers, and another one may be read in its place."""

    target: Target


class RequestsCounted(Event, frozen=True, kw_only=True, tag="requests_counted"):
    """Another process sent this many requests since it last told."""

    requests: int
    throttled: int
    retries: int


class RateLearned(Event, frozen=True, kw_only=True, tag="rate_learned"):
    """The rate that a target grants, in requests a second, as the pacer estimates it.

    `burst` is how many it grants at once, None where they are many or not known.
    """

    target: Target
    rate: float
    burst: float | None = None


class TargetFinished(Event, frozen=True, kw_only=True, tag="target_finished"):
    """A target, or an account without one, ended: complete, skipped, or with a reason."""

    outcome: Outcome


class Warned(Event, frozen=True, kw_only=True, tag="warning"):
    """Something that the user should know, and that made no target incomplete.

    Attributes:
        code: a stable name of the kind of warning (`CountMismatch`).
        message: one sentence.
    """

    code: str
    message: str
    account: str | None = None
    region: str | None = None


class NothingSelected(Event, frozen=True, kw_only=True, tag="nothing_selected"):
    """The selection turned out to match nothing, so the output is left as it is.

    Attributes:
        stage: `accounts`, `regions`, `pipelines` or `findings`: where nothing is left.
        message: which option matches nothing.
    """

    stage: Literal["accounts", "regions", "pipelines", "findings"]
    message: str


class OlderFindingsKept(Event, frozen=True, kw_only=True, tag="older_findings_kept"):
    """A target could not be read, and its findings of an earlier run stand in the output.

    `region` is None for an account that failed before its regions were known.
    """

    account: str
    region: str | None


class ReadingSetAside(Event, frozen=True, kw_only=True, tag="reading_set_aside"):
    """An incomplete reading of a target was written to a file beside the output.

    Attributes:
        path: that file.
        severities: its findings by their severity, "" for those without one.
    """

    target: Target
    path: str
    severities: Mapping[str, int]


class OutputPublished(Event, frozen=True, kw_only=True, tag="output_published"):
    """The sweep finished, and the output was written or left as it is.

    Attributes:
        written: False where nothing was read, and the output is as it was.
        kept_findings: findings of an earlier run that a single file still holds.
    """

    written: bool
    kept_findings: int


class SweepFinished(Event, frozen=True, kw_only=True, tag="sweep_finished"):
    """The run ended; `status` and the counts are those of its summary, `seconds` is wall time.

    `code` is the code of the error that ended a run that failed, None for other runs;
    `resume_within` is how long the same command can resume it (`6h`), None if it cannot.
    """

    run_id: str
    status: str
    findings: int
    seconds: float
    pages: int = 0
    requests: int = 0
    throttled: int = 0
    retries: int = 0
    targets: Mapping[str, int] = {}
    resume_within: str | None = None
    code: str | None = None


AnyEvent: TypeAlias = (
    SweepStarted
    | SweepResumed
    | CallerIdentified
    | AccountsChosen
    | RegionsChosen
    | DiscoveryFinished
    | TargetFound
    | TargetStarted
    | TargetResumed
    | TargetSplit
    | PageRead
    | FindingsWithdrawn
    | RequestSent
    | RequestThrottled
    | RequestRetried
    | CallsSuspended
    | CallsResumed
    | TargetWaiting
    | RequestsCounted
    | RateLearned
    | TargetFinished
    | Warned
    | NothingSelected
    | OlderFindingsKept
    | ReadingSetAside
    | OutputPublished
    | SweepFinished
)
"""Any of the events."""

Listener: TypeAlias = Callable[[Event], None]
"""A function that takes each event of a sweep."""


class Events:
    """Hands each event to some listeners, in their order. Calling it emits an event.

    Args:
        listeners: the project's own, whose errors are defects and pass.
        on_event: a caller's; one that raises is logged once and not called again, since a
            display must not change the outcome of a sweep.
    """

    def __init__(self, listeners: Sequence[Listener], on_event: Listener | None = None) -> None:
        self._listeners = tuple(listeners)
        self._on_event = on_event

    def __call__(self, event: Event) -> None:
        """Emit an event."""
        for listener in self._listeners:
            listener(event)
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:  # noqa: BLE001  # any: the function is a caller's
            self._on_event = None
            _log.exception(
                "on_event raised an error for %s: it is not called again",
                event.name,
                extra={"event": "on_event_failed"},
            )
