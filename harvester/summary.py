"""The summary of a sweep: one JSON object, the same in a file, in memory and on screen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

import msgspec

from harvester.errors import HarvesterError, OutputError
from harvester.model import Outcome
from harvester.output.workspace import (
    absolute,
    cannot_write,
    check_replaceable,
    make_private,
    write_private,
)
from harvester.tally import Tally, code_of, message_of
from harvester.timestamps import iso

SweepStatus = Literal["complete", "partial", "interrupted", "failed"]


class TargetCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many targets ended how; an account that failed or was skipped whole is one."""

    total: int = 0
    complete: int = 0
    incomplete: int = 0
    failed: int = 0
    skipped: int = 0


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A target that is not complete, and why.

    `account` is null where the sweep could not begin, `region` where the whole account failed.
    """

    account: str | None
    region: str | None
    status: str
    stage: str
    code: str
    message: str


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep did. Fields can be read as attributes or, as in the JSON, by key.

    Attributes:
        run_id: a name for this run, unique.
        started_at, finished_at: ISO 8601 in UTC with milliseconds.
        status: `complete`: every target was read whole; `partial`: the sweep finished, some
            targets failed or are incomplete; `interrupted`: a signal, the deadline or the
            caller stopped it; `failed`: it could not begin or not write.
        findings: findings written.
        pages: pages read.
        requests: calls sent to AWS, repeated ones included.
        throttled: calls answered with a throttle.
        retries: calls made again.
        targets: counts of targets by how they ended.
        problems: each target that is not complete.
    """

    run_id: str
    started_at: str
    finished_at: str
    status: SweepStatus
    findings: int
    pages: int
    requests: int
    throttled: int
    retries: int
    targets: TargetCounts
    problems: tuple[Problem, ...]

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
        return {**plain, "problems": list(plain["problems"])}

    def as_json(self) -> bytes:
        """Return the summary as JSON, indented, ending in a newline."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    def __str__(self) -> str:
        """Return the summary in a sentence."""
        targets = self.targets
        counts = ", ".join(
            f"{getattr(targets, name)} {name}"
            for name in ("complete", "incomplete", "failed", "skipped")
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
    finished: datetime,
    status: SweepStatus,
    reason: HarvesterError | str | None = None,
) -> Summary:
    """Return the summary of what a tally counted.

    Targets that are still open count as incomplete, and are named with `reason`, which also
    stands alone where no target was found at all.
    """
    problems = [problem_of(outcome) for outcome in tally.problems]
    code, message = _reason(reason)
    problems += [
        Problem(
            account=target.account,
            region=target.region,
            status="incomplete",
            stage="sweep",
            code=code,
            message=message,
        )
        for target in sorted(tally.open)
    ]
    if status == "failed":
        problems.append(
            Problem(
                account=None,
                region=None,
                status="failed",
                stage="sweep",
                code=code,
                message=message,
            )
        )
    return Summary(
        run_id=run_id,
        started_at=iso(started),
        finished_at=iso(finished),
        status=status,
        findings=tally.findings,
        pages=tally.pages,
        requests=tally.requests,
        throttled=tally.throttled,
        retries=tally.retries,
        targets=TargetCounts(
            total=tally.total,
            complete=tally.ended["complete"],
            incomplete=tally.ended["incomplete"] + len(tally.open),
            failed=tally.ended["failed"],
            skipped=tally.ended["skipped"],
        ),
        problems=tuple(problems),
    )


def write_summary(summary: Summary, path: str) -> None:
    """Write a summary under its name, whole, readable by this user only.

    Raises:
        OutputError: it cannot be written.
    """
    target = absolute(path)
    try:
        write_private(target, summary.as_json())
    except OSError as error:
        raise cannot_write(target, error) from error


def check_summary_path(path: str) -> None:
    """Raise OutputError where a summary could not be written later."""
    target = absolute(path)
    try:
        make_private(target.parent)
    except OSError as error:
        raise cannot_write(target, error) from error
    if target.is_dir():
        raise OutputError(f"{target} is a folder: the summary needs a file name")
    check_replaceable(target)
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{target} cannot be written: the folder is not writable")


def problem_of(outcome: Outcome) -> Problem:
    """Return the outcome of a target that is not complete as the summary names it."""
    return Problem(
        account=outcome.account,
        region=outcome.region,
        status=outcome.status,
        stage=outcome.stage,
        code=outcome.code,
        message=outcome.message,
    )


def _reason(reason: HarvesterError | str | None) -> tuple[str, str]:
    if isinstance(reason, HarvesterError):
        return code_of(reason), message_of(reason)
    return "Interrupted", f"stopped by {reason or 'the caller'} before it was read to its end"
