"""The journal and spool of a killed run, damaged in every way, and taken up."""

from __future__ import annotations

import logging
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harvester.output.contents import Contents
from harvester.output.extents import Extents, each_extent
from harvester.output.journal import Journal
from harvester.output.resume import Header, take_up
from harvester.output.spool import NAME as SPOOL
from harvester.output.spool import Spool
from harvester.output.workspace import Workspace
from harvester.simulator import Behaviour, Simulator
from tests.e2e.support import until
from tests.torture.jobs import Job, Site, records_in

State = dict[str, Any]
FEW_AT_ONCE = ("--page-size", "2", "--max-concurrency", "2")
"""Options of a small sweep that lasts for some commits."""


@dataclass(slots=True)
class DamageReport:
    """What damaged work was taken for.

    Attributes:
        tried: how often, by the kind of damage.
        taken: of these, what came of it: the same state, an earlier one, the rest of it
            without the damaged queries, or starting over.
        wrong: what was none of these.
    """

    tried: Counter[str] = field(default_factory=Counter)
    taken: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


async def kill_halfway(job: Job, folder: Path, *, commits: int = 3) -> Site:
    """Return the site of a job whose run was killed after so many commits."""
    site = Site(folder, job)
    behaviour = Behaviour(latency=job.latency)
    async with (
        Simulator(job.organization, behaviour=behaviour) as simulator,
        site.command.start(simulator, *job.arguments) as process,
    ):
        await until(
            lambda: process.returncode is not None or records_in(site.journal) >= 2 + commits
        )
        assert process.returncode is None, "it ended before so many commits"
        process.kill()
        await process.wait()
    return site


def damage_each(site: Site, scratch: Path, rng: random.Random, *, step: int = 1) -> DamageReport:
    """Damage what a killed run left, in each way and at each `step`-th byte, and take it up."""
    report, states = DamageReport(), _states(site)
    identity = Journal(Workspace(site.work)).load()[0]["settings"]
    journal, spool = site.journal.read_bytes(), (site.work / SPOOL).read_bytes()
    scratch.mkdir()
    with _without_logs():
        for kind, damaged, rest in damages(journal, spool, step, rng):
            put(scratch, damaged, rest)
            workspace = Workspace(scratch)
            left = take_up(workspace, Journal(workspace), identity)
            report.tried[kind] += 1
            if left is None:
                report.taken["starting over"] += 1
                continue
            state = left[1].everything()
            if not _is_true(workspace, *left, spool):
                report.wrong.append(f"{kind}: damaged pages were taken for true ones")
            elif state in states:
                report.taken["the same" if state == states[-1] else "an earlier state"] += 1
            elif rest != spool and _is_part(state, states[-1]):
                report.taken["without the damaged queries"] += 1
            else:
                report.wrong.append(f"{kind}: taken for a state that was never committed")
    shutil.rmtree(scratch)
    return report


def _is_part(state: State, whole: State) -> bool:
    """Whether a state has nothing but queries of another one."""
    return all(one in whole["queries"] for one in state["queries"])


def _is_true(workspace: Workspace, header: Header, contents: Contents, spool: bytes) -> bool:
    """Whether each page is read back as it was written: the spool is one uncompressed file."""
    found = Spool(workspace, packed=header.packed, segments=header.segments)
    try:
        return all(
            b"".join(found.read(places)) == _written(spool, places)
            for _, places in contents.all_places()
        )
    finally:
        found.close()


def _written(spool: bytes, places: Extents) -> bytes:
    return b"".join(spool[start : start + size] for start, size, _ in each_extent(places))


def _states(site: Site) -> list[State]:
    """What was committed, one after the other."""
    records, contents, states = Journal(Workspace(site.work)).load(), Contents(), []
    for record in records[1:]:
        contents.apply(record)
        states.append(contents.everything())
    return states


def put(folder: Path, journal: bytes | None, spool: bytes | None) -> None:
    """Put this content into a work folder; None is no file."""
    for name, content in (("journal", journal), (SPOOL, spool)):
        path = folder / name
        if content is None:
            path.unlink(missing_ok=True)
        elif not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)


Damage = tuple[str, bytes | None, bytes | None]


def damages(journal: bytes, spool: bytes, step: int, rng: random.Random) -> Iterator[Damage]:
    """Yield a kind of damage, and the journal and spool that it gives, None for none."""
    for place in range(rng.randrange(step), len(journal), step):
        head, byte, tail = journal[:place], journal[place], journal[place + 1 :]
        yield "a byte changed", head + bytes([byte ^ 0xFF]) + tail, spool
        yield "a bit changed", head + bytes([byte ^ 1 << rng.randrange(8)]) + tail, spool
        yield "a byte gone", head + tail, spool
        yield "cut short", head, spool
        yield "zeros from here on", head + bytes(len(tail) + 1), spool
        garbage = rng.randbytes(rng.randint(1, 40))
        yield "garbage put in", head + garbage + journal[place:], spool
    lines = journal.splitlines(keepends=True)
    for index, line in enumerate(lines):
        head, tail = b"".join(lines[:index]), b"".join(lines[index + 1 :])
        yield "a line gone", head + tail, spool
        yield "a line twice", head + line + line + tail, spool
        yield "a line as the last", head + tail + line, spool
        for other in range(index):
            swapped = list(lines)
            swapped[index], swapped[other] = lines[other], line
            yield "two lines swapped", b"".join(swapped), spool
    yield "no journal", None, spool
    yield "no spool", journal, None
    yield "neither", None, None
    for place in range(0, len(spool), max(1, len(spool) // 50)):
        head, byte, tail = spool[:place], spool[place], spool[place + 1 :]
        yield "spool cut short", journal, head
        yield "spool, a bit changed", journal, head + bytes([byte ^ 1 << rng.randrange(8)]) + tail
        yield "spool, a byte gone", journal, head + tail
        yield "spool, a hole", journal, head + bytes(min(512, len(tail) + 1)) + tail[511:]
    yield "spool of another sweep", journal, rng.randbytes(len(spool))
    yield "spool longer", journal, spool + rng.randbytes(1000)


@contextmanager
def _without_logs() -> Iterator[None]:
    log = logging.getLogger("harvester")
    before = log.disabled
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = before
