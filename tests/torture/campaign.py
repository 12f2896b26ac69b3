"""All of the torture, one part after the other, and what came of it."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from tests.e2e.support import Command, by_two
from tests.torture import control, damage, disks, scenarios, syscalls
from tests.torture.jobs import Job, Site, draw_jobs
from tests.torture.kills import Report, torture
from tests.torture.powercut import cut_power
from tests.torture.scenarios import Scenario

T = TypeVar("T")

_AT_ONCE = 6  # most of their time is spent waiting
_KILLS_A_JOB = 8
_CONTROLS = 4
_OVERS = 4
_FAILING = ("one file, gz", "folder, zst")


@dataclass(slots=True)
class Tried:
    """A scenario: how often it was tried, and what was wrong."""

    times: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Results:
    """What came of a campaign."""

    jobs: list[Report] = field(default_factory=list)
    caught: list[control.Caught] = field(default_factory=list)
    over: list[Report] = field(default_factory=list)
    syscalls: dict[str, syscalls.FaultReport] = field(default_factory=dict)
    damage: damage.DamageReport = field(default_factory=damage.DamageReport)
    power: int = 0
    tried: dict[str, Tried] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    @property
    def kills(self) -> Counter[tuple[str, str]]:
        """The kills of all jobs, by moment and signal."""
        return sum((one.kills for one in self.jobs), Counter[tuple[str, str]]())

    def wrong(self) -> list[str]:
        """All that was wrong, in words."""
        found = [
            f"job {one.job.number} ({one.job.destination}, {' '.join(one.job.choice)}): {what}"
            for one in self.jobs
            for what in [
                *one.wrong,
                *([f"{one.missing} lost, {one.doubled} doubled"] * bool(one.missing + one.doubled)),
            ]
        ]
        for name, faults in self.syscalls.items():
            found += [f"{name}: {what}" for what in faults.wrong]
        found += self.damage.wrong
        for name, tried in self.tried.items():
            found += [f"{name}: {what}" for what in tried.wrong]
        found += [
            f"the control was not caught: {one}"
            for one in self.caught
            if not (one.missing or one.doubled)
        ]
        found += [
            f"the control was not caught: starting over, {one.calls} calls"
            for one in self.over
            if not too_many(one)
        ]
        return found + self.broken


def too_many(report: Report) -> bool:
    """Whether a job's calls were more than its kills allow."""
    return report.calls > report.undisturbed + report.allowed


