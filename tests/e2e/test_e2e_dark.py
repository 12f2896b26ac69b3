"""Regions and accounts that go dark, and the good ones beside them: the command as a process.

Each scenario spends most of its time waiting, so several of them run at once.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from functools import partial
from typing import Any

import orjson
import pytest
import pytest_asyncio

from harvester.simulator import EVERYWHERE, Behaviour, Dark, Faults, Simulator
from tests.e2e.support import (
    EVERYTHING,
    Command,
    assert_same,
    organization,
    stop,
    truth,
)

GOOD, BAD = "us-east-1", "eu-west-1"
_ONE = {"accounts": 40, "suspended": 0, "findings": 2000, "empty_share": 0.0, "skew": 0.2}
_TOLD = (*EVERYTHING, "-v", "--log-format", "json")


def _simulator(*dark: Dark) -> Simulator:
    faults = Faults(dark=dark, dark_seconds=25.0)
    return Simulator(organization(**_ONE), behaviour=Behaviour(latency=0.02), faults=faults)


def _accounts() -> list[str]:
    """The ids of all accounts, the caller's own first."""
    return [account.id for account in organization(**_ONE).accounts]


_NARROW = ("--max-concurrency", "16")

Ended = list[tuple[str, str | None, str]]


def _ended(lines: Iterable[bytes | str]) -> Ended:
    """Account, region and status of the targets, in the order in which they ended."""
    records = [orjson.loads(line) for line in lines]
    return [
        (one["account"], one["region"], one["status"])
        for one in records
        if one["event"] == "target_finished"
    ]


async def _read_until(command: Command, simulator: Simulator, number: int, *options: str) -> Ended:
    """Sweep until so many targets have ended, and stop then."""
    options = ("sweep", "-o", "out.ndjson", *_TOLD, *options)
    ended: Ended = []
    async with command.start(simulator, *options) as process:
        assert process.stderr is not None
        async with asyncio.timeout(60.0):
            while len(ended) < number:
                line = await process.stderr.readline()
                assert line, "it ended before"
                ended += _ended([line])
        stop(process, signal.SIGTERM)
        await command.finish(process, 0.0)
    return ended


def _complete(*regions: str, accounts: Iterable[str] | None = None) -> Ended:
    """What is to be told of targets that are complete, sorted."""
    chosen = _accounts() if accounts is None else accounts
    return sorted((account, region, "complete") for account in chosen for region in regions)


async def region_fails_to_the_end(command: Command) -> None:
    async with _simulator(Dark("error", BAD)) as simulator:
        done = await command.sweep(simulator, *_TOLD)
        assert simulator.count(region=BAD, service="imagebuilder") <= 40 + 12 * 16
    assert done.code == 3
    ended = _ended(done.err.splitlines())
    assert sorted(ended[:40]) == _complete(GOOD)
    assert [status for _, _, status in ended[40:]] == ["failed"] * 40
    wanted = dict.fromkeys([(account, BAD) for account in _accounts()])
    assert done.problems == dict.fromkeys(wanted, ("failed", "findings", "ServiceException"))
    (message,) = {problem["message"] for problem in done.summary["problems"]}
    assert f"every request to imagebuilder in {BAD} failed for " in message
    assert "40 accounts concerned" in message
    good = [(account, GOOD) for account in _accounts()]
    assert_same(command.found(), truth(simulator.organization, good))


async def every_connection_is_refused(command: Command) -> None:
    async with _simulator() as simulator:
        env = {"AWS_ENDPOINT_URL_IMAGEBUILDER": simulator.refused_url}
        done = await command.sweep(simulator, *_TOLD, env=env)
    assert done.code == 3
    wanted = [(account, region) for account in _accounts() for region in (GOOD, BAD)]
    assert done.problems == dict.fromkeys(wanted, ("failed", "findings", "Unreachable"))


async def region_is_dark(
    command: Command, *, kind: Any, options: tuple[str, ...] = (), most: int = 60
) -> None:
    async with _simulator(Dark(kind, BAD)) as simulator:
        ended = await _read_until(command, simulator, 40, *_NARROW, *options)
        assert simulator.count(region=BAD, service="imagebuilder") <= most
    assert sorted(ended) == _complete(GOOD)


async def region_recovers(command: Command, *, kind: Any) -> None:
    async with _simulator(Dark(kind, BAD)) as simulator:

        async def mend() -> None:
            while simulator.count(fault=f"dark {kind}") < 8:  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.01)
            await asyncio.sleep(4.0)
            simulator.faults = Faults()

        mending = asyncio.create_task(mend())
        done = await command.sweep(simulator, *_TOLD)
        await mending
    assert done.code == 0, done.err[-2000:]
    assert_same(command.found(), truth(simulator.organization))


async def accounts_are_dark(
    command: Command, *, kind: Any, service: str, bad: slice, options: tuple[str, ...] = ()
) -> None:
    dark = [Dark(kind, account, service) for account in _accounts()[bad]]
    good = [account for account in _accounts() if account not in {one.place for one in dark}]
    async with _simulator(*dark) as simulator:
        ended = await _read_until(command, simulator, 2 * len(good), *options)
    assert sorted(ended) == _complete(GOOD, BAD, accounts=good)


Scenario = Callable[[Command], Coroutine[Any, Any, None]]
_FEW_REQUESTS, _TWO = ("--max-concurrency", "4"), ("--processes", "2")
_SCENARIOS: dict[str, Scenario] = {
    "a region answers 500 to the end": region_fails_to_the_end,
    "every connection is refused": every_connection_is_refused,
    "a region closes connections": partial(region_is_dark, kind="close"),
    "a region hangs": partial(region_is_dark, kind="hang"),
    "a region throttles": partial(region_is_dark, kind="throttle"),
    "a region hangs, four requests": partial(region_is_dark, kind="hang", options=_FEW_REQUESTS),
    "a region answers 500, two processes": partial(
        region_is_dark, kind="error", options=_TWO, most=120
    ),
    "a region hangs, two processes": partial(region_is_dark, kind="hang", options=_TWO),
    "a region that answered 500 recovers": partial(region_recovers, kind="error"),
    "a region that hung recovers": partial(region_recovers, kind="hang"),
    "roles hang": partial(accounts_are_dark, kind="hang", service="sts", bad=slice(1, 21)),
    "regions are slow": partial(accounts_are_dark, kind="slow", service="ec2", bad=slice(20)),
    "accounts hang everywhere": partial(
        accounts_are_dark, kind="hang", service=EVERYWHERE, bad=slice(1, 9)
    ),
    "accounts hang in Image Builder": partial(
        accounts_are_dark,
        kind="hang",
        service="imagebuilder",
        bad=slice(12),
        options=("--max-concurrency", "12"),
    ),
}
_AT_ONCE = 4


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
    folders = {name: tmp_path_factory.mktemp("dark") for name in _SCENARIOS}
    turns = asyncio.Semaphore(_AT_ONCE)

    async def run(name: str) -> None:
        async with turns:
            await _SCENARIOS[name](Command(folders[name]))

    tasks = {name: asyncio.create_task(run(name)) for name in _SCENARIOS}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", _SCENARIOS)
async def test_only_what_is_dark_waits(name: str, started: dict[str, asyncio.Task[None]]) -> None:
    await started[name]
