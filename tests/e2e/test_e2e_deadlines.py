"""Nights that are too short: each gets further, and says how old the output is."""

from __future__ import annotations

import signal
import time
from functools import lru_cache
from pathlib import Path

import pytest

from harvester.output.journal import Journal
from harvester.output.workspace import Workspace
from harvester.simulator import Behaviour, Dark, Faults, Organization, Simulator
from tests.e2e.support import (
    EVERYTHING,
    REGIONS,
    TWO,
    Command,
    Place,
    assert_same,
    held,
    multiset,
    organization,
    pages_asked,
    read_file,
    truth,
    until,
)
from tests.torture.scenarios import aged

_DAY = 86_400.0
_CHAINS = ("--split", "none", "--page-size", "4", "--no-verify", "--max-concurrency", "2")
_ARGUMENTS = ("sweep", "-o", "out/", "--summary", "summary.json", *EVERYTHING, *_CHAINS)


@lru_cache
def whole() -> Organization:
    """Eight targets of a dozen findings each."""
    return organization(accounts=4, suspended=0, findings=96, skew=0.0, empty_share=0.0)


def a_day_later(workspace: Path) -> None:
    """Make what an unfinished sweep left, if it read anything, a day older."""
    if not (workspace / "journal").exists():
        return
    journal = Journal(Workspace(workspace))
    first, *rest = journal.load()
    journal.rewrite([first, *(aged(record, _DAY) for record in rest)])
    journal.close()


def parts(folder: Path) -> dict[Place, Path]:
    return {
        (path.parts[-3].partition("=")[2], path.parts[-2].partition("=")[2]): path
        for path in folder.glob("account=*/region=*/findings.ndjson")
    }


async def night(
    command: Command, number: signal.Signals, targets: int, *options: str
) -> list[Place]:
    """Sweep until so many more parts are new, then end the run; return the targets read."""
    before = {path: path.stat().st_mtime_ns for path in parts(command.folder / "out").values()}

    def appeared() -> int:
        found = parts(command.folder / "out").values()
        return sum(path.stat().st_mtime_ns != before.get(path) for path in found)

    async with (
        Simulator(whole(), behaviour=Behaviour(latency=0.4)) as simulator,
        command.start(simulator, *_ARGUMENTS, *options) as process,
    ):
        await until(lambda: appeared() >= targets or process.returncode is not None, 60.0)
        assert process.returncode is None, "it ended by itself"
        process.send_signal(number)
        await process.communicate()
        return list(dict.fromkeys((one.account, one.region) for one in pages_asked(simulator)))


@pytest.mark.parametrize("options", [(), TWO], ids=["one process", "two processes"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["TERM", "KILL"])
async def test_nights_that_end_early_publish_and_take_turns(
    command: Command, number: signal.Signals, options: tuple[str, ...]
) -> None:
    folder, published = command.folder / "out", set[Place]()
    for _ in range(2):
        asked = await night(command, number, 2, *options)
        found = parts(folder)
        for place, path in found.items():
            assert_same(multiset(read_file(path)), multiset(held(whole(), *place)))
        new = set(found) - published
        assert len(new) >= 2, "the same first targets are not read again and again"
        assert not set(asked[:2]) & published, "those that have waited come first"
        published |= new
        a_day_later(folder / ".harvester")
    async with Simulator(whole()) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, *_CHAINS, "-o", "out/", *options)
        asked = [(one.account, one.region) for one in pages_asked(simulator)]
    assert done.code == 0, done.err
    waited = set(whole().places()) - published
    assert set(asked[: len(waited)]) & waited
    assert_same(command.found("out/"), truth(whole()))
    assert not (folder / ".harvester").exists()


async def test_resume_publishes_each_target_once_and_reads_the_others(command: Command) -> None:
    await night(command, signal.SIGTERM, 2)
    found = parts(command.folder / "out")
    before = {path: path.stat().st_ino for path in found.values()}
    async with Simulator(whole()) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, *_CHAINS, "-o", "out/")
        asked = {(one.account, one.region) for one in pages_asked(simulator)}
    assert done.code == 0, done.err
    assert_same(command.found("out/"), truth(whole()))
    assert not asked & found.keys()
    assert {path: path.stat().st_ino for path in found.values()} == before
    assert done.summary["findings"] == truth(whole()).total()


async def test_deadline_of_a_folder_is_met_by_several_nights(command: Command) -> None:
    """By the deadline itself, which is shorter than the sweep; parts of an older sweep stand."""
    async with Simulator(whole()) as simulator:
        assert (await command.sweep(simulator, *EVERYTHING, "-o", "out/")).code == 0
    first = {path: path.stat().st_ino for path in parts(command.folder / "out").values()}
    renewed: set[Path] = set()
    for number in range(12):
        async with Simulator(whole(), behaviour=Behaviour(latency=0.3)) as simulator:
            deadline = ("--deadline", f"{3 + number}s")
            done = await command.sweep(simulator, *EVERYTHING, *_CHAINS, "-o", "out/", *deadline)
        renewed |= {path for path, inode in first.items() if path.stat().st_ino != inode}
        if renewed == first.keys() or done.code == 0:
            break
        assert done.code == 3, done.err
        assert done.summary["status"] == "interrupted"
        statuses = {one["status"] for one in done.summary["problems"]}
        assert statuses == {"stale"}, "an older part of each stands"
        assert done.summary["targets"]["stale"] > 0
        assert done.summary["targets"]["incomplete"] == 0
        a_day_later(command.folder / "out" / ".harvester")
    assert renewed == first.keys()
    assert_same(command.found("out/"), truth(whole()))


