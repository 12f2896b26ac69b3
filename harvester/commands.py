"""What the commands `sweep` and `plan` do, from settings to an exit code."""

from __future__ import annotations

import gc
import logging
import signal
import sys
from collections.abc import Mapping
from functools import partial

import anyio
import orjson
from msgspec.structs import replace

from harvester._version import __version__
from harvester.clock import Clock
from harvester.errors import HarvesterError, OutputClosedError
from harvester.eventlog import EventLog
from harvester.events import Event, Events, TargetFinished
from harvester.invocation import Invocation
from harvester.memory import Memory, default_path
from harvester.model import Query, Target
from harvester.openfiles import raise_limit
from harvester.output.stdout import StdoutSink
from harvester.run import GRACE_SECONDS, Run
from harvester.settings import Settings
from harvester.sweep import open_journey
from harvester.tally import Tally
from harvester.terminal.logs import configure_logs
from harvester.terminal.progress import ProgressMode, can_redraw, show_progress

_PARTIAL = 3
_log = logging.getLogger("harvester")


def sweep_command(
    settings: Settings, progress: str, *, fresh: bool, invocation: Invocation | None = None
) -> int:
    """Sweep, print the summary on stderr, and return the exit code."""
    invocation = started(settings, invocation)
    _spare_the_collector()
    raise_limit()
    return anyio.run(
        partial(sweep_with_display, settings, progress, fresh=fresh, invocation=invocation)
    )


def started(settings: Settings, invocation: Invocation | None) -> Invocation:
    """Configure the logs of a command whose settings are known, and return its invocation."""
    invocation = invocation or Invocation()
    invocation.log_format = settings.log.format
    configure_logs(settings.log, run_id=invocation.run_id, tables=_has_tables(settings))
    return invocation


def _spare_the_collector() -> None:
    """Look for cycles rarely: findings are trees, made and dropped by the ten thousand.

    A fifth of a page's CPU goes into the search otherwise where pages are decoded; where they are
    copied, nothing to speak of (bench/micro.py).
    Only the command does this; a program that uses the library keeps its own settings.
    """
    gc.set_threshold(50_000, 50, 100)


def plan_command(settings: Settings, *, invocation: Invocation | None = None) -> int:
    """Print the plan on stdout, and return the exit code."""
    return anyio.run(_plan, settings, started(settings, invocation))


async def sweep_with_display(
    settings: Settings,
    progress: str,
    *,
    fresh: bool = False,
    simulated: bool = False,
    invocation: Invocation | None = None,
) -> int:
    """Sweep as the command does: with progress, signals, and a summary at the end.

    The rates of a `simulated` organization are not kept for the next run.

    Raises the project's errors where the sweep could not begin or not write.
    """
    memory = Memory(None if simulated else default_path())
    invocation = invocation or Invocation()
    run = Run(settings, memory=memory, fresh=fresh, run_id=invocation.run_id)
    failure: HarvesterError | None = None
    signals = invocation.signals
    with signals.stopping(partial(_stop, run)):
        async with show_progress(run.tally, progress_mode(settings, progress)):
            try:
                await run.perform()
            except HarvesterError as error:
                failure = error
        closed = isinstance(failure, OutputClosedError)
        if _has_tables(settings) and not closed and (failure is None or run.tally.total):
            _print_tables(run, settings)
    status = run.summary().status
    if signals.caught and status not in ("complete", "partial"):
        # The others were published before the signal came.
        return 128 + signals.caught[0]
    if failure is not None:
        raise failure
    return 0 if status == "complete" else _PARTIAL


def _stop(run: Run, number: signal.Signals) -> None:
    _log.warning(
        "%s: finishing requests in flight; a second signal ends the process at once",
        number.name,
        extra={"event": "stopping", "reason": number.name},
    )
    run.stop(number.name, grace=GRACE_SECONDS)


