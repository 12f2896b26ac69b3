"""A power cut: what was not synced may be there, or not, or in part."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.spooled import QUERIES, Time, left_in, page, path_of, sink_of, text

Files = dict[str, bytes]


class Disk:
    """What a power cut leaves of a folder: what was synced, and of the rest anything or nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.durable: dict[int, bytes] = {}
        self.names: dict[str, int] = {}
        self.states: list[tuple[Files, Files]] = []

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch what this process makes durable."""
        before = {name: getattr(os, name) for name in ("fsync", "fdatasync")}
        for name, sync in before.items():
            setattr(os, name, self._wrapped(sync))
        try:
            yield
        finally:
            for name, sync in before.items():
                setattr(os, name, sync)

    def _wrapped(self, sync: Callable[[Any], None]) -> Callable[[Any], None]:
        def wrapper(file: Any) -> None:
            self.cut()  # before it, and below after it
            sync(file)
            inode = os.fstat(file).st_ino
            if inode == self.folder.stat().st_ino:
                self.names = {one.name: one.stat().st_ino for one in self.folder.iterdir()}
            elif (path := path_of(file)).is_file():
                self.durable[inode] = path.read_bytes()
            self.cut()

        return wrapper

    def cut(self) -> None:
        """Note what a power cut would leave now, at least and at most."""
        least = {name: self.durable.get(inode, b"") for name, inode in self.names.items()}
        most = {one.name: one.read_bytes() for one in self.folder.iterdir()}
        self.states.append((least, most))


def _any_mixture(rng: random.Random, least: bytes, most: bytes) -> bytes:
    """Of what was not synced, some blocks are there, some are not, and some are zeros."""
    if not most.startswith(least):
        return rng.choice((least, most))
    rest = bytearray(most[len(least) : rng.randint(len(least), len(most))])
    for start in range(0, len(rest), 16):
        if rng.random() < 0.3:
            rest[start : start + 16] = bytes(len(rest[start : start + 16]))
    return least + rest


async def _sweep_twice(disk: Disk, out: Path) -> None:
    """Read six pages of each query, and six more in a run that goes on with that."""
    time = Time()
    for _ in range(2):
        async with sink_of(disk.folder, out, time) as sink:
            for target, queries in QUERIES.items():
                standing = sink.standing(target)
                sink.begin(target, queries, None)
                for query in queries:
                    done = standing.cursors[query].pages if standing else 0
                    for number in range(done, done + 6):
                        time.seconds += 0.4
                        await sink.write(query, page(query, number))
                        disk.cut()


def _left_of(files: dict[str, bytes], folder: Path) -> int:
    """Return how much of the spool is known, -1 for nothing; what is known must be true."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    left = left_in(folder)
    if left is None:
        return -1
    for queries in QUERIES.values():
        for query in queries:
            assert left.held.get(query, b"") == text(query, left.pages(query))
    return left.contents.end


async def cut_power(folder: Path, rng: random.Random) -> int:
    """Sweep in two runs, with a power cut at each moment; returns how often that was looked at."""
    disk = Disk(folder / "work")
    with disk.watched():
        await _sweep_twice(disk, folder / "out.ndjson")
    ends = [
        _left_of(least, folder / f"least {number}") for number, (least, _) in enumerate(disk.states)
    ]
    assert ends == sorted(ends), "what was durable once is so for ever"
    assert len(set(ends)) > 8, "there should be many states, of both runs"
    for number, (least, most) in enumerate(disk.states * 5):
        names = {*least, *rng.sample(sorted(most), rng.randint(0, len(most)))}
        files = {
            name: _any_mixture(rng, least.get(name, b""), most.get(name, least.get(name, b"")))
            for name in sorted(names)
        }
        _left_of(files, folder / f"mixture {number}")
    return 6 * len(disk.states)
