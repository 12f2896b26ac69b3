"""Several processes: the same findings and the same summary as one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from bisect import bisect
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

import harvester
from harvester.settings import LimitSettings
from harvester.simulator import Behaviour, Faults, RequestRecord, Simulator
from tests.e2e.support import (
    EVERYTHING,
    LEVEL,
    SLOW,
    TWO,
    Command,
    Place,
    assert_same,
    children,
    everything_below,
    multiset,
    organization,
    pages_asked,
    roles_assumed,
    runs,
    stop,
    truth,
    until,
)

_EVENTS_OF_A_SWEEP = {
    *("sweep_started", "caller_identified", "accounts_chosen", "regions_chosen", "rate_learned"),
    *("page_size_learned", "target_finished", "output_published", "sweep_finished"),
}


def _seen(pid: int) -> list[str]:
    """The arguments and the variables of a process."""
    return [Path(f"/proc/{pid}/{name}").read_bytes().decode() for name in ("cmdline", "environ")]


def _counts(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What of a summary does not depend on time."""
    kept = ("status", "findings", "pages", "targets", "retries")
    problems = sorted(summary["problems"], key=str)
    return {name: summary[name] for name in kept} | {"problems": problems}


@pytest.mark.parametrize("name", ["out.ndjson", "out.ndjson.gz", "out/", "-"])
async def test_every_finding_comes_once(command: Command, name: str) -> None:
    one = organization()
    async with Simulator(one) as simulator:
        options = ("--processes", "3", "--page-size", "10", "-o", name)
        done = await command.sweep(simulator, *EVERYTHING, *options)
        assert done.summary["requests"] == len(simulator.requests)
        assert set(roles_assumed(simulator).values()) == {1}, "one process holds the sessions"
    assert done.code == 0
    assert_same(multiset(done.lines) if name == "-" else command.found(name), truth(one))
    assert (done.out == b"") == (name != "-")


@pytest.mark.parametrize("processes", ["2", "5"])
async def test_files_and_summaries_are_those_of_one_process(
    command: Command, processes: str
) -> None:
    one = organization(**LEVEL)
    done = {}
    async with Simulator(one) as simulator:
        for number in ("1", processes):
            place = command.place(number)
            options = ("--processes", number, "--page-size", "20", "--filter", "severity=HIGH")
            done[number] = await place.sweep(simulator, *EVERYTHING, *options)
    assert _counts(done["1"].summary) == _counts(done[processes].summary)
    files = [command.folder / number / "out.ndjson" for number in done]
    assert files[0].read_bytes() == files[1].read_bytes() != b""


@pytest.mark.parametrize("more", [(), ("--split", "severity"), ("--verify",)])
async def test_large_targets_are_cut_and_written_as_in_one_process(
    command: Command, more: tuple[str, ...]
) -> None:
    one = organization(accounts=2, suspended=0, findings=800, empty_share=0.0, skew=0.0)
    done = {}
    async with Simulator(one) as simulator:
        for number in ("1", "2"):
            options = ("--processes", number, "--page-size", "5", *more)
            done[number] = await command.place(number).sweep(simulator, *EVERYTHING, *options)
        filters = [page.parameters.get("filters") for page in pages_asked(simulator)]
    assert any(filters)
    assert _counts(done["1"].summary) == _counts(done["2"].summary)
    files = [command.folder / number / "out.ndjson" for number in done]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert_same(command.found("2/out.ndjson"), truth(one))


async def test_more_processes_than_targets_do_no_harm(command: Command) -> None:
    one = organization(accounts=1, suspended=0, regions=("us-east-1",), findings=100)
    async with Simulator(one) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, "--processes", "4")
        assert done.summary["requests"] == len(simulator.requests)
    assert done.code == 0
    assert done.summary["targets"]["complete"] == 1
    assert_same(command.found(), truth(one))


async def test_all_together_keep_to_the_bound_of_requests_in_flight(command: Command) -> None:
    one = organization(**LEVEL)
    async with Simulator(one, behaviour=SLOW) as simulator:
        options = ("--processes", "3", "--max-concurrency", "5", "--page-size", "10")
        done = await command.sweep(simulator, *EVERYTHING, *options, "--split", "severity")
        times = sorted(request.time for request in simulator.requests)
    assert done.code == 0
    assert_same(command.found(), truth(one))
    # Each takes longer than this: what begins within it is in flight together.
    window = 0.9 * SLOW.latency
    most = max(bisect(times, time + window) - index for index, time in enumerate(times))
    assert 3 <= most <= 5


