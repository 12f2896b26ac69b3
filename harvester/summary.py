"""The summary of a sweep: one JSON object, the same in a file, in memory and on screen."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from harvester._version import __version__
from harvester.errors import HarvesterError, IncompleteError, ServiceError
from harvester.hints import hint_for, hint_for_code
from harvester.model import Outcome
from harvester.tally import Tally, code_of, message_of
from harvester.timestamps import iso

BY_CALLER = "the caller"
"""Why a run stops whose `async with` block was left."""

SweepStatus = Literal["running", "complete", "partial", "interrupted", "failed"]


class TargetCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many targets ended how; an account that failed or was skipped counts as one.

    Attributes:
        stale: targets that this run could not read, and whose findings of an earlier run stand.
    """

    total: int = 0
    complete: int = 0
    incomplete: int = 0
    failed: int = 0
    skipped: int = 0
    stale: int = 0


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A target that is not complete, and why.

    Attributes:
        account: 12 digits; null where the sweep could not begin.
        account_name: the organization's name of the account, null where it is not known.
        region: null where the whole account failed.
        status: `failed`, `incomplete` or `stale`.
        stage: `accounts`, `credentials`, `regions`, `pipelines`, `findings` or `sweep`.
        code: the service's error code, or our own (`DamagedAnswer`, `Interrupted`, …).
        message: the service's own words.
        hint: what to do about it, null where nothing general can be said.
    """

    account: str | None
    account_name: str | None = None
    region: str | None
    status: str
    stage: str
    code: str
    message: str
    hint: str | None = None

    @property
    def where(self) -> str:
        """The account, region and account name, empty where the sweep could not begin."""
        place = "/".join(part for part in (self.account, self.region) if part)
        return f"{place} ({self.account_name})" if self.account_name else place


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """An account that was not swept, and why: `code` is `NotActive`."""

    account: str
    account_name: str | None = None
    code: str
    message: str


class SweepWarning(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the user should know, and that made no target incomplete."""

    code: str
    message: str
    account: str | None = None
    account_name: str | None = None
    region: str | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep did. Fields can be read as attributes or, as in the JSON, by key.

    Attributes:
        run_id: a name for this run, unique.
        started_at, finished_at: ISO 8601 in UTC with milliseconds; `finished_at` is null while
            the run goes on.
        seconds: wall time from start to end, or until now.
        status: `running`: it has not ended, or was killed; `complete`: every target was read to
            its end; `partial`: the sweep finished, some targets failed or are incomplete;
            `interrupted`: a signal, the deadline or the caller stopped it; `failed`: it could
            not begin or not write.
        destination: where the findings go: a path, `-` for stdout, empty for an iterator.
        resumed_from: when the unfinished sweep began that this run continued, null where it
            continued none.
        oldest_read_at: when the oldest page in the output that this or the continued run read
            was read, null where it continued none.
        findings: findings written by this run, those of the run that it continued included.
        by_severity: those by their severity, "" for findings without one.
        kept_findings: findings of an earlier run that a single file still holds, since their
            targets could not be read; `findings` does not count them.
        output_since: when the single file that stands was written, where this run has not
            replaced it; null where it has, or there is none.
        pages: pages read, those of the run that it continued included.
        requests: requests sent to AWS, repeated ones included.
        throttled: requests answered with a throttle.
        retries: requests sent again.
        targets: counts of targets by how they ended.
        problems: each target that is not complete.
        skipped: each account that was not swept.
        warnings: other things that the user should know.
        version: the version of harvester.
    """

    run_id: str
    started_at: str
    finished_at: str | None
    seconds: float = 0.0
    status: SweepStatus
    destination: str = ""
    resumed_from: str | None = None
    oldest_read_at: str | None = None
    findings: int
    by_severity: dict[str, int] = {}
    kept_findings: int = 0
    output_since: str | None = None
    pages: int
    requests: int
    throttled: int
    retries: int
    targets: TargetCounts
    problems: tuple[Problem, ...]
    skipped: tuple[Skipped, ...] = ()
    warnings: tuple[SweepWarning, ...] = ()
    version: str = __version__

    def __getitem__(self, key: str) -> Any:
        """Return a field by its key."""
        return self.as_dict()[key]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys."""
        return iter(self.as_dict())

    def keys(self) -> tuple[str, ...]:
        """Return the keys, so that `dict(summary)` works."""
        return self.__struct_fields__

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as plain dicts, lists and numbers."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return {key: list(one) if isinstance(one, tuple) else one for key, one in plain.items()}

    def as_json(self) -> bytes:
        """Return the summary as JSON, indented, ending in a newline."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    def raise_for_problems(self) -> None:
        """Raise IncompleteError unless every target was read to its end.

        The text counts the problems and shows the first; the error's `summary` has them all.
        """
        if self.status == "complete":
            return
        first = self.problems[0] if self.problems else None
        reason = f": {first.where or 'the sweep'}: {first.code}: {first.message}" if first else ""
        more = f" (and {len(self.problems) - 1:,} more)" if len(self.problems) > 1 else ""
        raise IncompleteError(f"the sweep is {self.status}{reason}{more}", self)

    def __str__(self) -> str:
        """Return the summary in a sentence."""
        targets = self.targets
        counts = ", ".join(
            f"{getattr(targets, name)} {name}"
            for name in ("complete", "incomplete", "failed", "stale", "skipped")
            if getattr(targets, name) or name == "complete"
        )
        return (
            f"{self.status}: {self.findings:,} findings in {self.pages:,} pages; "
            f"{targets.total:,} targets ({counts}); {self.requests:,} requests, "
            f"{self.throttled:,} throttled, {self.retries:,} retries"
        )


def summarize(
    tally: Tally,
    *,
    run_id: str,
    started: datetime,
    finished: datetime | None,
    status: SweepStatus,
    reason: HarvesterError | str | None = None,
    destination: str = "",
    output_since: datetime | None = None,
) -> Summary:
    """Return the summary of the counts of a sweep; `finished` is None while it goes on.

    Once it ended, targets that are still open count as incomplete, and are named with `reason`,
    which also stands alone if the run failed.
    """
    resumed = tally.resumed
    problems = [problem_of(outcome) for outcome in tally.problems]
    if status != "running":
        problems += map(problem_of, unfinished(tally, reason))
    problems += _of_the_run(tally, status, reason)
    return Summary(
        run_id=run_id,
        started_at=iso(started),
        finished_at=None if finished is None else iso(finished),
        seconds=round(((finished or datetime.now(UTC)) - started).total_seconds(), 3),
        status=status,
        destination=destination,
        resumed_from=None if resumed is None else resumed.began_at,
        oldest_read_at=None if resumed is None else resumed.oldest_read_at,
        findings=tally.findings,
        by_severity={name: count for name, count in sorted(tally.severities.items()) if count},
        kept_findings=tally.kept_findings,
        output_since=None if output_since is None else iso(output_since),
        pages=tally.pages,
        requests=tally.requests,
        throttled=tally.throttled,
        retries=tally.retries,
        targets=TargetCounts(
            total=tally.total,
            complete=tally.ended["complete"],
            incomplete=tally.ended["incomplete"] + len(tally.open) - len(tally.stale),
            failed=tally.ended["failed"],
            skipped=tally.ended["skipped"],
            stale=tally.ended["stale"] + len(tally.stale),
        ),
        problems=tuple(problems),
        skipped=tuple(_skipped(outcome) for outcome in tally.skipped),
        warnings=tuple(
            SweepWarning(
                code=one.code,
                message=one.message,
                account=one.account,
                account_name=tally.names.get(one.account or ""),
                region=one.region,
            )
            for one in tally.warnings
        ),
    )


def unfinished(tally: Tally, reason: HarvesterError | str | None) -> list[Outcome]:
    """Return how open targets, and accounts without known regions, ended with their run."""
    code, message = _reason(reason)
    entering = [
        Outcome(account, None, "incomplete", "regions", code, message, account_name=name)
        for account, name in sorted(tally.entering.items())
    ]
    return entering + [
        Outcome(
            target.account,
            target.region,
            "stale" if target in tally.stale else "incomplete",
            "sweep",
            code,
            message,
            findings=reading.findings,
            pages=reading.pages,
            seconds=tally.now() - reading.begun if reading.begun is not None else 0.0,
            account_name=reading.account_name,
        )
        for target, reading in sorted(tally.open.items())
    ]


def _of_the_run(
    tally: Tally, status: SweepStatus, reason: HarvesterError | str | None
) -> Iterator[Problem]:
    """Yield the problems that are not those of a target."""
    if tally.nothing is not None:
        yield Problem(
            account=None,
            region=None,
            status="failed",
            stage=tally.nothing.stage,
            code="NothingSelected",
            message=tally.nothing.message,
            hint="change or remove that option; the output is left as it was",
        )
    if status == "failed":
        code, message = _reason(reason)
        yield Problem(
            account=None,
            region=None,
            status="failed",
            stage="sweep",
            code=code,
            message=message,
            hint=_hint_of(reason),
        )


def _skipped(outcome: Outcome) -> Skipped:
    return Skipped(
        account=outcome.account,
        account_name=outcome.account_name,
        code=outcome.code,
        message=outcome.message,
    )


def problem_of(outcome: Outcome) -> Problem:
    """Return the outcome of a target that is not complete as the summary names it."""
    return Problem(
        account=outcome.account,
        account_name=outcome.account_name,
        region=outcome.region,
        status=outcome.status,
        stage=outcome.stage,
        code=outcome.code,
        message=outcome.message,
        hint=hint_for(outcome),
    )


def _hint_of(reason: HarvesterError | str | None) -> str | None:
    if not isinstance(reason, HarvesterError):
        return None
    if isinstance(reason.__cause__, ServiceError):
        return hint_for_code(reason.__cause__.code, reason.__cause__.message) or reason.hint
    return reason.hint


def _reason(reason: HarvesterError | str | None) -> tuple[str, str]:
    if isinstance(reason, HarvesterError):
        return code_of(reason), message_of(reason)
    return "Interrupted", f"stopped by {reason or BY_CALLER} before it was read to its end"
