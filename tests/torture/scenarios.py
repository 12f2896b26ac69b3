"""Sweeps that are killed, and what is different when the same command is started again."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harvester.output.journal import Journal, Record
from harvester.output.workspace import Workspace
from harvester.simulator import Behaviour, Faults, Organization, RequestRecord, Simulator, Target
from tests.e2e.support import (
    EVERYTHING,
    Command,
    Done,
    assert_same,
    everything_below,
    held,
    multiset,
    organization,
    pages_asked,
    pages_of,
    place_of,
    stop,
    truth,
    until,
)
from tests.torture.jobs import records_in

Scenario = Callable[[Command, random.Random], Awaitable[None]]

_CHAINS = ("--split", "none", "--page-size", "5")
_SLOW = Behaviour(latency=0.08)


def small() -> Organization:
    """Three accounts, a region, and two seconds or so of reading."""
    return organization(
        accounts=3, suspended=0, findings=300, regions=("us-east-1",), skew=0.5, empty_share=0.0
    )


def journal_of(folder: Path, output: str = "out.ndjson") -> Path:
    """The journal beside an output."""
    return folder / f".{output}.harvester" / "journal"


def _clock(later: float) -> Callable[[], float]:
    return lambda: time.time() + later


async def kill(
    command: Command,
    one: Organization,
    *options: str,
    rng: random.Random,
    behaviour: Behaviour = _SLOW,
    faults: Faults | None = None,
    later: float = 0.0,
) -> list[RequestRecord]:
    """Sweep, and kill the run after a commit or two; returns what it asked.

    For the service it is so many seconds `later` than it is.
    """
    journal, commits = journal_of(command.folder), rng.randint(1, 2)
    arguments = ("sweep", "-o", "out.ndjson", "--summary", "summary.json", *EVERYTHING, *options)
    before = journal.stat().st_ino if journal.exists() else None

    def committed() -> bool:
        # The journal of the run before is replaced by one with two records.
        return records_in(journal) >= 2 + commits and journal.stat().st_ino != before

    async with (
        Simulator(one, behaviour=behaviour, faults=faults, clock=_clock(later)) as simulator,
        command.start(simulator, *arguments) as process,
    ):
        await until(lambda: process.returncode is not None or committed())
        assert process.returncode is None, "it ended before so many commits"
        process.kill()
        await process.wait()
        return simulator.requests


async def resume(
    command: Command,
    one: Organization,
    *options: str,
    behaviour: Behaviour | None = None,
    code: int = 0,
    later: float = 0.0,
) -> tuple[Done, list[RequestRecord]]:
    """Start the same command, which must end with a code; returns it, and what it asked.

    For the service it is so many seconds `later` than it is.
    """
    async with Simulator(one, behaviour=behaviour, clock=_clock(later)) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, *options)
        asked = pages_asked(simulator)
    assert done.code == code, done.err
    if code == 0:
        assert everything_below(command.folder) == {"out.ndjson", "summary.json"}
        assert done.summary["status"] == "complete"
        assert done.summary["findings"] == command.found().total()
    return done, asked


def _tokens(requests: Sequence[RequestRecord]) -> set[tuple[str, Any]]:
    return {(one.account, one.parameters.get("nextToken")) for one in pages_of(requests)}


async def nothing_is_different(command: Command, rng: random.Random) -> None:
    """It goes on: what was committed is not asked for again."""
    before = _tokens(await kill(command, small(), *_CHAINS, rng=rng))
    done, asked = await resume(command, small(), *_CHAINS)
    assert_same(command.found(), truth(small()))
    assert "resuming the unfinished sweep" in done.err
    twice = before & _tokens(asked)
    # A second's worth: three chains, a page each 80 ms or more.
    assert len(twice) <= 3 / 0.08 * 1.2
    assert done.summary["pages"] >= len(before | _tokens(asked)) - 3


async def tokens_have_expired(command: Command, rng: random.Random) -> None:
    """Each query whose token is refused starts over, and what it had written is replaced."""
    await kill(command, small(), *_CHAINS, rng=rng)
    done, asked = await resume(command, small(), *_CHAINS, behaviour=Behaviour(token_lifetime=60))
    assert_same(command.found(), truth(small()))
    refused = [one for one in asked if one.code == "InvalidPaginationTokenException"]
    assert refused, "tokens of before should not be good any more"
    assert "resuming the" in done.err


async def sessions_and_tokens_run_out_all_the_time(command: Command, rng: random.Random) -> None:
    """Credentials are no part of what is kept: each run has its own."""
    short = Behaviour(latency=0.05, session_duration=0.5, token_lifetime=1.0)
    before: list[RequestRecord] = []
    for later in (0.0, 1.0):  # when the last tokens have run out
        before += await kill(command, small(), *_CHAINS, rng=rng, behaviour=short, later=later)
    quick = replace(short, latency=0.01)
    done, asked = await resume(command, small(), *_CHAINS, behaviour=quick, later=2.0)
    assert "resuming the" in done.err
    assert "InvalidPaginationTokenException" in {one.code for one in (*before, *asked)}
    sessions = [one for one in before if one.operation == "AssumeRole"]
    assert len(sessions) > 2 * 2, "each of the two roles should have been assumed more than once"
    assert_same(command.found(), truth(small()))


async def findings_and_accounts_have_changed(command: Command, rng: random.Random) -> None:
    """What is read is today's; an account that has left is not in the output."""
    one = small()
    first, gone, last = (account.id for account in one.accounts)
    await kill(command, one, *_CHAINS, rng=rng)
    new = {**one.findings(first, "us-east-1")[0], "title": "found since then"}
    grown = one.with_findings(first, "us-east-1", [*one.findings(first, "us-east-1"), new])
    left = replace(grown, accounts=tuple(each for each in grown.accounts if each.id != gone))
    await resume(command, left, *_CHAINS)
    found, places = command.found(), [(first, "us-east-1"), (last, "us-east-1")]
    before, after = truth(one, places), truth(grown, places)
    assert found in (before, after), "a target that was whole already is not read again"
    assert not [f for f in truth(one, [(gone, "us-east-1")]) if f in found]