@pytest.mark.parametrize("number", ["0", "-1", "65", "1.5", "x", ""])
async def test_a_number_that_is_none_is_one_clear_line(command: Command, number: str) -> None:
    done = await command(None, "sweep", f"--processes={number}")
    assert done.code == 2
    assert "--processes" in done.err
    assert len(done.err.splitlines()) <= 2
    assert everything_below(command.folder) == set()


async def test_pipelines_are_chosen_and_missed(command: Command) -> None:
    one = organization(accounts=2, suspended=0)
    async with Simulator(one) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, *TWO, "--pipeline", "*")
        assert done.code == 0
        everything = command.found()
        inside = [f for f in one.expected() if "imagePipelineArn" in f]
        assert_same(everything, multiset(inside))
        none = await command.sweep(simulator, *EVERYTHING, *TWO, "--pipeline", "nothing-is-so")
    assert none.code == 3
    assert "no pipeline matches nothing-is-so" in none.err
    assert_same(command.found(), everything)


async def test_what_fails_fails_as_in_one_process(command: Command) -> None:
    one = organization(accounts=7, suspended=1, empty_share=0.0)
    b, c, d, e = [account.id for account in one.accounts if account.status == "ACTIVE"][1:5]
    faults = Faults(
        denied_accounts=frozenset({b}),
        forbidden_targets=frozenset({(c, "us-east-1")}),
        policy_denied_targets=frozenset({(d, "eu-west-1")}),
        cycling_targets=frozenset({(e, "us-east-1")}),
    )
    done = {}
    for number in ("1", "2"):
        async with Simulator(one, faults=faults) as simulator:
            options = ("--processes", number, "--page-size", "20", "--split", "none")
            done[number] = await command.place(number).sweep(simulator, *EVERYTHING, *options)
    assert [one.code for one in done.values()] == [3, 3]
    assert len(done["1"].problems) == 4
    assert _counts(done["1"].summary) == _counts(done["2"].summary)

    def said(number: str) -> list[str]:
        """The lines of the log that name a problem, without their time."""
        return sorted(
            line.partition(" ")[2] for line in done[number].err.splitlines() if " error " in line
        )

    assert said("1") == said("2")
    assert any("→" in line for line in said("2")), "with its hint"


async def test_what_cannot_be_understood_is_set_aside_once(command: Command) -> None:
    one = organization(accounts=2, suspended=0, findings=60, empty_share=0.0)
    bad = set(list(one.places())[:2])
    async with Simulator(one, faults=Faults(unending_targets=frozenset(bad))) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, *TWO)
    assert done.code == 3
    assert done.problems == dict.fromkeys(bad, ("incomplete", "findings", "BodyTooLarge"))
    kept = list((command.folder / "out.ndjson.damaged").iterdir())
    assert len(kept) == 2
    for path in kept:
        assert path.stat().st_mode & 0o777 == 0o600
        assert 1_000_000 < path.stat().st_size <= 1 << 20
        assert any(str(path) in problem["message"] for problem in done.summary["problems"])
    assert_same(command.found(), truth(one, [each for each in one.places() if each not in bad]))


async def test_each_target_keeps_its_pace(command: Command) -> None:
    """The bound of a rate holds for each target, and so one process at a time calls for it."""
    one = organization(accounts=2, suspended=0, findings=240, empty_share=0.0, skew=0.0)
    options = (*TWO, "--page-size", "5", "--max-rate", "20", "--split", "severity")
    async with Simulator(one) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, *options)
        asked: dict[Place, list[RequestRecord]] = defaultdict(list)
        for request in simulator.requests:
            if request.service == "imagebuilder":
                asked[request.account, request.region].append(request)
    assert done.code == 0
    assert_same(command.found(), truth(one))
    assert len(asked) == 4
    for requests in asked.values():
        assert len(requests) >= 12
        seconds = requests[-1].time - requests[0].time
        assert len(requests) <= 20 * seconds * 1.1 + 4


async def test_a_throttle_is_learned_and_counted(command: Command) -> None:
    one = organization(accounts=2, suspended=0, findings=400, empty_share=0.0, skew=0.0)
    async with Simulator(one, behaviour=Behaviour(rate=20, burst=5)) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, *TWO, "--page-size", "5")
        assert done.summary["throttled"] == simulator.count(code=simulator.behaviour.throttle_code)
        assert done.summary["requests"] == len(simulator.requests)
    assert done.code == 0
    assert done.summary["throttled"] > 0
    assert_same(command.found(), truth(one))
    learned = (command.home / ".cache" / "harvester" / "rates.json").read_text()
    assert all(f"{account}/{region}" in learned for account, region in one.places())


