"""One run from its beginning to its summary; the library's `run_sweep` and `open_sweep`."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from inspect import iscoroutinefunction
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import anyio
from aiobotocore.session import AioSession
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from msgspec.structs import asdict, replace

from harvester._version import __version__
from harvester.aws.bodies import decode_line
from harvester.clock import Clock
from harvester.concurrency import in_thread, plain_errors
from harvester.errors import HarvesterError, OutputError, SettingsError, UsageError
from harvester.eventlog import EventLog
from harvester.events import (
    Events,
    Listener,
    SweepFinished,
    SweepResumed,
    SweepStarted,
    TargetFinished,
)
from harvester.finding import Finding
from harvester.memory import Memory
from harvester.output.open import sink_for
from harvester.output.quarantine import quarantine_for
from harvester.output.results import Published, Results
from harvester.output.sink import Sink, StreamSink
from harvester.output.workspace import absolute
from harvester.publication import events_of, kept_of, not_replaced, results_of, standing_since
from harvester.settings import Settings, check_settings, selection
from harvester.summary import (
    BY_CALLER,
    Summary,
    SweepStatus,
    summarize,
    unfinished,
)
from harvester.summary_file import check_summary_path, withdraw_summary, write_summary
from harvester.sweep import Journey, open_journey
from harvester.tally import Tally, code_of
from harvester.timestamps import iso

GRACE_SECONDS = 3.0
"""How long a run that is to stop waits for calls under way. Five seconds are what a scheduler
may be counted on to give, and the output has to be made durable in them as well."""

_LINES_AT_ONCE = 500  # decoded in one turn of the event loop
_log = logging.getLogger("harvester")


class Run:
    """One sweep of what `settings` say, into `sink` or else the settings' output.

    `memory` holds the rates that earlier runs learned, and takes those that this one learns.

    Attributes:
        tally: the counts so far; may be read at any time.

    Raises:
        SettingsError: the settings contradict each other or hold wrong values.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        sink: Sink | None = None,
        memory: Memory | None = None,
        fresh: bool = False,
        on_event: Listener | None = None,
        session: AioSession | None = None,
        run_id: str | None = None,
    ) -> None:
        listener: object = on_event
        if listener is not None and (not callable(listener) or iscoroutinefunction(listener)):
            raise UsageError("on_event: a plain function that takes one event is needed")
        self._settings = with_session(check_settings(settings), session)
        self._session = session
        self._sink = sink
        self._fresh = fresh
        self._memory = memory or Memory()
        self._clock = Clock()
        self.tally = Tally(self._clock.now)
        self._run_id = run_id or str(uuid.uuid4())
        self._emit = Events((self.tally, EventLog(self._run_id)), on_event)
        self._started = datetime.now(UTC)
        self._scope: anyio.CancelScope | None = None
        self._stopped = False
        self._journey: Journey | None = None
        self._output: Sink | None = None
        self._status: SweepStatus = "interrupted"
        self._reason: HarvesterError | str | None = None
        self._finished: datetime | None = None
        self._published: Published | None = None
        self._since: datetime | None = None
        self._timed_out = False

    @property
    def resumable(self) -> bool:
        """Whether the same command will find something to resume."""
        return self._output is not None and self._output.resumable

    def stop(self, reason: str, *, grace: float = 0.0) -> None:
        """Stop the run: its summary will say `interrupted`, and name `reason`.

        Pages whose calls are under way are waited for, at most `grace` seconds, and written.
        """
        self._reason = self._reason or reason
        if self._journey is not None and grace:
            self._journey.finish_within(grace)
        if self._output is not None and grace:
            self._output.finish_within(grace)
        self._stopped = True
        if self._scope is not None:
            self._scope.cancel()

    def enter(self) -> None:
        """Note that the run is about to be performed."""
        self._status = "running"

    def leave(self) -> None:
        """Note that the run will not be performed, unless it was."""
        if self._status == "running":
            self._status, self._finished = "interrupted", datetime.now(UTC)

    async def perform(self) -> Summary:
        """Sweep, write the output and the summary, and return the summary.

        Raises:
            StartError: the sweep could not begin.
            OutputError: the output or the summary cannot be written.
            SettingsError: a setting turned out to be wrong before anything was read.
        """
        summary_path = self._settings.output.summary
        if summary_path is not None:
            try:
                check_summary_path(summary_path, self._folder)
            except OutputError:
                withdraw_summary(summary_path)  # it is of an earlier run
                raise
        self._status = "running"
        self._emit(self._started_event())
        try:
            await in_thread(partial(self._begin, self.summary(), summary_path))
            await self._sweep()
        except Exception as error:
            self._status = "failed"
            self._reason = (
                error
                if isinstance(error, HarvesterError)
                else HarvesterError(f"a defect of harvester: {type(error).__name__}")
            )
            raise
        finally:
            try:
                self._end()
            finally:
                with anyio.CancelScope(shield=True):
                    await in_thread(partial(self._keep, self.summary(), summary_path))
        return self.summary()

    def _begin(self, summary: Summary, path: str | None) -> None:
        if path is not None:
            write_summary(summary, path)
        self._memory.load()

    def _keep(self, summary: Summary, path: str | None) -> None:
        self._memory.save()
        if path is not None:
            write_summary(summary, path)

    def _end(self) -> None:
        if self._status == "running":  # cancelled, by `stop` or by whoever awaits it
            self._status = "interrupted"
        if self._output is not None:
            self._emit_resumed(self._output)
        for outcome in unfinished(self.tally, self._reason):
            self._emit(TargetFinished(outcome=outcome))
        if self._published is None and self._journey is not None and self._output is not None:
            results = self._results(self._journey)
            for event in kept_of(self._output.stale(results)):
                self._emit(event)
        replaced = self._published is not None and self._published.written
        if self._sink is None and not replaced:
            self._since = standing_since(self._settings.output)
        if self._status == "interrupted" and self._timed_out and self._is_single_file:
            self._emit(not_replaced(self._settings, self._since))
        self._finished = datetime.now(UTC)
        summary = self.summary()
        self._emit(
            SweepFinished(
                run_id=self._run_id,
                status=summary.status,
                findings=summary.findings,
                seconds=summary.seconds,
                pages=summary.pages,
                requests=summary.requests,
                throttled=summary.throttled,
                retries=summary.retries,
                targets=asdict(summary.targets),
                resume_within=self._resume_within,
                code=code_of(self._reason) if isinstance(self._reason, HarvesterError) else None,
            )
        )

    def _started_event(self) -> SweepStarted:
        return SweepStarted(
            run_id=self._run_id,
            started_at=iso(self._started),
            version=__version__,
            destination=self._destination,
            selection=selection(self._settings),
            config=self._settings.source,
        )

    def summary(self) -> Summary:
        """Return the summary of the run as it stands, or as it ended."""
        return summarize(
            self.tally,
            run_id=self._run_id,
            started=self._started,
            finished=self._finished,
            status=self._status,
            reason=self._reason,
            destination=self._destination,
            output_since=self._since,
        )

    @property
    def _resume_within(self) -> str | None:
        unfinished_run = self._status in ("interrupted", "failed")
        within = self._settings.limits.max_resume_age
        return within if unfinished_run and self.resumable else None

    @property
    def _folder(self) -> Path | None:
        """The directory that the findings go to, None where they go elsewhere."""
        output = self._settings.output
        return absolute(output.path) if self._sink is None and output.kind == "folder" else None

    @property
    def _is_single_file(self) -> bool:
        return self._sink is None and self._settings.output.kind == "file"

    @property
    def _destination(self) -> str:
        if self._sink is not None:
            return ""
        output = self._settings.output
        return "-" if output.kind == "stdout" else str(absolute(output.path))

    async def _sweep(self) -> None:
        quarantine = quarantine_for(self._settings.output, stream=self._sink is not None)
        self._scope = anyio.CancelScope()  # not before: it belongs to an event loop
        if self._stopped:
            self._scope.cancel()
        with self._scope, self._stopped_at_deadline():
            async with (
                self._sink
                or sink_for(self._settings, fresh=self._fresh, run_id=self._run_id) as sink,
                open_journey(
                    self._settings,
                    self.tally,
                    self._clock,
                    self._memory,
                    emit=self._emit,
                    session=self._session,
                ) as journey,
            ):
                self._journey, self._output = journey, sink
                self._emit_resumed(sink)
                quarantine.clear()
                await _beside(sink.save_regularly, partial(journey.sweep, sink, quarantine))
                if self.tally.nothing is not None:
                    if sink.resumed is None:  # the sweep that this run resumed stays resumable
                        sink.discard()
                    self._status = "partial"
                    return
                try:
                    await sink.publish(self._results(journey))
                finally:
                    # Also if it is stopped too late: then everything has appeared.
                    if sink.published is not None:
                        self._take(sink.published)

    def _emit_resumed(self, sink: Sink) -> None:
        """Emit that the run continues another one, if it does; at the end its oldest page is known."""
        if (found := sink.resumed) is not None:
            oldest = None if found.oldest is None else iso(_moment(found.oldest))
            self._emit(SweepResumed(began_at=iso(_moment(found.begun)), oldest_read_at=oldest))

    def _results(self, journey: Journey) -> Results:
        return results_of(self.tally, journey.regions, self._settings.regions.exclude)

    def _take(self, published: Published) -> None:
        self._published = published
        for event in events_of(published):
            self._emit(event)
        self._status = "partial" if self.tally.problems else "complete"

    @contextmanager
    def _stopped_at_deadline(self) -> Iterator[None]:
        seconds = self._settings.limits.deadline_seconds
        if seconds is None:
            yield
            return
        timer = asyncio.get_running_loop().call_later(seconds, self._time_out)
        try:
            yield
        finally:
            timer.cancel()

    def _time_out(self) -> None:
        self._timed_out = True
        reason = f"the deadline of {self._settings.limits.deadline}"
        _log.warning("stopped by %s", reason, extra={"event": "stopping", "reason": reason})
        self.stop(reason, grace=GRACE_SECONDS)


