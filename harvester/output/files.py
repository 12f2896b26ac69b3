"""NDJSON to one file or a partitioned folder: resumable, and whole or not there at all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.from_thread

from harvester.clock import Clock
from harvester.concurrency import in_thread
from harvester.errors import OutputError
from harvester.model import Page, Query, Standing, Target
from harvester.output.ages import NAME as AGES
from harvester.output.ages import Ages, load_ages, save_ages
from harvester.output.contents import Contents
from harvester.output.journal import NAME as JOURNAL
from harvester.output.journal import Journal, Record
from harvester.output.publish import PartWriter
from harvester.output.results import Layout, Published, Results, Spooled
from harvester.output.resume import MAX_AGE, Header, Resumed, take_up
from harvester.output.spool import Spool
from harvester.output.workspace import Workspace, cannot_write

_COMMIT_SECONDS = 1.0
_log = logging.getLogger("harvester")


class FileSink:
    """Collects pages in a spool, and writes each query's in one piece.

    Where each target has a file of its own, that appears soon after the target is complete, and
    at the latest when the run ends, however it ends; a single file appears at the end.

    The spool holds the pages in the order in which they arrived; per query it is known where
    they are. A query that starts over drops its places, and the same findings make the same
    file whatever their timing was.

    Every second, and when it ends, a run makes the spool durable and then says so in the
    journal beside it, with checksums. What stands there is what the next run resumes.

    Args:
        workspace: where spool and journal stand.
        layout: the files to write for the targets that were read.
        identity: the settings that decide what is read; a sweep that was begun with others
            is not resumed.
        fresh: throw away what an earlier run left.
        packed: compress the spool.
        max_age: seconds after which a target that an earlier run read is read again.
        run_id: the run, for the journal.
    """

    withdraws = True

    def __init__(
        self,
        workspace: Workspace,
        layout: Layout,
        *,
        identity: Mapping[str, Any] | None = None,
        fresh: bool = False,
        packed: bool = False,
        max_age: float = MAX_AGE,
        run_id: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._workspace = workspace
        self._layout = layout
        self._fresh = fresh
        self._max_age = max_age
        self._clock = clock or Clock()
        self._journal = Journal(workspace)
        self._contents = Contents()
        self._header = Header(self._clock.wall(), run_id, dict(identity or {}), packed)
        self._resumes = self._kept = False
        self._visited: set[Target] = set()
        self._spool = Spool(workspace, packed=packed)
        self._committing = anyio.Lock()
        self._publishing = anyio.Lock()
        self._committed = 0.0
        self._discarded = False
        self.ages = Ages()
        self.published: Published | None = None

    async def __aenter__(self) -> Self:
        """Lock the output, and take up what an unfinished run left."""
        self._workspace.open()
        try:
            await in_thread(self._open)
        except BaseException as error:
            self._close()
            self._workspace.close()
            if isinstance(error, OSError):
                raise self._workspace.failure(error) from error
            raise
        self._committed = self._clock.now()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Keep what was read for the next run, or remove it once it is published."""
        try:
            if self.published is None and not self._discarded:
                await self._save()
        except OutputError as failure:
            _log.debug(
                "the last second is not kept: %s", failure, extra={"event": "not_committed"}
            )  # the disk is full, say
        finally:
            self._close()
            with suppress(OSError):
                self._kept &= self._workspace.is_owner()
            with anyio.CancelScope(shield=True):  # a large spool takes a while to remove
                await in_thread(self._leave)
            self._workspace.close()

    async def _save(self) -> None:
        """Make durable, and publish, what can be of a sweep that did not finish."""
        ready = self._ready()
        await self._commit()
        if not self._journal.is_open:
            return
        try:
            await self._publish_early(ready)
        except OutputError as failure:
            _log.warning(
                "complete targets could not be published: %s",
                failure,
                extra={"event": "not_published"},
            )
        await self._commit()

    def _leave(self) -> None:
        """Remove from the workspace what the next run has no use for."""
        if self.published is not None or self._discarded:
            self._workspace.remove()
        elif self._contents.is_blank:
            self._workspace.remove(keep=(AGES,) if self.ages.read_at else ())

    @property
    def resumed(self) -> Resumed | None:
        """The unfinished sweep that this one resumes, None where it began by itself."""
        if not self._resumes:
            return None
        times = [self._contents.read_at(target) for target in self._visited]
        oldest = min((at for at in times if at is not None), default=None)
        return Resumed(self._header.run_id, self._header.begun, oldest)

    @property
    def resumable(self) -> bool:
        """Whether the same command will find something to resume."""
        return self._kept and self.published is None and not self._discarded

    def found(self, target: Target) -> None:
        """Note that a target is to be read."""
        self._visited.add(target)
        self._contents.find(target, self._clock.wall())

    def standing(self, target: Target) -> Standing | None:
        """Return where an earlier run left a target."""
        self._visited.add(target)
        standing = self._contents.standing(target)
        if self._contents.is_published(target) and not self._stands(target):
            self._contents.withdraw(target)
        return standing

    def _stands(self, target: Target) -> bool:
        return not self._contents.places(target) or self._layout.stands(target)

    def begin(self, target: Target, queries: Sequence[Query], expected: int | None) -> None:
        """Note by which queries a target is read."""
        self._visited.add(target)
        self._contents.begin(target, queries, expected, self._clock.wall())

    async def write(self, query: Query, page: Page) -> None:
        """Append a page to the spool."""
        stored = self._spool.pack(page.text)
        try:
            self._spool.write(stored, self._contents.end)
        except OSError as error:
            raise self._workspace.failure(error) from error
        self._contents.add(query, page, stored, self._clock.wall())
        await self._save_soon()

    async def replace(self, queries: Sequence[Query], by: Query) -> None:
        """Drop what was written for some queries."""
        self._contents.replace(queries, by)

    async def finished(self, target: Target) -> None:
        """Note that a target was read whole."""
        self._contents.finish(target, self._clock.wall())
        await self._save_soon()

    async def publish(self, results: Results) -> Published:
        """Write the files under their names."""
        await self._commit()
        async with self._publishing:
            await in_thread(partial(self._publish, results))
        return self.published or Published()

    def stale(self, results: Results) -> Collection[Target | str]:
        """Return what was not read, and has files of an earlier sweep that stand."""
        return self._layout.stale(results)

    def discard(self) -> None:
        """Let go of what was read: the output is left as it is, and nothing is to resume."""
        try:
            self._journal.discard()
        except OSError as error:
            raise self._workspace.failure(error) from error
        self._discarded = True

    def finish_within(self, seconds: float) -> None:
        """Nothing to do: no page has to wait, and the last commit is not to be cancelled."""

    async def save_regularly(self) -> None:
        """Commit and publish every second, until cancelled.

        Pages and ends of targets do the same as they come; here it is done also while the
        targets that are left wait for a service that does not answer.
        """
        while True:
            await self._clock.sleep(_COMMIT_SECONDS)
            await self._save_soon()

    async def _save_soon(self) -> None:
        if self._clock.now() - self._committed < _COMMIT_SECONDS or self._committing.locked():
            return
        ready = self._ready()
        await self._commit()
        await self._publish_early(ready)

    def _ready(self) -> list[Target]:
        """Return complete targets that can be published before the sweep ends."""
        if not self._layout.early or self._publishing.locked():
            return []
        return [one for one in self._contents.unpublished() if one in self._visited]

    async def _publish_early(self, ready: Sequence[Target]) -> None:
        """Publish targets whose completeness is committed.

        Not to be cancelled, as a commit is not. The journal notes it with the next commit: a
        run that is killed before publishes the same bytes again.
        """
        if not ready:
            return
        with anyio.CancelScope(shield=True):
            async with self._publishing:
                await in_thread(partial(self._write_early, self._spooled(ready)))
                self._contents.publish(ready)

    def _write_early(self, complete: Spooled) -> None:
        writer = PartWriter(self._workspace, self._spool)
        try:
            self._layout.publish(writer, complete)
            writer.sync()
        except OSError as error:
            raise cannot_write(Path(error.filename or self._workspace.folder), error) from error

    def _spooled(self, targets: Iterable[Target]) -> Spooled:
        return {target: self._contents.places(target) for target in targets}

    async def _commit(self) -> None:
        """Make what was written durable, then say so in the journal.

        Not to be cancelled: a page that is noted here and not by its reader would be counted
        by no one.
        """
        with anyio.CancelScope(shield=True):
            async with self._committing:
                await self._commit_alone()

    async def _commit_alone(self) -> None:
        self._committed = self._clock.now()
        if not self._journal.is_open:
            return
        if self._journal.is_large:
            say = partial(self._journal.rewrite, self._everything())
        elif (record := self._contents.changes()) is not None:
            say = partial(self._journal.append, record)
        else:
            return
        try:
            await in_thread(partial(self._make_durable, say))
        except BaseException:
            # No record may follow one that is missing.
            self._journal.close()
            raise
        self._kept = not self._contents.is_blank

    def _open(self) -> None:
        """Take up what an unfinished run left, and begin a spool and a journal."""
        left = None
        self.ages = load_ages(self._workspace)
        if not self._fresh:
            left = take_up(
                self._workspace,
                self._journal,
                self._header.settings,
                between=anyio.from_thread.check_cancelled,
                max_age=self._max_age,
                now=self._clock.wall(),
            )
        if left is not None:
            before, self._contents = left
            self._header = replace(before, settings=self._header.settings)
            self._resumes = self._kept = True
            self._spool = Spool(self._workspace, packed=before.packed, segments=before.segments)
            self._spool.forget_unused(places for _, places in self._contents.all_places())
        self._workspace.claim()
        self._workspace.keep_only((JOURNAL, AGES, *(one.name for one in self._spool.segments)))
        if self.ages.read_at:
            save_ages(self._workspace, self.ages)
        self._spool.open(self._contents.end)
        self._header = replace(self._header, segments=self._spool.segments)
        self._workspace.check_owner()
        self._journal.rewrite(self._everything())

    def _everything(self) -> list[Record]:
        return [self._header.record(), self._contents.everything()]

    def _make_durable(self, say: Callable[[], None]) -> None:
        try:
            self._workspace.check_owner()
            self._spool.sync()
            say()
        except OSError as error:
            raise self._workspace.failure(error) from error

    def _publish(self, results: Results) -> None:
        complete = [one for one in results.complete if not self._contents.is_published(one)]
        # What an earlier run read of a target that is no longer wanted is none of ours.
        incomplete = {*self._contents.read_targets()} & self._visited - {*results.complete}
        writer = PartWriter(self._workspace, self._spool)
        try:
            spooled = self._spooled(complete), self._spooled(incomplete)
            published = self._layout.finish(writer, *spooled, results)
            writer.sync()
            self._workspace.check_owner()
            # First of all that is removed: a run that dies now must not leave it to the next.
            self._journal.discard()
            aside = {
                target: replace(one, severities=self._contents.severities(target))
                for target, one in published.aside.items()
            }
            # Here: whoever waits for it may be cancelled meanwhile.
            self.published = replace(published, aside=aside)
        except OSError as error:
            raise cannot_write(Path(error.filename or self._workspace.folder), error) from error

    def _close(self) -> None:
        self._journal.close()
        self._spool.close()
