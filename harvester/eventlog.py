"""Log records for the events of a sweep, on the logger `harvester`.

Each record has the fields `event` (the stable name of the event), `run_id` and, where they
apply, `account`, `account_name`, `region`, `code` and counts. A target that is not complete is a
warning; which records are shown is the host's choice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from harvester import events
from harvester.errors import OutputClosedError
from harvester.model import Outcome, Target

_log = logging.getLogger("harvester")
_NAMES_SHOWN = 20


class EventLog:
    """A listener that logs the events of one run.

    A run that cannot begin (no credentials, an output that cannot be written) is told in one line
    by whoever reports its error. So the first line of a run waits until its accounts are known.
    """

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._names: dict[str, str | None] = {}
        self._first: events.SweepStarted | None = None
        self._began = False

    def __call__(self, event: events.Event) -> None:
        """Log an event, if it is one that is logged."""
        log = _LOGS.get(type(event))
        if log is not None:
            log(self, event)

    def say(
        self, level: int, event: events.Event, message: str, fields: Mapping[str, Any] | None = None
    ) -> None:
        """Log a message with the fields of an event."""
        if _log.isEnabledFor(level):
            extra = {"event": event.name, "run_id": self._run_id, **(fields or {})}
            _log.log(level, "%s", message, extra=extra)

    def started(self, event: events.SweepStarted) -> None:
        """Keep the first line until the run has really begun."""
        self._first = event

    def _say_first(self, event: events.SweepStarted) -> None:
        """Log the first line of a run: version, run id, selection, destination."""
        self._began = True
        selection = ", ".join(f"{key}={value}" for key, value in event.selection.items())
        config = f", config {event.config}" if event.config else ""
        message = (
            f"harvester {event.version}, run {event.run_id}: {selection or 'defaults'}"
            f" → {destination(event.destination)}{config}"
        )
        fields = {
            "version": event.version,
            "destination": event.destination,
            "config": event.config,
            **{key.replace(".", "_"): value for key, value in event.selection.items()},
        }
        self.say(logging.INFO, event, message, fields)

    def resumed(self, event: events.SweepResumed) -> None:
        """Log that an unfinished sweep is continued."""
        message = f"resuming the unfinished sweep that began at {event.began_at}"
        fields = {"began_at": event.began_at, "oldest_read_at": event.oldest_read_at}
        self.say(logging.INFO, event, message, fields)

    def caller(self, event: events.CallerIdentified) -> None:
        """Log whose credentials are used."""
        message = f"calling as {event.arn} (account {event.account})"
        self.say(logging.DEBUG, event, message, {"account": event.account, "arn": event.arn})

    def accounts(self, event: events.AccountsChosen) -> None:
        """Log the accounts of the sweep, after the first line."""
        if self._first is not None:
            self._say_first(self._first)
        message = f"{len(event.accounts)} accounts: {_listed(event.accounts)}"
        self.say(logging.DEBUG, event, message, {"accounts": len(event.accounts)})

    def regions(self, event: events.RegionsChosen) -> None:
        """Log the regions of one account."""
        self._names[event.account] = event.account_name
        named = f" ({event.account_name})" if event.account_name else ""
        message = f"{event.account}{named}: {len(event.regions)} regions: {_listed(event.regions)}"
        fields = {
            "account": event.account,
            "account_name": event.account_name,
            "regions": len(event.regions),
        }
        self.say(logging.DEBUG, event, message, fields)

    def split(self, event: events.TargetSplit) -> None:
        """Log that a target is split, and by which filters."""
        by = " and ".join(event.by)
        message = (
            f"{self._where(event.target)}: {event.expected:,} findings, split into "
            f"{event.queries} queries by {by}"
        )
        fields = {"split_by": by, "queries": event.queries, "expected": event.expected}
        self.say(logging.DEBUG, event, message, {**self._about(event.target), **fields})

    def rate(self, event: events.RateLearned) -> None:
        """Log the rate that a target grants."""
        message = f"{self._where(event.target)}: the pacer learned {event.rate:.1f} requests/s"
        self.say(logging.DEBUG, event, message, {**self._about(event.target), "rate": event.rate})

    def finished(self, event: events.TargetFinished) -> None:
        """Log how a target ended."""
        outcome = event.outcome
        fields = {
            "account": outcome.account,
            "account_name": outcome.account_name,
            "region": outcome.region,
            "status": outcome.status,
            "findings": outcome.findings,
            "pages": outcome.pages,
            "seconds": round(outcome.seconds, 3),
        }
        if outcome.status == "complete":
            message = (
                f"{outcome.where}: complete, {outcome.findings:,} findings in "
                f"{outcome.pages:,} pages, {outcome.seconds:.1f} s"
            )
            self.say(logging.DEBUG, event, message, fields)
            return
        level = logging.DEBUG if outcome.status == "skipped" else logging.WARNING
        fields |= {"stage": outcome.stage, "code": outcome.code}
        self.say(level, event, _reason(outcome), fields)

    def warned(self, event: events.Warned) -> None:
        """Log a warning."""
        fields = {"code": event.code, "account": event.account, "region": event.region}
        known = {key: value for key, value in fields.items() if value is not None}
        self.say(logging.WARNING, event, event.message, known)

    def nothing(self, event: events.NothingSelected) -> None:
        """Log that nothing is selected."""
        message = f"nothing is selected: {event.message}; the output is left as it is"
        fields = {"code": "NothingSelected", "stage": event.stage}
        self.say(logging.WARNING, event, message, fields)

    def kept(self, event: events.OlderFindingsKept) -> None:
        """Log that the older findings of a target stand."""
        where = "/".join(part for part in (event.account, event.region) if part)
        message = f"{where}: stale: its findings of an earlier run stand"
        fields = {"account": event.account, "region": event.region, "status": "stale"}
        self.say(logging.INFO, event, message, fields)

    def set_aside(self, event: events.ReadingSetAside) -> None:
        """Log where an incomplete reading is."""
        count = sum(event.severities.values())
        message = f"{self._where(event.target)}: incomplete: {count:,} findings are in {event.path}"
        fields = {**self._about(event.target), "findings": count, "path": event.path}
        self.say(logging.INFO, event, message, fields)

    def published(self, event: events.OutputPublished) -> None:
        """Log what became of the output."""
        message = "the output is written" if event.written else "the output is left as it was"
        if event.kept_findings:
            message += f", with {event.kept_findings:,} findings of an earlier run"
        fields = {"written": event.written, "kept_findings": event.kept_findings}
        self.say(logging.DEBUG, event, message, fields)

    def suspended(self, event: events.CallsSuspended) -> None:
        """Log that requests wait for a region or an account that does not answer."""
        fields = {"code": event.code, "account": event.account, "region": event.region}
        known = {key: value for key, value in fields.items() if value is not None}
        self.say(logging.WARNING, event, event.message, known)

    def resumed_calls(self, event: events.CallsResumed) -> None:
        """Log that a region or an account answers again."""
        fields = {"account": event.account, "region": event.region}
        known = {key: value for key, value in fields.items() if value is not None}
        self.say(logging.INFO, event, event.message, known)

    def ended(self, event: events.SweepFinished) -> None:
        """Log the last line of a run that began."""
        if not self._began:
            return
        message = f"{event.status}: {event.findings:,} findings in {event.seconds:,.1f} s"
        fields = {"status": event.status, "findings": event.findings, "seconds": event.seconds}
        # `head` closes stdout once it has enough lines, which deserves no message.
        closed = event.code == OutputClosedError.__name__
        self.say(logging.DEBUG if closed else logging.INFO, event, message, fields)

    def _where(self, target: Target) -> str:
        name = self._names.get(target.account)
        return f"{target} ({name})" if name else str(target)

    def _about(self, target: Target) -> dict[str, Any]:
        return {
            "account": target.account,
            "account_name": self._names.get(target.account),
            "region": target.region,
        }


def destination(path: str) -> str:
    """Return how a destination is shown: `-` is stdout, an empty text an iterator."""
    return {"-": "stdout", "": "an iterator"}.get(path, path)


def _reason(outcome: Outcome) -> str:
    reason = f"{outcome.code}: {outcome.message}" if outcome.message else outcome.code
    return f"{outcome.where}: {outcome.status} at {outcome.stage}: {reason}"


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


_LOGS: dict[type[events.Event], Callable[[EventLog, Any], None]] = {
    events.SweepStarted: EventLog.started,
    events.SweepResumed: EventLog.resumed,
    events.CallerIdentified: EventLog.caller,
    events.AccountsChosen: EventLog.accounts,
    events.RegionsChosen: EventLog.regions,
    events.TargetSplit: EventLog.split,
    events.RateLearned: EventLog.rate,
    events.TargetFinished: EventLog.finished,
    events.Warned: EventLog.warned,
    events.NothingSelected: EventLog.nothing,
    events.OlderFindingsKept: EventLog.kept,
    events.ReadingSetAside: EventLog.set_aside,
    events.OutputPublished: EventLog.published,
    events.CallsSuspended: EventLog.suspended,
    events.CallsResumed: EventLog.resumed_calls,
    events.SweepFinished: EventLog.ended,
}
