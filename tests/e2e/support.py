"""The command as a process: how it is started, and how what it wrote is read and compared."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import orjson
import zstandard

from harvester.simulator import (
    Behaviour,
    Organization,
    OrganizationSpec,
    RequestRecord,
    Simulator,
    with_iso_timestamps,
)
from tests.e2e import forkserver

Finding = dict[str, Any]
T = TypeVar("T")
Place = tuple[str, str]

REGIONS = ("us-east-1", "eu-west-1")
ROLE = ("--role-name", "Harvester")
EVERYTHING = ("--organization", *ROLE, "--region", "all")
TWO = ("--processes", "2")
SLOW = Behaviour(latency=0.1)
LEVEL = {"empty_share": 0.0, "skew": 0.2}
"""Of `organization`: targets of nearly the same size, so that all of them take a while."""

_LONGEST_RUN = 60.0
_OF_THE_START = ("PYTHON", "LANG", "LC_")
"""Variables that Python reads as it starts."""


@lru_cache
def organization(**spec: Any) -> Organization:
    """A small organization; the same spec gives the same object."""
    given = {"accounts": 5, "suspended": 1, "findings": 1000, "regions": REGIONS, "seed": 11}
    return Organization.generate(OrganizationSpec(**{**given, **spec}))


def held(one: Organization, account: str, region: str) -> list[Finding]:
    """The findings of a place as the output should hold them."""
    return [with_iso_timestamps(finding) for finding in one.findings(account, region)]


def truth(one: Organization, places: Iterable[Place] | None = None) -> Counter[bytes]:
    """The multiset that the findings of these places make, by default of all of them."""
    chosen = one.places() if places is None else places
    return multiset(finding for place in chosen for finding in held(one, *place))


def multiset(findings: Iterable[Mapping[str, Any]]) -> Counter[bytes]:
    """Findings as canonical JSON, with how often each occurs."""
    return Counter(orjson.dumps(one, option=orjson.OPT_SORT_KEYS) for one in findings)


def assert_same(found: Counter[bytes], wanted: Counter[bytes]) -> None:
    """Fail, in few words, where a finding is missing, changed or repeated."""
    missing, extra = wanted - found, found - wanted
    assert not missing, f"{missing.total()} of {wanted.total()} missing: {next(iter(missing))!r}"
    assert not extra, f"{extra.total()} too many: {next(iter(extra))!r}"


def place_of(finding: Mapping[str, Any]) -> Place:
    """Where a finding was read: the account and region that its image's ARN names."""
    parts = finding["imageBuildVersionArn"].split(":")
    return parts[4], parts[3]


def lines_of(data: bytes) -> list[Finding]:
    """The objects of NDJSON, when it is that to the last byte."""
    assert data == b"" or data.endswith(b"\n"), data[-200:]
    found = [orjson.loads(line) for line in data.split(b"\n")[:-1]]
    assert all(isinstance(one, dict) for one in found)
    return found


def read_file(path: Path) -> list[Finding]:
    """The findings in a file of any of the forms."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    elif path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return lines_of(data)


def read_folder(folder: Path) -> list[Finding]:
    """The findings of a partitioned folder, each checked to lie where it belongs."""
    found = []
    for path in sorted(folder.rglob("findings.*")):
        account, region = path.parts[-3], path.parts[-2]
        findings = read_file(path)
        assert findings, f"{path} is empty"
        for one in findings:
            assert (account, region) == tuple(
                f"{key}={value}"
                for key, value in zip(("account", "region"), place_of(one), strict=True)
            )
        found += findings
    return found


def everything_below(folder: Path) -> set[str]:
    """The names of all files and folders below a folder, hidden ones too."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: bytes
    err: str
    seconds: float
    folder: Path = field(repr=False)

    @cached_property
    def lines(self) -> list[Finding]:
        """What stood on stdout."""
        return lines_of(self.out)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What stands in summary.json."""
        loaded: dict[str, Any] = orjson.loads((self.folder / "summary.json").read_bytes())
        return loaded

    @property
    def problems(self) -> dict[tuple[str | None, str | None], tuple[str, str, str]]:
        """The summary's problems: (account, region) → status, stage, code."""
        found = {
            (one["account"], one["region"]): (one["status"], one["stage"], one["code"])
            for one in self.summary["problems"]
        }
        assert len(found) == len(self.summary["problems"]), "a target is named twice"
        return found


