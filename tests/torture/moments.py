"""The moments at which a running sweep is killed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harvester.simulator import Simulator
from tests.torture.jobs import Site

_POLL = 0.001


@dataclass(frozen=True, slots=True)
class Watch:
    """What can be seen of a running command; an undisturbed one makes `whole` calls."""

    site: Site
    simulator: Simulator
    rng: random.Random
    whole: int
    ended: Callable[[], bool] = lambda: False

    async def until(self, true: Callable[[], object]) -> None:
        """Wait until something is so, or the command has ended."""
        while not (self.ended() or true()):  # noqa: ASYNC110  # a process sets no Event
            await asyncio.sleep(_POLL)

    async def moment(self, seconds: float) -> None:
        """Wait for up to so many seconds."""
        await asyncio.sleep(self.rng.uniform(0.0, seconds))


async def _early(watch: Watch) -> None:
    await watch.moment(1.0)


async def _anywhere(watch: Watch) -> None:
    until = time.monotonic() + watch.rng.uniform(0.0, 4.0)
    await watch.until(lambda: time.monotonic() > until)


async def _reading(watch: Watch) -> None:
    pages = len(watch.simulator.requests) + watch.rng.uniform(0.1, 0.7) * watch.whole
    await watch.until(lambda: len(watch.simulator.requests) > pages)


async def _committing(watch: Watch) -> None:
    for _ in range(watch.rng.randint(1, 4)):
        before = _stamp(watch.site.journal)
        await watch.until(lambda: _stamp(watch.site.journal) != before)  # noqa: B023  # awaited
    await watch.moment(0.004)


async def _publishing(watch: Watch) -> None:
    def parts() -> set[str]:
        return {path.name for path in watch.site.work.glob("part.*")}

    # One that an earlier run left is not of this one.
    before = parts()
    await watch.until(lambda: parts() - before)
    await watch.moment(0.02)


async def _removing(watch: Watch) -> None:
    await watch.until(watch.site.journal.exists)
    await watch.until(lambda: not watch.site.journal.exists())
    await watch.moment(0.002)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


async def late(watch: Watch) -> None:
    """Wait until most of what an undisturbed run asks for was asked."""
    enough = len(watch.simulator.requests) + 0.8 * watch.whole
    await watch.until(lambda: len(watch.simulator.requests) > enough)


Moment = Callable[[Watch], Awaitable[None]]
Moments = Mapping[str, Moment]

MOMENTS: Moments = {
    "as it starts": _early,
    "at any time": _anywhere,
    "while it reads": _reading,
    "as it commits": _committing,
    "while it publishes": _publishing,
    "as it removes its work": _removing,
}