async def _beside(
    other: Callable[[], Coroutine[Any, Any, None]], work: Callable[[], Awaitable[None]]
) -> None:
    """Await `work()`, and `other()` beside it until then."""
    async with plain_errors(), anyio.create_task_group() as group:
        group.start_soon(other)
        await work()
        group.cancel_scope.cancel()


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


class Sweep:
    """A sweep whose findings are iterated over: see `open_sweep`."""

    def __init__(
        self,
        settings: Settings,
        *,
        on_event: Listener | None = None,
        session: AioSession | None = None,
    ) -> None:
        self._sink = _IteratorSink()
        self._run = Run(settings, sink=self._sink, on_event=on_event, session=session)
        self._pages: MemoryObjectReceiveStream[list[Finding]] | None = None
        self._failure: HarvesterError | None = None
        self._group: TaskGroup | None = None
        self._entered = False
        self._page: deque[Finding] = deque()

    @property
    def summary(self) -> Summary:
        """The summary as it stands; final once the iteration ended or the block was left.

        Its status is `running` until then.
        """
        return self._run.summary()

    async def __aenter__(self) -> Self:
        """Begin to sweep.

        Raises:
            UsageError: the sweep was entered before, or another library than asyncio runs.
        """
        _need_asyncio()
        if self._entered:
            raise UsageError("this sweep was used before: make another one with open_sweep")
        self._entered = True
        self._run.enter()
        # A page ready beside the one being consumed; more would only be memory.
        self._sink.pages, self._pages = anyio.create_memory_object_stream[list[Finding]](1)
        self._group = await anyio.create_task_group().__aenter__()
        self._group.start_soon(self._perform, self._sink.pages)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        """Stop what is under way, and wait until nothing of it is left."""
        group, self._group = self._group, None
        pages, self._pages = self._pages, None
        if group is None or pages is None:
            return None
        self._run.stop(BY_CALLER)
        try:
            with pages:  # closed last: those who wait to send must be cancelled, not refused
                if isinstance(error, anyio.get_cancelled_exc_class()):
                    return await group.__aexit__(kind, error, trace)
                # Any other error of the block passes as it is, not wrapped in a group.
                await group.__aexit__(None, None, None)
            return None
        finally:
            self._run.leave()

    def __aiter__(self) -> AsyncIterator[Finding]:
        """Iterate over the findings, each a dict as a line of output would hold it.

        Raises:
            UsageError: outside of the `async with` block.
        """
        self._must_be_open()
        return self

    async def __anext__(self) -> Finding:
        """Return the next finding.

        Raises:
            StartError, SettingsError: the sweep could not begin.
            UsageError: outside of the `async with` block.
        """
        self._must_be_open()
        while not self._page:
            try:
                page = await self._pages.receive() if self._pages else None
            except (anyio.EndOfStream, anyio.ClosedResourceError):
                page = None
            if page is None:
                if self._failure is not None:
                    raise self._failure
                raise StopAsyncIteration
            self._page.extend(page)  # several tasks may iterate: another one may have filled it
        return self._page.popleft()

    def _must_be_open(self) -> None:
        if self._group is not None:
            return
        if self._entered:
            raise UsageError("this sweep is over: make another one with open_sweep")
        raise UsageError(
            "a sweep has to be entered first: "
            "async with harvester.open_sweep(settings) as sweep: async for finding in sweep: …"
        )

    async def _perform(self, pages: MemoryObjectSendStream[list[Finding]]) -> None:
        with pages:
            try:
                await self._run.perform()
            except HarvesterError as error:
                self._failure = error


