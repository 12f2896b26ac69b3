"""Sweeps that are killed after some commits, on usual and unusual platforms."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from harvester.simulator import Behaviour, Organization, Simulator
from tests.e2e.support import EVERYTHING, Command, Done, organization, stop, until
from tests.e2e.unusual import ENVIRONMENT, PROGRAM

SLOW = Behaviour(latency=0.05)


def small(**changes: object) -> Organization:
    """Three accounts of one region, whose findings take some seconds to read slowly."""
    given = {"accounts": 3, "suspended": 0, "findings": 300, "regions": ("us-east-1",)}
    return organization(**{**given, "skew": 0.2, "empty_share": 0.0, **changes})


def work_of(folder: Path, output: str) -> Path:
    """The work folder of an output."""
    return (
        folder / output / ".harvester" if output.endswith("/") else folder / f".{output}.harvester"
    )


def arguments(output: str, *options: str) -> tuple[str, ...]:
    """A sweep of everything in small pages, in one chain for each account."""
    chains = ("--split", "none", "--page-size", "5")
    summary = ("--summary", "summary.json")
    return ("sweep", "-o", output, *summary, *EVERYTHING, *chains, *options)


def start(
    command: Command, simulator: Simulator | None, *given: str, unusual: str | None
) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    """A running command, perhaps where something is missing."""
    if unusual is None:
        return command.start(simulator, *given)
    return command.start(simulator, *given, program=(*PROGRAM, unusual), env=ENVIRONMENT)


async def run(
    command: Command, simulator: Simulator | None, *given: str, unusual: str | None = None
) -> Done:
    """Run a command to its end, perhaps where something is missing."""
    began = time.monotonic()
    async with start(command, simulator, *given, unusual=unusual) as process:
        return await command.finish(process, began)


async def cut_short(
    command: Command,
    simulator: Simulator,
    *given: str,
    journal: Path,
    unusual: str | None = None,
    by: signal.Signals = signal.SIGKILL,
    when: Callable[[], object] = lambda: True,
) -> Done:
    """Run a command, and end it by a signal once its journal has some records."""
    began = time.monotonic()
    async with start(command, simulator, *given, unusual=unusual) as process:
        await until(lambda: process.returncode is not None or (records(journal) >= 3 and when()))
        assert process.returncode is None, "it ended before it had committed much"
        stop(process, by)
        return await command.finish(process, began)


def records(journal: Path) -> int:
    """How many records a journal has."""
    try:
        return journal.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0