async def a_pipeline_is_gone(command: Command, rng: random.Random) -> None:
    """Its query is none any more: what it gave is dropped, in a target that is not whole yet."""
    one = small()
    options = ("--pipeline", "*", "--page-size", "2")
    await kill(command, one, *options, rng=rng)
    place = (one.accounts[0].id, "us-east-1")
    target = one.target(*place)
    arn = target.pipelines[0].arn
    rest = [f for f in one.findings(*place) if f.get("imagePipelineArn") != arn]
    other = one.with_target(*place, Target(target.pipelines[1:], target.images, rest))
    await resume(command, other, *options)
    assert command.found() in [_of_pipelines(which) for which in (one, other)]


def _of_pipelines(one: Organization) -> Counter[bytes]:
    """The multiset of the findings of images that a pipeline has built."""
    found = (finding for place in one.places() for finding in held(one, *place))
    return multiset(finding for finding in found if "imagePipelineArn" in finding)


async def a_target_had_failed(command: Command, rng: random.Random) -> None:
    """What was denied, led in circles or gave garbage is read again, and once."""
    one = small()
    denied, circles, _ = (account.id for account in one.accounts)
    faults = Faults(denied_targets=frozenset({denied}), cycling_targets=frozenset({circles}))
    options = ("--split", "none", "--page-size", "2")  # the third is to last for some commits
    await kill(command, one, *options, rng=rng, faults=faults)
    await resume(command, one, *options)
    assert_same(command.found(), truth(one))


async def a_target_was_cut(command: Command, rng: random.Random) -> None:
    """The parts of a cut go on, each at its own token."""
    split = rng.choice(("severity", "image", "pipeline"))
    options = ("--split", split, "--page-size", "2", "--max-concurrency", "6")
    before = await kill(command, small(), *options, rng=rng)
    _, asked = await resume(command, small(), *options)
    assert_same(command.found(), truth(small()))
    filters = {str(each.parameters.get("filters")) for each in pages_of(before) + asked}
    assert len(filters) > 3, "it should have been cut"


async def it_is_another_sweep(command: Command, rng: random.Random) -> None:
    """Other settings are refused, in a line that says which, and change nothing."""
    await kill(command, small(), *_CHAINS, rng=rng)
    before = journal_of(command.folder).read_bytes()
    other = (*_CHAINS, "--filter", "severity=HIGH")
    done, asked = await resume(command, small(), *other, code=2)
    assert not asked
    (line, hint) = [line for line in done.err.splitlines() if line.strip()][-2:]
    assert line.startswith("harvester: --filter: ")
    assert "{'severity': ['HIGH']}" in line
    assert "--fresh" in hint
    assert journal_of(command.folder).read_bytes() == before
    assert not (command.folder / "out.ndjson").exists()
    if rng.random() < 0.5:
        await resume(command, small(), *_CHAINS)
        assert_same(command.found(), truth(small()))
    else:
        await resume(command, small(), *other, "--fresh")
        assert 0 < command.found().total() < truth(small()).total()


