"""A sweep without a journal, as anybody would write it first: the control.

    python -m tests.torture.naive WAY FILE PAGE_SIZE

It appends each finding to the file as it comes. Started again, it goes through everything once
more (`append`), or leaves out the targets that the file has findings of (`by-target`).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import orjson

import harvester
from harvester.settings import AccountSettings, FindingSettings, RegionSettings
from tests.e2e.support import Finding, place_of


def whole_lines(path: Path) -> Iterator[Finding]:
    """Yield the findings in a file; a line that a kill has torn is none."""
    for line in path.read_bytes().splitlines():
        with suppress(orjson.JSONDecodeError):
            yield orjson.loads(line)


async def main(way: str, path: Path, page_size: int) -> None:
    """Sweep the whole organization into a file."""
    settings = harvester.Settings(
        accounts=AccountSettings(organization=True, role_name="Harvester"),
        regions=RegionSettings(include=("all",)),
        findings=FindingSettings(page_size=page_size),
    )
    done = set()
    if way == "by-target" and path.exists():
        done = {place_of(finding) for finding in whole_lines(path)}
    with path.open("ab", buffering=0) as stream:  # so that a kill leaves whole lines, mostly
        async with harvester.open_sweep(settings) as sweep:
            async for finding in sweep:
                if place_of(finding) not in done:
                    stream.write(orjson.dumps(finding) + b"\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