class _IteratorSink(StreamSink):
    pages: MemoryObjectSendStream[list[Finding]]

    async def send(self, lines: list[bytes]) -> None:
        for start in range(0, len(lines), _LINES_AT_ONCE):
            findings = list(map(decode_line, lines[start : start + _LINES_AT_ONCE]))
            await self.pages.send(cast("list[Finding]", findings))


def with_session(settings: Settings, session: AioSession | None) -> Settings:
    """Return settings for a session of the application, whose profile configures the way to AWS.

    Raises:
        SettingsError: the settings name a profile too.
    """
    if session is None:
        return settings
    if not isinstance(session, AioSession):
        raise UsageError(
            f"session: {type(session).__name__} is not an aiobotocore session: "
            "use aiobotocore.session.get_session()"
        )
    if settings.aws.profile is not None:
        raise SettingsError(
            f"{settings.name_of('aws.profile')}: {settings.aws.profile!r} and the given session "
            "contradict each other: leave one of them out"
        )
    return replace(settings, aws=replace(settings.aws, profile=session.profile))


def _need_asyncio() -> None:
    """Raise UsageError where no event loop of asyncio runs."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise UsageError(
            "harvester needs a running asyncio event loop (aiobotocore supports no other): "
            "asyncio.run(main()), or anyio.run(main, backend='asyncio')"
        ) from None


def open_sweep(
    settings: Settings, *, on_event: Listener | None = None, session: AioSession | None = None
) -> Sweep:
    """Return a sweep as an async context manager and an async iterator of findings.

    ```python
    async with open_sweep(settings) as sweep:
        async for finding in sweep:
            ...
    print(sweep.summary)
    ```

    The settings' output is not used; reading goes on only as fast as findings are taken.
    Leaving the loop or the block early stops the sweep and leaves nothing behind. Where the
    block stands in an async generator, close that one (`contextlib.aclosing`): one that is
    merely dropped is finished by the event loop, in another task, as with any task group.

    Args:
        settings: the selection, the limits and the way to AWS.
        on_event: takes each event (`harvester.events`) on the event loop, as it happens; it has
            to return soon.
        session: an aiobotocore session whose credentials and region are used, in place of the
            SDK's own chain; settings must name no profile then.

    Raises:
        SettingsError: the settings contradict each other or hold wrong values.
        StartError: from the iteration, where the sweep could not begin.
        UsageError: from the iteration, outside of the `async with` block; a sweep is used once.
    """
    return Sweep(settings, on_event=on_event, session=session)


async def run_sweep(
    settings: Settings,
    *,
    fresh: bool = False,
    on_event: Listener | None = None,
    session: AioSession | None = None,
) -> Summary:
    """Sweep into the settings' output, as the command does, and return the summary.

    An unfinished sweep of the same output is resumed, unless a `fresh` one is asked for.
    `on_event` and `session` are as for `open_sweep`.

    A target that failed is a problem in the summary, not an error. Raises:
        SettingsError: the settings contradict each other or hold wrong values.
        StartError: the sweep could not begin.
        OutputError: the output or the summary cannot be written, or is in use.
        UsageError: no event loop of asyncio runs.
    """
    _need_asyncio()
    return await Run(settings, fresh=fresh, on_event=on_event, session=session).perform()
