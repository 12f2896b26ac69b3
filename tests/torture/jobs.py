"""The sweeps that are killed: what they read, how, and where it goes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from harvester.output.contents import Contents
from harvester.output.journal import Journal
from harvester.output.resume import Header
from harvester.output.spool import Spool
from harvester.output.workspace import Workspace
from harvester.simulator import Organization
from tests.e2e.support import EVERYTHING, Command, Finding, held, lines_of, multiset, organization


class Destination(NamedTuple):
    """Where findings go: the output's name, a config file, and further options."""

    name: str
    config: str = ""
    options: tuple[str, ...] = ()


_ZSTD = '[output]\ncompression = "zstd"\n'
_PROCESSES = ("--processes", "2")
DESTINATIONS = {
    "one file": Destination("out.ndjson"),
    "one file, gz": Destination("out.ndjson.gz"),
    "one file, zst": Destination("out.ndjson.zst"),
    "folder": Destination("out/"),
    "folder, zst": Destination("out/", _ZSTD),
    "one file, by processes": Destination("out.ndjson", "", _PROCESSES),
    "folder, by processes": Destination("out/", "", _PROCESSES),
}
"""All that is killed; another way to run is one more entry, with its options."""

_SEVERE = ("CRITICAL", "HIGH", "MEDIUM")
_BY_SEVERITY = tuple(text for one in _SEVERE for text in ("--filter", f"severity={one}"))
_CHOICES = (
    *(("--split", mode) for mode in ("auto", "none", "severity", "pipeline", "image")),
    ("--split", "auto", "--verify"),
    _BY_SEVERITY,
    ("--pipeline", "*"),
    ("--pipeline", "*", *_BY_SEVERITY),
)
_SPEC = {"accounts": 6, "suspended": 1, "regions": ("us-east-1", "eu-west-1")}


@dataclass(frozen=True, slots=True)
class Job:
    """One sweep.

    Attributes:
        number: its number in the campaign.
        destination: one of `DESTINATIONS`.
        choice: the options that say what is read.
        options: those that say how.
        latency: how long the service takes for each answer, in seconds.
        old: whether the output of an earlier sweep is there.
        spec: the organization.
    """

    number: int
    destination: str
    choice: tuple[str, ...]
    options: tuple[str, ...] = ()
    latency: float = 0.0
    old: bool = False
    spec: dict[str, Any] = field(default_factory=dict)

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the command is started with."""
        output, _, more = DESTINATIONS[self.destination]
        where = ("-o", output, "--summary", "summary.json")
        return ("sweep", *EVERYTHING, *where, *self.choice, *self.options, *more)

    @property
    def organization(self) -> Organization:
        """What there is to read."""
        return organization(**self.spec)

    @property
    def truth(self) -> Counter[bytes]:
        """The multiset of the findings that are to be in the output."""
        return _truth(tuple(self.spec.items()), self.choice)


def draw_jobs(rng: random.Random, scale: float = 1.0) -> Iterator[Job]:
    """Yield jobs without end: each destination in turn, all else by chance.

    At a `scale` of 1.0 an undisturbed run takes some four seconds.
    """
    number = 0
    while True:
        for destination in rng.sample(sorted(DESTINATIONS), len(DESTINATIONS)):
            number += 1
            wide = ("--max-concurrency", str(rng.choice((1, 4, 16, 64))))
            size = ("--page-size", str(rng.randint(8, 25)))
            findings = round(scale * rng.randint(1500, 3000))
            yield Job(
                number,
                destination,
                rng.choice(_CHOICES),
                (*wide, *size) if rng.random() < 0.8 else size,
                rng.uniform(0.03, 0.12),
                old=rng.random() < 0.3,
                spec={**_SPEC, "findings": findings, "seed": rng.randint(1, 3)},
            )


@lru_cache(16)
def _truth(spec: tuple[tuple[str, Any], ...], choice: tuple[str, ...]) -> Counter[bytes]:
    one = organization(**dict(spec))
    found = (finding for place in one.places() for finding in held(one, *place))
    return multiset(finding for finding in found if _is_chosen(finding, choice))


def _is_chosen(finding: Finding, choice: tuple[str, ...]) -> bool:
    if "--pipeline" in choice and "imagePipelineArn" not in finding:
        return False
    return "--filter" not in choice or finding["severity"] in _SEVERE


def records_in(journal: Path) -> int:
    """How many records a journal has, if it is there."""
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


class Site:
    """The folder in which a job's command is started."""

    def __init__(self, folder: Path, job: Job) -> None:
        folder.mkdir()
        self.job = job
        self.command = Command(folder)
        name, config, _ = DESTINATIONS[job.destination]
        (folder / "harvester.toml").write_text(config)
        self.output = folder / name
        inside = name.endswith("/")
        self.work = self.output / ".harvester" if inside else folder / f".{name}.harvester"

    def files(self) -> dict[str, bytes]:
        """The files of the output, by their path within it; none of the work beside them."""
        if self.output.is_file():
            return {".": self.output.read_bytes()}
        return {
            str(path.relative_to(self.output)): path.read_bytes()
            for path in self.output.rglob("*")
            if path.is_file() and self.work not in path.parents
        }

    def put_old(self, reference: dict[str, bytes]) -> None:
        """Put something in the place of each file, as an earlier sweep would."""
        for name in reference:
            path = self.output / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"old\n")

    def beside(self) -> set[str]:
        """What is there beside the output and what the job was given.

        What a summary is written to has another name each time, since two runs may write the
        same one; a kill in that moment leaves it, and that is not counted here.
        """
        names = {
            str(path.relative_to(self.command.folder))
            for path in self.command.folder.rglob("*")
            if (path.is_file() and not path.match(".summary.json.*.part")) or path == self.work
        }
        given = {"harvester.toml", "summary.json"}
        prefix = "" if self.output.is_file() else f"{self.output.name}/"
        output = {f"{prefix}{name}" if prefix else self.output.name for name in self.files()}
        return names - given - output

    @property
    def journal(self) -> Path:
        """The file that says what is durable."""
        return self.work / "journal"

    def committed(self) -> Counter[bytes]:
        """The multiset of what the journal, if there is one, says was written.

        Raises DamagedJournalError, DamagedSpoolError where a killed run left it damaged.
        """
        records = Journal(Workspace(self.work)).load()
        if not records:
            return Counter()
        header, contents = Header.of(records[0]), Contents()
        for record in records[1:]:
            contents.apply(record)
        spool = Spool(Workspace(self.work), packed=header.packed, segments=header.segments)
        found: Counter[bytes] = Counter()
        for _, places in contents.all_places():
            found += multiset(lines_of(b"".join(spool.read(places))))
        spool.close()
        return found
