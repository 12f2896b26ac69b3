"""What a sweep tells its output, and what it tells of the output, at the end of a run."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime

from harvester.events import Event, OlderFindingsKept, OutputPublished, ReadingSetAside, Warned
from harvester.model import Target
from harvester.output.results import Published, Results
from harvester.output.workspace import absolute
from harvester.settings import OutputSettings, Settings
from harvester.tally import Tally
from harvester.timestamps import iso


def results_of(
    tally: Tally, regions: Collection[str] | None, excluded_regions: Collection[str]
) -> Results:
    """Return how the targets of a sweep of these `regions` ended; None is every region."""
    problems = tally.problems
    failed = {Target(one.account, one.region) for one in problems if one.region is not None}
    return Results(
        tally.complete,
        failed | tally.open.keys(),
        {one.account for one in problems if one.region is None},
        regions,
        excluded_regions,
    )


def events_of(published: Published) -> Iterator[Event]:
    """Yield what became of the output, and of targets that could not be read."""
    yield from kept_of(published.stale)
    for target, aside in published.aside.items():
        yield ReadingSetAside(target=target, path=str(aside.path), severities=aside.severities)
    yield OutputPublished(written=published.written, kept_findings=published.kept)
    if not published.written:
        message = "nothing could be read: the output is left as it was"
        yield Warned(code="OutputUnchanged", message=message)
    if published.unattributed:
        message = (
            f"{published.unattributed:,} lines of the older file do not say their account and "
            "region; they are kept until a sweep reads every target"
        )
        yield Warned(code="UnattributedFindings", message=message)


def kept_of(stale: Collection[Target | str]) -> Iterator[Event]:
    """Yield that the older findings of targets, and accounts, stand."""
    for one in stale:
        account, region = (one, None) if isinstance(one, str) else (one.account, one.region)
        yield OlderFindingsKept(account=account, region=region)


def standing_since(output: OutputSettings) -> datetime | None:
    """Return when the single file that stands was written, None where none does."""
    if output.kind != "file":
        return None
    try:
        written = absolute(output.path).stat().st_mtime
    except OSError:
        return None
    return datetime.fromtimestamp(written, UTC)


def not_replaced(settings: Settings, since: datetime | None) -> Warned:
    """Return a warning that the deadline came before a single file could be written."""
    path = settings.output.path
    stands = f"the file that stands is of {iso(since)}" if since else "there is no file yet"
    return Warned(
        code="OutputNotReplaced",
        message=f"{path} was not written, since the deadline of {settings.limits.deadline} came "
        f"first; {stands}. Run the same command again sooner, which resumes; raise --deadline or "
        "--max-resume-age; or write to a folder (--output NAME/), where each target is published "
        "once it is complete",
    )