async def its_journal_is_old_or_of_another_version(command: Command, rng: random.Random) -> None:
    """Nothing of it is used, and a line says so."""
    word = rng.choice(("too old", "another version"))
    await kill(command, small(), *_CHAINS, rng=rng)
    journal = Journal(Workspace(journal_of(command.folder).parent))
    first, *rest = journal.load()
    if word == "too old":
        rest = [aged(record, 90_000.0) for record in rest]
    else:
        first["version"] -= 1
    journal.rewrite([first, *rest])
    journal.close()
    done, asked = await resume(command, small(), *_CHAINS)
    assert word in done.err
    assert "starting over" in done.err
    assert_same(command.found(), truth(small()))
    assert len([one for one in asked if "nextToken" not in one.parameters]) == 3


def aged(record: Record, seconds: float) -> Record:
    """A record of a journal, as if all it tells of had been read so much earlier."""
    targets = [
        [account, region, since - seconds, *rest]
        for account, region, since, *rest in record["targets"]
    ]
    queries = [
        [*query, since and since - seconds, places] for *query, since, places in record["queries"]
    ]
    return {**record, "targets": targets, "queries": queries}


async def another_run_holds_it(command: Command, rng: random.Random) -> None:
    """A second run is refused at once and harms nothing; the lock of a dead one does not count."""
    one = small()
    journal = journal_of(command.folder)
    arguments = ("sweep", "-o", "out.ndjson", "--summary", "first.json", *EVERYTHING, *_CHAINS)
    slow = Behaviour(latency=2.0)  # it has to last as long as all of them
    async with (
        Simulator(one, behaviour=slow) as simulator,
        command.start(simulator, *arguments) as process,
    ):
        await until(journal.exists)
        async with Simulator(one) as idle:
            for options in ((), ("--fresh",), ("--filter", "severity=LOW")):
                second = await command.sweep(idle, *EVERYTHING, *_CHAINS, *options)
                assert second.code == 5
                assert "another run is writing to this output" in second.err
            assert not idle.requests
        await until(lambda: records_in(journal) > 2)
        stop(process, rng.choice((signal.SIGKILL, signal.SIGTERM)))
        await process.wait()
    (command.folder / "first.json").unlink(missing_ok=True)
    await resume(command, one, *_CHAINS)
    assert_same(command.found(), truth(one))


async def deadlines_stop_it_again_and_again(command: Command, rng: random.Random) -> None:
    """A window of two seconds a night is enough, in the end."""
    for _ in range(40):  # on a busy machine a window may end before the first page
        async with Simulator(small(), behaviour=_SLOW) as simulator:
            seconds = f"{rng.uniform(1.0, 2.0):.1f}s"
            done = await command.sweep(simulator, *EVERYTHING, *_CHAINS, "--deadline", seconds)
        if done.code == 0:
            break
        assert done.code == 3
        assert done.summary["status"] == "interrupted"
        assert not (command.folder / "out.ndjson").exists()
    assert_same(command.found(), truth(small()))
    assert everything_below(command.folder) == {"out.ndjson", "summary.json"}


async def nothing_is_kept_for_stdout(command: Command, rng: random.Random) -> None:
    """Stdout cannot be taken back: it starts over, and leaves nothing beside it."""
    async with (
        Simulator(small(), behaviour=_SLOW) as simulator,
        command.start(simulator, "sweep", *EVERYTHING, *_CHAINS) as process,
    ):
        asked = rng.randint(2, 8)  # more would fill the pipe, which nobody reads
        await until(lambda: len(pages_asked(simulator)) > asked)
        process.kill()
        await process.communicate()
    assert everything_below(command.folder) == set()
    async with Simulator(small()) as simulator:
        done = await command(simulator, "sweep", *EVERYTHING, *_CHAINS)
    assert len(done.lines) == truth(small()).total()
    assert {place_of(one)[1] for one in done.lines} == {"us-east-1"}


SCENARIOS: tuple[Scenario, ...] = (
    nothing_is_different,
    tokens_have_expired,
    sessions_and_tokens_run_out_all_the_time,
    findings_and_accounts_have_changed,
    a_pipeline_is_gone,
    a_target_had_failed,
    a_target_was_cut,
    it_is_another_sweep,
    its_journal_is_old_or_of_another_version,
    another_run_holds_it,
    deadlines_stop_it_again_and_again,
    nothing_is_kept_for_stdout,
)