class Campaign:
    """Runs the parts, in folders below one that is empty.

    Args:
        folder: where.
        seed: draws everything.
        say: is told how it goes.
        scale: how much there is to read: see `draw_jobs`.
    """

    def __init__(
        self, folder: Path, seed: int, say: Callable[[str], None], scale: float = 1.0
    ) -> None:
        self._folder = folder
        self._seed = seed
        self._say = say
        self._scale = scale
        self.results = Results()

    def _rng(self, *what: object) -> random.Random:
        return random.Random(f"{self._seed} {what}")

    async def kill(self, kills: int, *, a_job: int = _KILLS_A_JOB) -> None:
        """Kill sweeps to every destination, again and again, until there are enough kills."""
        results, jobs = self.results, draw_jobs(self._rng("jobs"), self._scale)
        free = kills  # those that no job has

        async def run(job: Job) -> None:
            nonlocal free
            free -= (ours := min(a_job, free))
            folder, rng = self._folder / f"job {job.number}", self._rng("job", job)
            report = await self._or_broken(folder, torture(job, folder, kills=ours, rng=rng))
            if report is not None:
                results.jobs.append(report)
                free += ours - report.kills.total()
                self._say(f"{results.kills.total()} kills: {' '.join(report.wrong) or 'well'}")

        def waiting() -> Iterable[Job]:
            while free:
                yield next(jobs)

        while free and not results.broken:  # the last ones may have taken less than they had
            await by_two(run, waiting(), at_once=_AT_ONCE)

    async def control(self, times: int = _CONTROLS, *, kills: int = 4) -> None:
        """Put sweeps that append to a file, and keep no journal, through the same."""
        results, jobs = self.results, draw_jobs(self._rng("control"), self._scale)

        async def run(number: int) -> None:
            job, rng = next(jobs), self._rng("control", number)
            for way in control.WAYS:
                folder = self._folder / f"control {number} {way}"
                one = control.naive(job, folder, way, kills=kills, rng=rng)
                if caught := await self._or_broken(folder, one):
                    results.caught.append(caught)
                    self._say(f"control: {caught}")

        await by_two(run, range(times), at_once=_AT_ONCE)

    async def start_over(self, times: int = _OVERS) -> None:
        """Put sweeps that throw their work away through the same."""
        jobs = draw_jobs(self._rng("over"), self._scale)

        async def run(number: int) -> None:
            folder, rng = self._folder / f"over {number}", self._rng("over", number)
            one = control.starting_over(next(jobs), folder, kills=2, rng=rng)
            if over := await self._or_broken(folder, one):
                self.results.over.append(over)
                self._say(f"over: {over.calls} of {over.undisturbed + over.allowed} calls")

        await by_two(run, range(times), at_once=_AT_ONCE)

    async def _or_broken(self, folder: Path, what: Awaitable[T]) -> T | None:
        """Await something; where it fails, note why."""
        try:
            return await what
        except Exception as error:  # noqa: BLE001  # whatever it was, it goes into the report
            self.results.broken.append(f"{folder.name}: {reason(error)}")
            self._say(self.results.broken[-1])
            return None

    async def fail_syscalls(
        self, destinations: Sequence[str] = _FAILING, calls: Iterable[int] = range(1, 1000)
    ) -> None:
        """Let every call of the write path fail in turn."""
        for destination in destinations:
            # Long enough for a commit on its way; once is enough for these.
            latency = 0.15 if destination == _FAILING[0] else 0.0
            job = syscalls.small_job(destination, latency=latency)
            folder = self._folder / f"syscalls {destination}"
            report = await syscalls.fail_each(job, folder, calls)
            self.results.syscalls[destination] = report
            self._say(f"{report.struck.total()} failing calls, {destination}: {report.wrong}")

    async def damage(self, *, step: int = 1) -> None:
        """Damage the journal and the spool of killed runs, byte by byte."""
        total = self.results.damage

        sites: dict[str, Site] = {}

        async def run(split: str) -> None:
            job = replace(
                syscalls.small_job("one file", latency=0.1),
                choice=("--split", split),
                options=damage.FEW_AT_ONCE,
            )
            sites[split] = await damage.kill_halfway(job, self._folder / f"damaged {split}")

        await by_two(run, ("none", "severity"))
        for split, site in sites.items():
            scratch, rng = self._folder / f"scratch {split}", self._rng("damage", split)
            report = await asyncio.to_thread(damage.damage_each, site, scratch, rng, step=step)
            total.tried += report.tried
            total.taken += report.taken
            total.wrong += report.wrong
            self._say(f"{report.tried.total()} damages: {dict(report.taken)} {report.wrong}")

    async def cut_power(self) -> None:
        """Leave of a work folder what a power cut would."""
        folder = self._folder / "power"
        folder.mkdir()
        self.results.power = await cut_power(folder, self._rng("power"))
        self._say(f"{self.results.power} power cuts: well")

    async def scenarios(self, times: int) -> None:
        """Try what may be different when the same command is started again."""
        own = [*scenarios.SCENARIOS, syscalls.a_signal_comes_too_late, *disks.FAULTS]
        if os.geteuid() == 0:
            own.append(disks.its_folder_is_of_another_user)
        runs = [(one, number) for number in range(times) for one in own]
        if await disks.can_mount(self._folder):
            runs += [(disks.the_disk_is_full, number) for number in range(4 * times)]

        async def run(which: tuple[Scenario, int]) -> None:
            scenario, number = which
            name = scenario.__name__
            tried = self.results.tried.setdefault(name, Tried())
            tried.times += 1
            folder = self._folder / f"{name} {number}"
            folder.mkdir()
            wrong = ""
            try:
                await scenario(Command(folder), self._rng(name, number))
            except Exception as error:  # noqa: BLE001  # whatever it was, it goes into the report
                wrong = reason(error)
                tried.wrong.append(wrong)
            self._say(f"{name} {number}: {wrong or 'well'}")

        await by_two(run, runs, at_once=_AT_ONCE)


def reason(error: Exception) -> str:
    """What an error says, in a line, and where it was raised."""
    lines, where = str(error).splitlines(), error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = f"{where.tb_frame.f_code.co_name}:{where.tb_lineno}" if where is not None else ""
    return f"{type(error).__name__} in {place}: {lines[0] if lines else ''}"