class Command:
    """Starts `python -m harvester` in a folder of its own, as a shell with nothing set would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder.parent / f"home-of-{folder.name}"

    def environment(
        self, simulator: Simulator | None, changes: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """The variables of the process: those of a caller of the simulator, and few others."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "PYTHONWARNINGS": "error",
            "AWS_EC2_METADATA_DISABLED": "true",
            **(simulator.environment() if simulator else {}),
            **(changes or {}),
        }

    @asynccontextmanager
    async def start(
        self,
        simulator: Simulator | None,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
        umask: int = -1,
        program: Iterable[str] = (sys.executable, "-m", "harvester"),
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """A running command; killed at the end of the block, should it still run."""
        process = await asyncio.create_subprocess_exec(
            *program,
            *arguments,
            cwd=self.folder,
            env=self.environment(simulator, env),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            umask=umask,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                async with asyncio.timeout(_LONGEST_RUN):
                    await process.communicate()

    async def __call__(
        self,
        simulator: Simulator | None,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        stdout: int = subprocess.PIPE,
        umask: int = -1,
    ) -> Done:
        """Run a command to its end, by the fork server where nothing speaks against it."""
        began = time.monotonic()
        starts_by_itself = any(name.startswith(_OF_THE_START) for name in env or ())
        starts_by_itself |= (self.home / ".aws").exists()  # the SDK looks for it as it is imported
        if stdout == subprocess.PIPE and not starts_by_itself:
            async with asyncio.timeout(_LONGEST_RUN):
                code, out, err = await forkserver.run(
                    arguments, cwd=self.folder, env=self.environment(simulator, env), umask=umask
                )
            return self._done(code, out, err, began)
        async with self.start(
            simulator, *arguments, env=env, stdout=stdout, umask=umask
        ) as process:
            return await self.finish(process, began)

    async def sweep(self, simulator: Simulator, *options: str, **others: Any) -> Done:
        """Sweep to `out.ndjson` and `summary.json`; an option given again beats these."""
        return await self(
            simulator, "sweep", "-o", "out.ndjson", "--summary", "summary.json", *options, **others
        )

    async def finish(self, process: asyncio.subprocess.Process, began: float) -> Done:
        """Wait for a command. Whatever happened, it must not have shown a traceback."""
        async with asyncio.timeout(_LONGEST_RUN):
            out, err = await process.communicate()
        assert process.returncode is not None
        return self._done(process.returncode, out or b"", err or b"", began)

    def _done(self, code: int, out: bytes, err: bytes, began: float) -> Done:
        text = err.decode()
        for trace in ("Traceback (most recent", "Exception ignored", "Warning:", "never awaited"):
            assert trace not in text, text[-3000:]
        return Done(code, out, text, time.monotonic() - began, self.folder)

    def found(self, name: str = "out.ndjson") -> Counter[bytes]:
        """The findings in an output of this folder."""
        path = self.folder / name
        return multiset(read_folder(path) if path.is_dir() else read_file(path))

    def place(self, name: str) -> Command:
        """The same in a folder below, which is made."""
        folder = self.folder / name
        folder.mkdir()
        return Command(folder)


async def by_two(
    do: Callable[[T], Awaitable[None]], items: Iterable[T], *, at_once: int = 2
) -> None:
    """Await `do(item)` for every item, two at a time: what a small machine has processors for.

    What spends its time waiting may be done more `at_once`.
    """
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await do(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(worker())


async def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110  # a process and a socket set no Event
            await asyncio.sleep(0.005)


def pages_asked(simulator: Simulator) -> list[RequestRecord]:
    """The requests for findings."""
    return pages_of(simulator.requests)


def pages_of(requests: Iterable[RequestRecord]) -> list[RequestRecord]:
    """Those of the requests that are for findings."""
    return [one for one in requests if one.operation == "ListImageScanFindings"]


def roles_assumed(simulator: Simulator) -> Counter[str]:
    """How often each role was asked for, by its ARN."""
    return Counter(
        one.parameters["RoleArn"] for one in simulator.requests if one.operation == "AssumeRole"
    )


def stop(process: asyncio.subprocess.Process, number: signal.Signals) -> float:
    """Send a signal; the moment in which it was sent."""
    process.send_signal(number)
    return time.monotonic()


def children(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has just ended
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(path.parent.name))
    return sorted(found)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
