"""NDJSON to one file or a partitioned folder: resumable, and whole or not there at all."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio

from harvester.clock import Clock
from harvester.concurrency import in_thread
from harvester.errors import OutputError
from harvester.model import Page, Query, Standing, Target
from harvester.output.contents import Contents
from harvester.output.journal import Journal, Record, write_all
from harvester.output.publish import Parts, write_part
from harvester.output.resume import SPOOL, header, take_up
from harvester.output.workspace import Workspace, cannot_write, sync_folder

_COMMIT_SECONDS = 1.0
_log = logging.getLogger("harvester")


class FileSink:
    """Collects pages in a spool file and, at the end, writes each query's in one piece.

    The spool holds the pages in the order in which they arrived; per query it is known where
    they are. A query that starts over drops its places, and the same findings make the same
    file whatever their timing was.

    Every second, and when it ends, a run makes the spool durable and then says so in the
    journal beside it. What stands there is what the next run goes on with.

    Args:
        workspace: where spool and journal stand.
        parts: the files to write for the targets that were read.
        identity: the settings that decide what is read; a sweep that was begun with others
            is not gone on with.
        fresh: throw away what an earlier run left.
    """

    withdraws = True

    def __init__(
        self,
        workspace: Workspace,
        parts: Parts,
        *,
        identity: Mapping[str, Any] | None = None,
        fresh: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._workspace = workspace
        self._parts = parts
        self._identity = dict(identity or {})
        self._fresh = fresh
        self._clock = clock or Clock()
        self._journal = Journal(workspace)
        self._contents = Contents()
        self._begun = time.time()
        self._visited: set[Target] = set()
        self._spool: int | None = None
        self._committing = anyio.Lock()
        self._committed = 0.0
        self.published = False

    async def __aenter__(self) -> Self:
        """Lock the output, and take up what an unfinished run left."""
        self._workspace.open()
        try:
            left = None if self._fresh else take_up(self._workspace, self._journal, self._identity)
            if left is not None:
                self._begun, self._contents = left
            self._spool = self._workspace.create(SPOOL, keep=left is not None)
            os.ftruncate(self._spool, self._contents.end)
            self._journal.rewrite(self._everything())
        except BaseException as error:
            self._close()
            self._workspace.close()
            if isinstance(error, OSError):
                raise cannot_write(self._workspace.folder, error) from error
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
            if not self.published:
                await self._commit()
        except OutputError as failure:
            _log.debug("the last second is not kept: %s", failure)  # the disk is full, say
        finally:
            self._close()
            if self.published or self._contents.is_blank:
                self._workspace.remove()
            self._workspace.close()

    def standing(self, target: Target) -> Standing | None:
        """Return where an earlier run left a target."""
        self._visited.add(target)
        return self._contents.standing(target)

    def begin(self, target: Target, queries: Sequence[Query], expected: int | None) -> None:
        """Note by which queries a target is read."""
        self._visited.add(target)
        self._contents.begin(target, queries, expected)

    async def write(self, query: Query, page: Page) -> None:
        """Append a page to the spool."""
        try:
            write_all(self._file, page.text, self._contents.end)
        except OSError as error:
            raise cannot_write(self._workspace.folder / SPOOL, error) from error
        self._contents.add(query, page)
        if self._clock.now() - self._committed >= _COMMIT_SECONDS and not self._committing.locked():
            await self._commit()

    async def replace(self, queries: Sequence[Query], by: Query) -> None:
        """Drop what was written for some queries."""
        self._contents.replace(queries, by)

    async def finished(self, target: Target) -> None:
        """Note that a target was read whole."""
        self._contents.finish(target)

    async def publish(self, complete: Collection[Target]) -> None:
        """Write the files under their names."""
        await self._commit()
        await in_thread(partial(self._publish, complete))

    def finish_within(self, seconds: float) -> None:
        """Nothing to do: no page has to wait, and the last commit is not to be cancelled."""

    @property
    def _file(self) -> int:
        if self._spool is None:
            raise OutputError("the output is not open")
        return self._spool

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

    def _everything(self) -> list[Record]:
        return [header(self._begun, self._identity), self._contents.everything()]

    def _make_durable(self, say: Callable[[], None]) -> None:
        try:
            os.fdatasync(self._file)
            say()
        except OSError as error:
            raise cannot_write(self._workspace.folder, error) from error

    def _publish(self, complete: Collection[Target]) -> None:
        by_target = {target: self._contents.places(target) for target in complete}
        for target in self._contents.targets():
            # What an earlier run read of a target that is no longer wanted is none of ours.
            if target in self._visited:
                by_target.setdefault(target, self._contents.places(target))
        changed: set[Path] = set()
        try:
            for path, pieces in self._parts(by_target):
                if pieces is not None:
                    changed.update(write_part(self._workspace, self._file, path, pieces))
                    continue
                with suppress(FileNotFoundError):
                    path.unlink()
                    changed.add(path.parent)
            for folder in changed:
                sync_folder(folder)
            # First of all that is removed: a run that dies now must not leave it to the next.
            self._journal.discard()
            self.published = True  # here: whoever waits for it may be cancelled meanwhile
        except OSError as error:
            raise cannot_write(Path(error.filename or self._workspace.folder), error) from error

    def _close(self) -> None:
        self._journal.close()
        if self._spool is not None:
            os.close(self._spool)
            self._spool = None
