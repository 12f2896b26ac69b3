"""Every call of the write path failing or being the last, in turn; and the same command again."""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from harvester.simulator import Behaviour, Simulator
from tests.e2e.support import Command, Done, by_two, multiset, read_file, read_folder
from tests.torture.jobs import DESTINATIONS, Job, Site

_SMALL = {"accounts": 3, "suspended": 0, "regions": ("us-east-1",), "empty_share": 0.3, "seed": 5}
ERRNOS = ("ENOSPC", "EIO", "EMFILE")
SIGNALS = ("SIGTERM", "SIGKILL")
ERRORS = (*ERRNOS, *SIGNALS)
_TERMINATED = 128 + signal.SIGTERM
_BY_NUMBER = ("open", "listdir", "scandir")  # these take a descriptor


def small_job(destination: str, *, latency: float = 0.0) -> Job:
    """A sweep of few pages; with a latency, it lasts long enough to commit on its way."""
    return Job(
        0,
        destination,
        ("--split", "none"),
        ("--page-size", "20"),
        latency,
        spec={**_SMALL, "findings": 150},
    )


@dataclass(slots=True)
class FaultReport:
    """What became of the sweeps whose file system failed.

    Attributes:
        struck: which calls failed, and how.
        ends: how the runs ended: by what struck them, and exit code.
        wrong: what was wrong, in words.
    """

    struck: Counter[tuple[str, str]] = field(default_factory=Counter)
    ends: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


async def fail_each(job: Job, folder: Path, calls: Iterable[int]) -> FaultReport:
    """Run a job for each of these of its calls, which fails or is the last; then without a fault.

    The calls are counted from 1; those beyond a run's last are none.
    """
    report, over = FaultReport(), False
    folder.mkdir()
    async with Simulator(job.organization, behaviour=Behaviour(latency=job.latency)) as simulator:

        async def strike(number: int, error: str) -> str | None:
            site = Site(folder / f"{number}-{error}", job)
            return await _strike(site, simulator, (number, error), report)

        async def run(number: int) -> None:
            nonlocal over
            name = await strike(number, "EIO")
            if name is None:
                over = True
            else:
                await strike(number, "EMFILE" if name in _BY_NUMBER else "ENOSPC")
                for signal_ in SIGNALS:
                    await strike(number, signal_)

        def numbers() -> Iterator[int]:
            for number in calls:
                if over:
                    return
                yield number

        await by_two(run, numbers(), at_once=6)
    return report


async def _strike(
    site: Site, simulator: Simulator, fault: tuple[int, str], report: FaultReport
) -> str | None:
    """Let one call fail; returns its name, None where there are not so many."""
    number, error = fault
    done, struck = await _with_a_fault(site, simulator, at=number, error=error)
    if not struck:
        return None
    name = struck.split()[0]
    report.struck[name, error] += 1
    report.ends[error, done.code] += 1
    where = f"call {number}, {error} in {struck.strip()}"
    after = after_a_signal if error in SIGNALS else after_a_fault
    report.wrong += [f"{where}: {what}" for what in after(site, done)]
    again = await _run(site, simulator, "-m", "harvester")
    report.wrong += [f"{where}, and after it: {what}" for what in after_all(site, again)]
    return name


async def _with_a_fault(site: Site, simulator: Simulator, **plan: str | int) -> tuple[Done, str]:
    """Run the job's command with a fault; returns also what it struck, if anything."""
    folder = site.command.folder
    log = folder.with_name(f"{folder.name}.log")
    whole = json.dumps({"below": f"{folder}", "log": f"{log}", **plan})
    done = await _run(site, simulator, "-m", "tests.torture.failing", whole)
    return done, log.read_text()


async def a_signal_comes_too_late(command: Command, rng: random.Random) -> None:
    """All of it has appeared: the run is complete, and there is nothing to go on with."""
    job = small_job(rng.choice([name for name in DESTINATIONS if name.startswith("one file")]))
    async with Simulator(job.organization) as simulator:
        for call in ("unlink", "rmdir"):  # of the journal, and of the folder
            site = Site(command.folder / call, job)
            done, struck = await _with_a_fault(site, simulator, call=call, at=1, error="SIGTERM")
            assert struck
            assert done.code == 0, done.err
            assert done.summary["status"] == "complete"
            assert not [*after_all(site, done)]


async def _run(site: Site, simulator: Simulator, *how: str) -> Done:
    environment = {"PYTHONPATH": f"{Path(__file__).parents[2]}"}
    return await run(site, simulator, sys.executable, *how, env=environment)


async def run(
    site: Site, simulator: Simulator, *program: str, env: Mapping[str, str] | None = None
) -> Done:
    """Run the job's command by way of a program that starts it."""
    began = time.monotonic()
    async with site.command.start(
        simulator, *site.job.arguments, program=program, env=env
    ) as process:
        return await site.command.finish(process, began)


def after_a_fault(site: Site, done: Done) -> Iterator[str]:
    """Yield what is wrong after a run that met a fault of the file system."""
    if done.code not in (0, 5):
        yield f"ended with {done.code}: {done.err[-500:]}"
    said = [line for line in done.err.splitlines() if line.startswith("harvester: ")]
    if len(said) != (done.code == 5):
        yield f"said {said}"
    status = _status(site)
    # A disk that is full has no room for the summary of a run that failed either.
    if status not in ("complete", "failed", *((None, "running") if done.code else ())):
        yield f"the summary says {status}"
    if (status == "complete" or done.code == 0) and (what := _differs(site)):
        yield f"called complete, and {what}"
    files = site.files()
    if files and site.output.is_file() and (what := _differs(site)):
        yield f"there is a file, and {what}"


def after_a_signal(site: Site, done: Done) -> Iterator[str]:
    """Yield what is wrong after a run that was killed, or asked to end."""
    status, files = _status(site), site.files()
    if done.code not in (0, _TERMINATED, -signal.SIGTERM, -signal.SIGKILL):
        yield f"ended with {done.code}: {done.err[-500:]}"
    if done.code == _TERMINATED and status != "interrupted":
        yield f"ended with {done.code}, and the summary says {status}"
    if done.code == _TERMINATED and files and not site.journal.exists():
        yield f"ended with {done.code}, and there is nothing to go on with"
    if (status == "complete" or done.code == 0) and (what := _differs(site)):
        yield f"called complete, and {what}"
    if files and site.output.is_file() and (what := _differs(site)):
        yield f"there is a file, and {what}"


def _status(site: Site) -> str | None:
    summary = site.command.folder / "summary.json"
    return str(orjson.loads(summary.read_bytes())["status"]) if summary.exists() else None


def after_all(site: Site, done: Done) -> Iterator[str]:
    """Yield what is wrong after a run without a fault."""
    if done.code != 0:
        yield f"ended with {done.code}: {done.err[-500:]}"
    elif what := _differs(site):
        yield what
    if left := site.beside():
        yield f"left: {sorted(left)}"


def _differs(site: Site) -> str:
    if not site.output.exists():
        return "there is no output"
    read = read_file(site.output) if site.output.is_file() else read_folder(site.output)
    found, wanted = multiset(read), site.job.truth
    if found == wanted:
        return ""
    return f"{(wanted - found).total()} are missing, {(found - wanted).total()} too many"