async def _plan(settings: Settings, invocation: Invocation) -> int:
    limits = replace(settings.limits, processes=1)  # a plan is no work for several
    source = settings.source
    settings = replace(settings, limits=limits)
    _log.info(
        "harvester %s, run %s: planning%s",
        __version__,
        invocation.run_id,
        f", config {source}" if source else "",
        extra={"event": "plan_started", "version": __version__, "config": source},
    )
    tally = Tally(Clock().now)
    log = EventLog(invocation.run_id)
    emit = Events((tally, lambda event: None if _is_of_reading(event) else log(event)))
    code: int | None = None
    with (
        anyio.move_on_after(limits.deadline_seconds),
        invocation.signals.stopping(lambda _: scope.cancel()),
        anyio.CancelScope() as scope,
    ):
        async with open_journey(settings, tally, Clock(), emit=emit) as journey:
            plans = await journey.plan()
        code = await _show_plan(plans, tally)
    return _unplanned(settings, invocation) if code is None else code


def _unplanned(settings: Settings, invocation: Invocation) -> int:
    """Tell why there is no whole plan, and return the exit code."""
    caught = invocation.signals.caught
    if caught:
        fields = {"event": "interrupted", "reason": caught[0].name}
        _log.warning("%s: stopped, there is no whole plan", caught[0].name, extra=fields)
        return 128 + caught[0]
    fields = {"event": "interrupted", "reason": "deadline"}
    message = "stopped by the deadline of %s: there is no whole plan"
    _log.error(message, settings.limits.deadline, extra=fields)
    return _PARTIAL


async def _show_plan(plans: dict[Target, tuple[Query, ...]], tally: Tally) -> int:
    if sys.stdout is not None and sys.stdout.isatty():
        from harvester.terminal.report import print_plan

        print_plan(plans, tally.names)
    else:
        try:
            await StdoutSink().send(_plan_lines(plans, tally.names))
        except OutputClosedError as error:
            return error.exit_code
    queries = sum(len(one) for one in plans.values())
    counts = {"targets": tally.total, "queries": queries, **tally.ended}
    _log.info(
        "%s targets, %s queries, %s failed, %s skipped",
        tally.total,
        queries,
        tally.ended["failed"],
        tally.ended["skipped"],
        extra={"event": "plan_finished", **counts},
    )
    return _PARTIAL if tally.problems or tally.nothing is not None else 0


def _is_of_reading(event: Event) -> bool:
    """Whether an event says that a target was read, which a plan does not do."""
    return isinstance(event, TargetFinished) and event.outcome.status == "complete"


def _plan_lines(plans: Mapping[Target, tuple[Query, ...]], names: Mapping[str, str]) -> list[bytes]:
    return [
        orjson.dumps(
            {
                "account": target.account,
                "account_name": names.get(target.account),
                "region": target.region,
                "queries": [_as_plan(query) for query in plans[target]],
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
        for target in sorted(plans)
    ]


def _as_plan(query: Query) -> dict[str, object]:
    filters = [{"name": query.name, "values": [query.value]}] if query.name else []
    conditions = {condition.name: condition.values for condition in query.conditions}
    return {"filters": filters, "conditions": conditions}


def progress_mode(settings: Settings, progress: str) -> ProgressMode:
    """Return how progress is shown, where `progress` is `on`, `off` or `auto`."""
    if sys.stderr is None or settings.log.level == "error" or progress == "off":
        return "off"
    # On one terminal with the findings, a display would be torn apart by them.
    shared = settings.output.kind == "stdout" and sys.stdout is not None and sys.stdout.isatty()
    if (
        settings.log.format == "text"
        and can_redraw(sys.stderr)
        and (progress == "on" or not shared)
    ):
        return "live"
    return "often" if progress == "on" else "lines"


def _has_tables(settings: Settings) -> bool:
    """Whether the summary is printed as tables, for a person."""
    if settings.log.level == "error" or settings.log.format != "text":
        return False
    return sys.stderr is not None and sys.stderr.isatty()


def _print_tables(run: Run, settings: Settings) -> None:
    from harvester.terminal.report import print_summary

    to_stdout = settings.output.kind == "stdout"
    try:
        print_summary(
            run.summary(),
            slowest=run.tally.slowest,
            destination="stdout" if to_stdout else settings.output.path,
            resume_within=settings.limits.max_resume_age if run.resumable else None,
        )
    except Exception:  # noqa: BLE001  # the result of the sweep does not depend on it
        _log.exception("the summary cannot be shown", extra={"event": "display_failed"})
