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
from harvester.hints import hint_for
from harvester.model import Outcome, Target
from harvester.summary import BY_CALLER

# The reader of stdout went away: it has what it wanted.
_CLOSED = OutputClosedError.__name__
_log = logging.getLogger("harvester")
_COUNTS = ("findings", "pages", "requests", "throttled", "retries")


class EventLog:
    """A listener that logs the events of one run.

    A run that cannot begin (no credentials, an output that cannot be written) is told in one line
    by whoever reports its error. So the first line of a run waits until its accounts are known.
    """

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._names: dict[str, str] = {}
        self._first: events.SweepStarted | None = None
        self._held: list[events.Event] = []
        self._resume_told = False
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
        self._release()

    def _release(self) -> None:
        """Log the events that came before the first line."""
        held, self._held = self._held, []
        for event in held:
            self(event)

    def _holds(self, event: events.Event) -> bool:
        """Keep an event until the first line is logged, and return whether it is kept."""
        holds = self._first is not None and not self._began
        if holds:
            self._held.append(event)
        return holds

    def resumed(self, event: events.SweepResumed) -> None:
        """Log that an unfinished sweep is continued, after the first line."""
        if self._holds(event) or self._resume_told:
            return
        self._resume_told = True
        message = f"resuming the unfinished sweep that began at {event.began_at}"
        fields = {"began_at": event.began_at, "oldest_read_at": event.oldest_read_at}
        self.say(logging.INFO, event, message, fields)

    def caller(self, event: events.CallerIdentified) -> None:
        """Log whose credentials are used, after the first line."""
        if self._holds(event):
            return
        message = f"calling as {event.arn} (account {event.account})"
        self.say(logging.DEBUG, event, message, {"account": event.account, "arn": event.arn})

    def accounts(self, event: events.AccountsChosen) -> None:
        """Log the accounts of the sweep, after the first line."""
        if self._first is not None:
            self._say_first(self._first)
        self._names.update(event.account_names)
        named = [_named(one, event.account_names.get(one)) for one in event.accounts]
        message = f"{_count(len(named), 'account')}: {', '.join(named)}"
        self.say(logging.DEBUG, event, message, {"accounts": len(named)})

    def regions(self, event: events.RegionsChosen) -> None:
        """Log the regions of one account."""
        if event.account_name:
            self._names[event.account] = event.account_name
        where = _named(event.account, event.account_name)
        message = f"{where}: {_count(len(event.regions), 'region')}: {', '.join(event.regions)}"
        fields = {
            "account": event.account,
            "account_name": event.account_name,
            "regions": len(event.regions),
        }
        self.say(logging.DEBUG, event, message, fields)

    def resumed_target(self, event: events.TargetResumed) -> None:
        """Log what an unfinished run left of a target."""
        ended = "complete, not read again" if event.complete else "continued"
        findings, pages = _count(event.findings, "finding"), _count(event.pages, "page")
        read = f"{findings} in {pages} were read before"
        fields = {"complete": event.complete, "findings": event.findings, "pages": event.pages}
        message = f"{self._where(event.target)}: {ended}: {read}"
        self.say(logging.DEBUG, event, message, {**self._about(event.target), **fields})

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
        """Log the rate that a target grants, and its burst."""
        message = f"{self._where(event.target)}: the pacer learned {event.rate:.1f} requests/s"
        fields = {"rate": event.rate}
        if event.burst is not None:
            message += f", {event.burst:.0f} at once"
            fields["burst"] = event.burst
        self.say(logging.DEBUG, event, message, {**self._about(event.target), **fields})

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
                f"{outcome.where}: complete, {_count(outcome.findings, 'finding')} in "
                f"{_count(outcome.pages, 'page')}, {outcome.seconds:.1f} s"
            )
            self.say(logging.DEBUG, event, message, fields)
            return
        # An application that leaves a sweep early knows that itself.
        is_left = outcome.message.startswith(f"stopped by {BY_CALLER} ")
        is_quiet = outcome.status == "skipped" or outcome.code == _CLOSED or is_left
        level = logging.DEBUG if is_quiet else logging.WARNING
        told = {"stage": outcome.stage, "code": outcome.code, "hint": hint_for(outcome)}
        self.say(level, event, _reason(outcome), {**fields, **told})

    def warned(self, event: events.Warned) -> None:
        """Log a warning."""
        fields = {"code": event.code, **self._place(event.account, event.region)}
        self.say(logging.WARNING, event, event.message, fields)

    def nothing(self, event: events.NothingSelected) -> None:
        """Log that nothing is selected."""
        message = f"nothing is selected: {event.message}; the output is left as it is"
        fields = {"code": "NothingSelected", "stage": event.stage}
        self.say(logging.WARNING, event, message, fields)

    def kept(self, event: events.OlderFindingsKept) -> None:
        """Log that the older findings of a target stand."""
        place = "/".join(part for part in (event.account, event.region) if part)
        where = _named(place, self._names.get(event.account))
        message = f"{where}: stale: its findings of an earlier run stand"
        fields = {
            "account": event.account,
            "account_name": self._names.get(event.account),
            "region": event.region,
            "status": "stale",
        }
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
        fields = {"code": event.code, **self._place(event.account, event.region)}
        self.say(logging.WARNING, event, event.message, fields)

    def resumed_calls(self, event: events.CallsResumed) -> None:
        """Log that a region or an account answers again."""
        self.say(logging.INFO, event, event.message, self._place(event.account, event.region))

    def ended(self, event: events.SweepFinished) -> None:
        """Log the last line of a run that began, or was stopped before it could."""
        if not self._began:
            if event.status != "interrupted" or self._first is None:
                self._first = None
                self._held = [one for one in self._held if type(one) is events.CallerIdentified]
                self._release()
                return
            self._say_first(self._first)
        counts = {name: getattr(event, name) for name in _COUNTS}
        level = logging.INFO if event.status in ("complete", "partial") else logging.WARNING
        if event.code == _CLOSED:
            level = logging.DEBUG
        told = {"status": event.status, "code": event.code, "seconds": event.seconds, **counts}
        self.say(level, event, self._last_line(event), {**told, "targets": event.targets})

    def _last_line(self, event: events.SweepFinished) -> str:
        targets = event.targets
        ended = [f"{n:,} {name}" for name, n in targets.items() if n and name != "total"]
        line = (
            f"{event.status}: {_count(event.findings, 'finding')} in "
            f"{_count(event.pages, 'page')} and {event.seconds:,.1f} s; "
            f"{_count(targets.get('total', 0), 'target')} "
            f"({', '.join(ended) or 'none'}); {_count(event.requests, 'request')}, "
            f"{event.throttled:,} throttled, {event.retries:,} retries"
        )
        if event.resume_within is not None:
            within = f"the same command resumes this sweep within {event.resume_within}"
            line += f"; {within}; --fresh starts over"
        return line

    def _place(self, account: str | None, region: str | None) -> dict[str, str]:
        """Return the fields of a place, as far as they are known."""
        name = None if account is None else self._names.get(account)
        fields = {"account": account, "account_name": name, "region": region}
        return {key: value for key, value in fields.items() if value is not None}

    def _where(self, target: Target) -> str:
        return _named(str(target), self._names.get(target.account))

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


def _named(place: str, name: str | None) -> str:
    return f"{place} ({name})" if name else place


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


_LOGS: dict[type[events.Event], Callable[[EventLog, Any], None]] = {
    events.SweepStarted: EventLog.started,
    events.SweepResumed: EventLog.resumed,
    events.CallerIdentified: EventLog.caller,
    events.AccountsChosen: EventLog.accounts,
    events.RegionsChosen: EventLog.regions,
    events.TargetResumed: EventLog.resumed_target,
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
