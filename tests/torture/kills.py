"""Sweeps that are killed at random moments, and resumed until they are done."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from harvester.output.journal import DamagedJournalError
from harvester.output.spool import DamagedSpoolError
from harvester.simulator import Behaviour, RequestRecord, Simulator
from tests.e2e.support import Done, multiset, pages_asked, pages_of, read_file, read_folder
from tests.torture.jobs import Job, Site
from tests.torture.moments import MOMENTS, Moment, Moments, Watch

_LONGEST_WAIT = 60.0
HOW = ("kill -9", "SIGTERM", "SIGTERM, kill -9")
_TERMINATED = 128 + signal.SIGTERM
_ENDED_BY = {0, -signal.SIGKILL, -signal.SIGTERM, _TERMINATED}
SECONDS = 2.0
"""How much of the latest work a killed run may have to do again."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What an undisturbed run gave: the files, and how many calls it took.

    `start` are those that a run makes before it goes on with what another has read: who, where
    and how, all but the pages; and a count for each target, whose first count is not known.
    """

    files: dict[str, bytes]
    calls: int
    start: int


@dataclass(slots=True)
class Report:
    """What became of one job.

    Attributes:
        kills: by moment and signal.
        looks: how often the output and the journal were looked at after a kill.
        missing, doubled: findings, in the end.
        wrong: what else was wrong, in words.
        calls: of all runs together.
        undisturbed: of an undisturbed run, for each time that the job was done whole.
        allowed: what the kills may have cost beside these.
    """

    job: Job
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    looks: int = 0
    missing: int = 0
    doubled: int = 0
    wrong: list[str] = field(default_factory=list)
    calls: int = 0
    undisturbed: int = 0
    allowed: int = 0

    def check(self, true: object, what: str) -> None:
        """Note what is wrong unless something is true."""
        if not true:
            self.wrong.append(what)


async def undisturbed(job: Job, folder: Path) -> Reference:
    """Run a job to its end, without a wait and without a kill."""
    site = Site(folder, job)
    async with Simulator(job.organization) as simulator:
        done = await site.command(simulator, *job.arguments)
        calls = len(simulator.requests)
        start = calls - len(pages_asked(simulator)) + len(list(job.organization.places()))
    assert done.code == 0, done.err
    return Reference(site.files(), calls, start)


async def torture(
    job: Job, folder: Path, *, kills: int, rng: random.Random, moments: Moments = MOMENTS
) -> Report:
    """Kill a job so many times, if it takes that long; resume it; and look at what it gives."""
    report, site = Report(job), Site(folder, job)
    reference = await undisturbed(job, folder.with_name(f"{folder.name}-undisturbed"))
    if job.old:
        site.put_old(reference.files)
    report.undisturbed = reference.calls
    async with Simulator(job.organization, behaviour=Behaviour(latency=job.latency)) as simulator:
        watch = Watch(site, simulator, rng, reference.calls)
        done = False
        while not done and report.kills.total() < kills:
            moment, before = rng.choice(list(moments)), len(simulator.requests)
            how = rng.choices(HOW, (6, 3, 1))[0]
            ended = await _run_and_kill(watch, how, moments[moment])
            report.check(ended.code in _ENDED_BY, f"killed, it ended with {_end_of(ended)}")
            if ended.code == _TERMINATED:
                said = ended.summary["status"]
                report.check(said == "interrupted", f"terminated, the summary says {said}")
            report.kills[moment, how] += ended.code != 0
            report.allowed += _latest(simulator.requests[before:]) + reference.start
            _look(site, reference, report)
            done = ended.code == 0
            if _is_published(site):
                done = not site.beside()
                report.undisturbed += 0 if done else reference.calls
        if not done:
            ended = await site.command(simulator, *job.arguments)
            report.check(ended.code == 0, f"ended with {_end_of(ended)}")
        if ended.code == 0:  # else it was killed just before it said so
            said = ended.summary["status"], ended.summary["findings"]
            true = said == ("complete", job.truth.total())
            report.check(true, f"the summary says {said}")
        report.calls = len(simulator.requests)
    _judge(site, reference, report)
    return report


def _end_of(done: Done) -> str:
    return f"{done.code}: {done.err[-300:]}"


def _latest(asked: Sequence[RequestRecord]) -> int:
    """How many pages a run asked for in the seconds whose work may be done again."""
    since = time.time() - SECONDS
    return sum(one.time >= since for one in pages_of(asked))


def _is_published(site: Site) -> bool:
    files = site.files()
    return bool(files) and not site.journal.exists() and set(files.values()) != {b"old\n"}


async def _run_and_kill(watch: Watch, how: str, moment: Moment) -> Done:
    """Start the command and kill it at a moment, unless it ends before."""
    site, began = watch.site, time.monotonic()
    async with site.command.start(watch.simulator, *site.job.arguments) as process:
        ended = asyncio.ensure_future(process.wait())
        async with asyncio.timeout(_LONGEST_WAIT):
            await moment(replace(watch, ended=ended.done))
        with suppress(ProcessLookupError):  # it may have ended
            process.send_signal(signal.SIGKILL if how == "kill -9" else signal.SIGTERM)
            if how == "SIGTERM, kill -9":
                await asyncio.sleep(watch.rng.uniform(0.0, 0.3))
                process.kill()
        await ended
        return await site.command.finish(process, began)


def _look(site: Site, reference: Reference, report: Report) -> None:
    """Look at what a kill left: files whole or not there, and a journal that is true."""
    report.looks += 1
    for name, content in site.files().items():
        report.check(
            content in (b"old\n", reference.files.get(name)), f"{name} was there and not whole"
        )
    try:
        more = site.committed() - site.job.truth
    except (DamagedJournalError, DamagedSpoolError, AssertionError) as error:
        report.check(False, f"the journal is damaged: {error}")
    else:
        report.check(not more, f"the journal says {more.total()} findings too many")


def _judge(site: Site, reference: Reference, report: Report) -> None:
    read = read_file(site.output) if site.output.is_file() else read_folder(site.output)
    found, wanted = multiset(read), site.job.truth
    report.missing, report.doubled = (wanted - found).total(), (found - wanted).total()
    report.check(site.files() == reference.files, "the bytes are not those of an undisturbed run")
    report.check(not site.beside(), f"left beside the output: {sorted(site.beside())}")
    report.check(
        report.calls <= report.undisturbed + report.allowed,
        f"{report.calls} calls, more than {report.undisturbed} and {report.allowed}",
    )
