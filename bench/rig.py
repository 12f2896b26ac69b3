"""Turns: every contestant in every round, in a process of its own, its work checked."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from bench.contestants import Contestant, Job
from bench.figures import Run, Runs
from bench.process import PYTHON, BenchError, lines_in, measure
from bench.service import Service

Destination = Literal["file", "pipe", "redirected"]

_LARGEST_PAGE: Final = 100
_log = logging.getLogger("bench")


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says: `rounds` is None where each scenario is to choose."""

    rounds: int | None = None
    quick: bool = False

    def times(self, usual: int) -> int:
        """How many rounds to run."""
        return self.rounds or (min(usual, 2) if self.quick else usual)

    def scaled(self, size: int) -> int:
        """A size, or a tenth of it."""
        return max(1, size // 10) if self.quick else size


def take_turn(
    contestant: Contestant,
    service: Service,
    *,
    timeout: float,
    more: Sequence[str] = (),
    to: Destination = "file",
    digests: dict[str, int] | None = None,
    expected: int | None = None,
) -> Run:
    """Let a contestant sweep the service once; raises BenchError unless it wrote every finding.

    `to` is where it writes: a file of its own making, a pipe, or stdout that leads to a file.
    `digests` gets the digest of what it wrote, where that is wanted. `expected` is how many
    findings there should be, by default all of the service's.
    """
    expected = service.plan.findings if expected is None else expected
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        output = Path(folder, "findings.ndjson")
        job = Job(service.plan.names, output if to == "file" else None, more)
        service.counts()
        command = [PYTHON, *contestant.arguments(job)]
        taken = measure(
            command,
            service.variables,
            timeout=timeout,
            drain=to == "pipe",
            into=output if to == "redirected" else None,
        )
        run = Run(taken, service.counts())
        if contestant.writes:
            lines = taken.lines if to == "pipe" else lines_in(output)
            if lines != expected:
                raise BenchError(f"{contestant.name} wrote {lines} of {expected} findings")
        elif run.counts["requests"] * _LARGEST_PAGE < expected:
            raise BenchError(f"{contestant.name} did not read all of {expected} findings")
        if digests is not None and contestant.writes:
            digests[contestant.name] = digest(output)
    _log.info(
        "  %-22s CPU %7.2f s, time %7.2f s, peak %4.0f MiB, simulator's CPU %6.2f s",
        contestant.name,
        taken.cpu,
        taken.wall,
        taken.rss,
        run.counts["cpu"],
    )
    return run


def take_turns(
    contestants: Sequence[Contestant],
    service: Service,
    rounds: int,
    *,
    timeout: float,
    more: Sequence[str] = (),
    same: bool = False,
) -> Runs:
    """Let the contestants sweep in turns; with `same`, the first round's outputs must agree."""
    runs: Runs = {contestant.name: [] for contestant in contestants}
    for number in range(rounds):
        _log.info(" round %d of %d", number + 1, rounds)
        digests: dict[str, int] = {}
        for contestant in contestants:
            wanted = digests if same and number == 0 else None
            run = take_turn(contestant, service, timeout=timeout, more=more, digests=wanted)
            runs[contestant.name].append(run)
        check_same(digests)
    return runs


def check_same(digests: Mapping[str, int]) -> None:
    """Raise BenchError unless all wrote the same findings."""
    if len(set(digests.values())) > 1:
        raise BenchError(f"the outputs differ: {digests}")


def digest(path: Path) -> int:
    """A number that is the same for the same lines in any order, their keys in any order."""
    total = 0
    with path.open("rb") as stream:
        for line in stream:
            text = json.dumps(json.loads(line), sort_keys=True)
            total += int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
    return total % (1 << 64)
