"""Disks that are full, files that may not grow, few of them open, and folders of others."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from harvester.simulator import Behaviour, Simulator
from tests.e2e.support import Command, everything_below
from tests.torture.damage import FEW_AT_ONCE, damages, kill_halfway, put
from tests.torture.jobs import DESTINATIONS, Site
from tests.torture.scenarios import Scenario, journal_of, kill, resume, small
from tests.torture.syscalls import after_a_fault, after_all, run, small_job

_CHAINS = ("--split", "none", "--page-size", "5")
_ANOTHER_USER = 4242


async def files_may_not_grow(command: Command, rng: random.Random) -> None:
    """A limit on the size of files (RLIMIT_FSIZE) is met as it is written, or as it is published."""
    await _limited(command, rng, "f", (0, 1, rng.randint(2, 100), rng.randint(100, 300)), {0, 5})


async def few_files_may_be_open(command: Command, rng: random.Random) -> None:
    """A limit on open files (RLIMIT_NOFILE): refused with a word for it, or enough."""
    await _limited(command, rng, "n", (24, 33, rng.randint(34, 40), 48), {0, 4, 5})


async def _limited(
    command: Command, rng: random.Random, limit: str, values: tuple[int, ...], codes: set[int]
) -> None:
    job = small_job(rng.choice(sorted(DESTINATIONS)), latency=0.02)
    async with Simulator(job.organization, behaviour=Behaviour(latency=0.02)) as simulator:
        for value in values:
            site = Site(command.folder / f"{value}", job)
            shell = ("bash", "-c", f'ulimit -{limit} {value}; exec "$@"', "bash")
            done = await run(site, simulator, *shell, sys.executable, "-m", "harvester")
            assert done.code in codes, done.err
            if done.code in (0, 5):
                wrong = [*after_a_fault(site, done)]
                assert not wrong, wrong
            assert not [*after_all(site, await site.command(simulator, *job.arguments))]


async def its_work_is_damaged(command: Command, rng: random.Random) -> None:
    """Whatever is taken up of a journal and a spool that were damaged: each finding once."""
    job = replace(small_job("one file", latency=0.08), options=FEW_AT_ONCE)
    site = await kill_halfway(job, command.folder / "killed", commits=1)
    journal, spool = site.journal.read_bytes(), (site.work / "spool").read_bytes()
    everything = list(damages(journal, spool, 41, rng))
    async with Simulator(job.organization) as simulator:
        for kind, *content in rng.sample(everything, 4):
            put(site.work, *content)
            done = await site.command(simulator, *job.arguments)
            assert not [*after_all(site, done)], kind
            site.output.unlink()
            site.work.mkdir()


async def its_folder_is_a_link(command: Command, rng: random.Random) -> None:
    """A link in the place of the folder, or of a file in it, is not followed."""
    precious = command.folder / "precious"
    precious.mkdir()
    (precious / "kept").write_text("not ours")
    work = journal_of(command.folder).parent
    if rng.random() < 0.5:
        work.symlink_to(precious, target_is_directory=True)
    else:
        work.mkdir(mode=0o700)
        (work / rng.choice(("journal", "lock"))).symlink_to(precious / "kept")
    before = everything_below(command.folder)
    done, asked = await resume(command, small(), *_CHAINS, code=5)
    assert "cannot be written" in done.err or "is not a folder of this user" in done.err
    assert not asked
    assert everything_below(command.folder) - {"summary.json"} >= before
    assert (precious / "kept").read_text() == "not ours"


async def its_folder_is_of_another_user(command: Command, rng: random.Random) -> None:
    """Work that somebody else owns is not gone on with (only root can try this)."""
    await kill(command, small(), *_CHAINS, rng=rng)
    work = journal_of(command.folder).parent
    before = (work / "journal").read_bytes()
    os.chown(work, _ANOTHER_USER, _ANOTHER_USER)
    done, asked = await resume(command, small(), *_CHAINS, code=5)
    assert "not a folder of this user" in done.err
    assert not asked
    assert (work / "journal").read_bytes() == before


@asynccontextmanager
async def _mounted(folder: Path, size: int) -> AsyncIterator[bool]:
    """A file system of so many bytes, where this process may mount one."""
    folder.mkdir()
    done = await _call("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", f"{folder}")
    try:
        yield done
    finally:
        if done:
            await _call("umount", f"{folder}")


async def _call(*command: str) -> bool:
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError:
        return False
    return await process.wait() == 0


async def can_mount(folder: Path) -> bool:
    """Whether this process may mount a file system."""
    async with _mounted(folder / "mount", 65_536) as done:
        return done


async def the_disk_is_full(command: Command, rng: random.Random) -> None:
    """A real disk that is full, at any moment; with more room, the same command completes it."""
    job = small_job(rng.choice(sorted(DESTINATIONS)), latency=0.02)
    folder = command.folder / "disk"
    async with (
        _mounted(folder, 4096 * rng.randint(1, 200)) as mounted,
        Simulator(job.organization, behaviour=Behaviour(latency=0.02)) as simulator,
    ):
        assert mounted, "may not mount"
        try:
            site = Site(folder / "site", job)
        except OSError:
            return  # no room for as much as the folder
        done = await site.command(simulator, *job.arguments)
        wrong = [*after_a_fault(site, done)]
        assert not wrong, wrong
        assert await _call("mount", "-o", "remount,size=64m", f"{folder}")
        assert not [*after_all(site, await site.command(simulator, *job.arguments))]


FAULTS: tuple[Scenario, ...] = (
    files_may_not_grow,
    few_files_may_be_open,
    its_work_is_damaged,
    its_folder_is_a_link,
)
"""What can be tried everywhere; the others need root."""
