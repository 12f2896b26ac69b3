"""The library in an application whose event loop has something else to do: a heartbeat.

The job is JSON, as for the other contestants. Prints JSON: the longest turn of the event loop in
seconds, of CPU (`turn`) and of wall time (`gap`), and how many beats there were.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any, Final

import harvester
from harvester import run_sweep  # imports the SDK before the loop runs, as an application would
from harvester.settings import AccountSettings, LimitSettings, OutputSettings, RegionSettings

_BEAT_SECONDS: Final = 0.001


class Heart:
    """Beats on the event loop, and keeps the longest pauses between two beats."""

    def __init__(self) -> None:
        self.turn = self.gap = 0.0
        self.beats = 0

    async def beat(self) -> None:
        """Beat until cancelled."""
        cpu, wall = time.thread_time(), time.perf_counter()
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            now_cpu, now_wall = time.thread_time(), time.perf_counter()
            self.turn = max(self.turn, now_cpu - cpu)
            self.gap = max(self.gap, now_wall - wall)
            self.beats += 1
            cpu, wall = now_cpu, now_wall


async def _main(job: dict[str, Any]) -> None:
    settings = harvester.Settings(
        accounts=AccountSettings(organization=True, role_name=job["role"]),
        regions=RegionSettings(include=tuple(job["regions"])),
        limits=LimitSettings(max_concurrency=job["concurrency"]),
        output=OutputSettings(path=job["output"]),
    )
    heart = Heart()
    beating = asyncio.create_task(heart.beat())
    summary = await run_sweep(settings)
    beating.cancel()
    summary.raise_for_problems()
    sys.stdout.write(json.dumps({"turn": heart.turn, "gap": heart.gap, "beats": heart.beats}))


if __name__ == "__main__":
    asyncio.run(_main(json.loads(sys.argv[1])))
