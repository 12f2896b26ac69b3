"""What the commands `sweep` and `plan` do, from settings to an exit code."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Literal

import anyio
import orjson
from msgspec.structs import replace

from harvester.clock import Clock
from harvester.errors import HarvesterError, OutputClosedError
from harvester.memory import Memory, default_path
from harvester.model import Query, Target
from harvester.openfiles import raise_limit
from harvester.output.stdout import StdoutSink
from harvester.run import GRACE_SECONDS, Run
from harvester.settings import Settings
from harvester.summary import Problem, Summary, problem_of
from harvester.sweep import open_journey
from harvester.tally import Tally
from harvester.terminal.logs import configure_logs
from harvester.terminal.progress import show_progress

_PARTIAL = 3
_log = logging.getLogger("harvester")


def sweep_command(settings: Settings, progress: str, *, fresh: bool) -> int:
    """Sweep, print the summary on stderr, and return the exit code."""
    configure_logs(settings.log)
    _spare_the_collector()
    raise_limit()
    return anyio.run(partial(sweep_with_display, settings, progress, fresh=fresh))


def _spare_the_collector() -> None:
    """Look for cycles rarely: findings are trees, made and dropped by the ten thousand.

    A fifth of a page's CPU goes into the search otherwise where pages are decoded; where they are
    copied, nothing to speak of (bench/micro.py).
    Only the command does this; a program that uses the library keeps its own settings.
    """
    gc.set_threshold(50_000, 50, 100)


def plan_command(settings: Settings) -> int:
    """Print the plan on stdout, and return the exit code."""
    configure_logs(settings.log)
    return anyio.run(_plan, settings)


async def sweep_with_display(
    settings: Settings, progress: str, *, fresh: bool = False, simulated: bool = False
) -> int:
    """Sweep as the command does: with progress, signals, and a summary at the end.

    The rates of a `simulated` organization are not kept for the next run.

    Raises the project's errors where the sweep could not begin or not write.
    """
    memory = Memory(None if simulated else default_path())
    run = Run(settings, memory=memory, fresh=fresh)
    began = run.tally.now()
    failure: HarvesterError | None = None
    async with _stopped_by_signals(run) as caught:
        async with show_progress(run.tally, _how(settings, progress)):
            try:
                await run.perform()
            except HarvesterError as error:
                failure = error
        if not isinstance(failure, OutputClosedError) and (failure is None or run.tally.total):
            _say_summary(run, settings, run.tally.now() - began)
            _say_how_to_go_on(run, settings)
    status = run.summary().status
    if caught and status not in ("complete", "partial"):  # those were published before it came
        return 128 + caught[0]
    if failure is not None:
        raise failure
    return 0 if status == "complete" else _PARTIAL


@asynccontextmanager
async def _stopped_by_signals(run: Run) -> AsyncIterator[list[int]]:
    """Stop the run at the first SIGINT or SIGTERM, the process at the second.

    Yields the list of the signals that were caught.
    """
    caught: list[int] = []

    async def watch() -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                if caught:
                    signal.signal(number, signal.SIG_DFL)
                    os.kill(os.getpid(), number)
                caught.append(number)
                _log.warning("stopping: %s; once more to stop at once", number.name)
                run.stop(number.name, grace=GRACE_SECONDS)

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        try:
            yield caught
        finally:
            group.cancel_scope.cancel()


async def _plan(settings: Settings) -> int:
    limits = replace(settings.limits, processes=1)  # a plan is no work for several
    if settings.source is not None:
        _log.info("config %s", settings.source)
    settings = replace(settings, limits=limits)
    tally = Tally(Clock().now)
    with anyio.move_on_after(limits.deadline_seconds) as scope:
        async with open_journey(settings, tally, Clock()) as journey:
            plans = await journey.plan()
    if scope.cancelled_caught:
        _log.error("stopped by the deadline of %s: there is no whole plan", limits.deadline)
        return _PARTIAL
    if sys.stdout is not None and sys.stdout.isatty():
        from harvester.terminal.report import print_plan

        print_plan(plans)
    else:
        try:
            await StdoutSink().send(_plan_lines(plans))
        except OutputClosedError as error:
            return error.exit_code
    for warning in tally.warnings:
        _log.warning("%s", warning.message)
    for outcome in tally.problems:
        _print_problem(problem_of(outcome))
    _log.info(
        "%s targets, %s queries, %s failed, %s skipped",
        tally.total,
        sum(len(queries) for queries in plans.values()),
        tally.ended["failed"],
        tally.ended["skipped"],
    )
    if tally.nothing is not None:
        _log.warning("nothing is selected: %s", tally.nothing.message)
    return _PARTIAL if tally.problems or tally.nothing is not None else 0


def _plan_lines(plans: dict[Target, tuple[Query, ...]]) -> list[bytes]:
    return [
        orjson.dumps(
            {
                "account": target.account,
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


def _how(settings: Settings, progress: str) -> Literal["live", "lines", "off"]:
    if sys.stderr is None or settings.log.level == "error":
        return "off"
    # On one terminal with the findings, a display would be torn apart by them.
    shared = settings.output.kind == "stdout" and sys.stdout is not None and sys.stdout.isatty()
    if progress == "on" or (progress == "auto" and sys.stderr.isatty() and not shared):
        return "live"
    return "off" if progress == "off" else "lines"


def _say_summary(run: Run, settings: Settings, seconds: float) -> None:
    summary = run.summary()
    if sys.stderr is None:
        return
    if sys.stderr.isatty() and settings.log.level != "error" and settings.log.format == "text":
        from harvester.terminal.report import print_summary

        print_summary(
            summary,
            severities=run.tally.severities,
            slowest=run.tally.slowest,
            seconds=seconds,
            destination="stdout" if settings.output.kind == "stdout" else settings.output.path,
        )
    else:
        _log_summary(summary)


def _say_how_to_go_on(run: Run, settings: Settings) -> None:
    if run.summary().status in ("interrupted", "failed") and run.resumable:
        _log.warning(
            "unfinished: the same command resumes this sweep within %s; --fresh starts over",
            settings.limits.max_resume_age,
        )


def _log_summary(summary: Summary) -> None:
    for problem in summary.problems:
        if problem.account is not None:
            _print_problem(problem)
    _log.info("%s", summary)


def _print_problem(problem: Problem) -> None:
    _log.error(
        "%s %s at %s: %s: %s%s",
        problem.where,
        problem.status,
        problem.stage,
        problem.code,
        problem.message,
        f" → {problem.hint}" if problem.hint else "",
    )