async def test_sessions_that_run_out_are_renewed(command: Command) -> None:
    one = organization(accounts=3, suspended=0, findings=90, regions=("us-east-1",), skew=0.0)
    behaviour = Behaviour(session_duration=2.0, latency=0.1)
    async with Simulator(one, behaviour=behaviour) as simulator:
        options = (*TWO, "--page-size", "1", "--split", "none", "--no-verify")
        done = await command.sweep(simulator, *EVERYTHING, *options)
        assert max(roles_assumed(simulator).values()) >= 2, "a session should have run out"
    assert done.code == 0
    assert_same(command.found(), truth(one))


async def test_keys_that_are_refused_are_renewed(command: Command) -> None:
    one = organization(accounts=3, suspended=0)
    async with Simulator(one, faults=Faults(expired=0.2, seed=3)) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, *TWO, "--page-size", "20")
        assert simulator.count(fault="expired") > 0
    assert done.code == 0
    assert_same(command.found(), truth(one))


async def test_no_secret_stands_in_what_others_can_see_of_a_process(command: Command) -> None:
    one = organization(**LEVEL)
    external = "canary-external-id-77ab"
    behaviour = Behaviour(latency=0.1, external_id=external)
    async with Simulator(one, behaviour=behaviour) as simulator:
        own = simulator.environment()
        options = (*EVERYTHING, *TWO, "-o", "out.ndjson", "--page-size", "5", "-vv")
        async with command.start(
            simulator, "sweep", *options, "--external-id", external
        ) as process:
            await until(lambda: len(pages_asked(simulator)) > 20)
            seen = [text for worker in children(process.pid) for text in _seen(worker)]
            done = await command.finish(process, stop(process, signal.SIGINT))
        granted = [each for each in simulator._keyring._known.values() if each.assumed]
    secrets = {external, own["AWS_SECRET_ACCESS_KEY"], own["AWS_ACCESS_KEY_ID"]}
    secrets |= {text for each in granted for text in (each.secret_key, str(each.session_token))}
    assert len(seen) == 2
    assert len(secrets) > 8
    for text in (*seen, done.err):
        assert not any(secret in text for secret in secrets)


async def test_logs_of_all_processes_come_in_one_way(command: Command) -> None:
    one = organization(accounts=2, suspended=0, empty_share=0.0)
    async with Simulator(one, faults=Faults(error_500=0.2, seed=1)) as simulator:
        options = (*EVERYTHING, *TWO, "-vv", "--log-format", "json", "--page-size", "20")
        done = await command.sweep(simulator, *options)
    assert done.code == 0
    lines = done.err.splitlines()
    assert all(line.startswith('{"time"') for line in lines)
    events = {orjson.loads(line)["event"] for line in lines}
    assert events <= {"sdk_log", *_EVENTS_OF_A_SWEEP}
    assert any("Found endpoint for imagebuilder" in line for line in lines), "only they call it"


async def test_one_process_needs_none_of_it(command: Command) -> None:
    one = organization(accounts=1, suspended=0, findings=20)
    code = (
        "import sys; from harvester.cli import main; main(sys.argv[1:]);"
        "print(sorted(name for name in sys.modules if 'harvester.processes' in name))"
    )
    said = []
    async with Simulator(one) as simulator:
        for number in ("1", "2"):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, "sweep", "--region", "all",
                "-o", "out.ndjson", "--processes", number,
                cwd=command.folder, env=command.environment(simulator),
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            said.append((await command.finish(process, 0.0)).out)
    assert said[0] == b"[]\n"
    assert b"harvester.processes.crew" in said[1]


async def test_a_library_call_uses_them_too(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = organization(accounts=3, suspended=0)
    others = set(children(os.getpid()))
    settings = harvester.Settings(
        accounts={"organization": True, "role_name": "Harvester"},
        regions={"include": ["all"]},
        limits={"processes": 2},
        output={"path": str(command.folder / "out.ndjson")},
    )
    async with Simulator(one) as simulator:
        for name, value in simulator.environment().items():
            monkeypatch.setenv(name, value)
        async with harvester.open_sweep(settings) as sweep:
            first = await anext(sweep)
            workers = set(children(os.getpid())) - others
            findings = [first, *[finding async for finding in sweep]]
        left = [worker for worker in workers if runs(worker)]
        alone = replace(settings, limits=LimitSettings())
        async with harvester.open_sweep(alone) as single:
            await anext(single)
            unasked = set(children(os.getpid())) - others
        summary = await harvester.run_sweep(settings)
        async with harvester.open_sweep(settings) as early:
            await anext(early)
    assert len(workers) == 1
    assert not unasked, "a program that uses the library gets no process that it did not ask for"
    assert left == []
    assert set(children(os.getpid())) == others
    assert_same(multiset(findings), truth(one))
    assert sweep.summary.status == summary.status == "complete"
    assert early.summary.status == "interrupted"
    assert_same(command.found(), truth(one))