async def test_single_file_says_since_when_it_stands(command: Command) -> None:
    slow = Behaviour(latency=0.5)
    deadline = ("--deadline", "3s")
    async with Simulator(whole(), behaviour=slow) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, *_CHAINS, *deadline)
    assert done.code == 3, done.err
    assert done.summary["output_since"] is None
    (warning,) = done.summary["warnings"]
    assert warning["code"] == "OutputNotReplaced"
    assert "there is no file yet" in warning["message"]
    async with Simulator(whole()) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, *_CHAINS)
    assert done.code == 0
    assert done.summary["output_since"] is None
    old = (command.folder / "out.ndjson").read_bytes()

    async with Simulator(whole(), behaviour=slow) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, *_CHAINS, *deadline)
    assert done.code == 3
    assert done.summary["status"] == "interrupted"
    (warning,) = done.summary["warnings"]
    since = done.summary["output_since"]
    assert since
    assert since < done.summary["started_at"]
    for said in (since, "--deadline", "--max-resume-age", "--output NAME/", "resumes"):
        assert said in warning["message"]
    assert warning["message"] in done.err
    assert (command.folder / "out.ndjson").read_bytes() == old

    # The advice: the same command again, and a directory.
    async with Simulator(whole()) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, *_CHAINS)
        assert (done.code, done.summary["warnings"]) == (0, [])
        assert_same(command.found(), truth(whole()))
    async with Simulator(whole(), behaviour=slow) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, *_CHAINS, *deadline, "-o", "new/")
    assert (done.code, done.summary["warnings"]) == (3, [])


async def test_run_stopped_while_targets_fail_says_which_are_stale(command: Command) -> None:
    one = whole()
    async with Simulator(one) as simulator:
        assert (await command.sweep(simulator, *EVERYTHING, "-o", "out/")).code == 0
    denied = next(account.id for account in one.accounts if account.id != one.management)
    faults, slow = Faults(denied_accounts=frozenset({denied})), Behaviour(latency=0.4)
    async with (
        Simulator(one, behaviour=slow, faults=faults) as simulator,
        command.start(simulator, *_ARGUMENTS) as process,
    ):
        await until(lambda: len(pages_asked(simulator)) > 4, 60.0)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        done = await command.finish(process, began)
    assert done.code == 143
    assert done.problems[denied, None][0] == "stale"
    targets = done.summary["targets"]
    assert targets["total"] == sum(targets.values()) - targets["total"]
    assert_same(command.found("out/"), truth(one))


@pytest.mark.parametrize("destination", ["out/", "out.ndjson"])
async def test_pages_are_durable_while_nothing_else_arrives(
    command: Command, destination: str
) -> None:
    """A target that hangs keeps the run quiet; a kill then loses nothing that came before."""
    one = organization(accounts=2, suspended=0, findings=40, empty_share=0.0)
    hung = max(account.id for account in one.accounts if account.id != one.management)
    faults = Faults(dark=(Dark("hang", hung, "ec2"),))
    options = ("sweep", *EVERYTHING, "-o", destination)
    journal = command.folder / (
        "out/.harvester" if destination == "out/" else ".out.ndjson.harvester"
    )
    async with (
        Simulator(one, faults=faults) as simulator,
        command.start(simulator, *options) as process,
    ):
        await until((journal / "journal").exists)
        await until(lambda: len(pages_asked(simulator)) == len(REGIONS))
        await until(lambda: b'"targets":[["' in (journal / "journal").read_bytes())
        process.kill()
        await process.communicate()
    async with Simulator(one) as simulator:
        done = await command(simulator, *options)
        asked = {(each.account, each.region) for each in pages_asked(simulator)}
    assert done.code == 0, done.err
    assert {account for account, _ in asked} == {hung}
    assert_same(command.found(destination), truth(one))


async def test_an_account_that_hangs_before_its_regions_are_known_is_named(
    command: Command,
) -> None:
    one = organization(accounts=2, suspended=0, findings=40, empty_share=0.0)
    hung = next(account for account in one.accounts if account.id != one.management)
    faults = Faults(dark=(Dark("hang", hung.id, "ec2"),))
    async with Simulator(one, faults=faults) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, "--deadline", "2s")
    assert done.code == 3
    (problem,) = done.summary["problems"]
    assert (problem["account"], problem["account_name"], problem["region"]) == (
        *(hung.id, hung.name, None),
    )
    assert (problem["status"], problem["stage"], problem["code"]) == (
        *("incomplete", "regions", "Interrupted"),
    )
    assert done.summary["targets"]["total"] == len(REGIONS) + 1
