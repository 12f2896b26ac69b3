"""Logs of the command as a process: each line has its form, each cause is told once."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections import Counter
from typing import Any

import orjson
import pytest

from harvester.simulator import Behaviour, Faults, Simulator
from tests.e2e.support import (
    EVERYTHING,
    SLOW,
    TWO,
    Command,
    Done,
    organization,
    pages_asked,
    stop,
    until,
)

_JSON = ("--log-format", "json")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_LOCAL_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d ")
_WRONG_ID = Behaviour(external_id="the-right-one")


def _records(done: Done) -> list[dict[str, Any]]:
    """The lines of stderr, each a JSON object with the fields that all have."""
    records = [orjson.loads(line) for line in done.err.splitlines()]
    for one in records:
        assert _TIME.fullmatch(one["time"])
        assert one["level"] in {"debug", "info", "warning", "error"}
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", one["event"]), one
        assert one["message"]
    assert len({one["run_id"] for one in records}) == 1
    return records


def _by_event(records: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [one for one in records if one["event"] == event]


@pytest.mark.parametrize(
    ("arguments", "event", "code"),
    [
        (("sweep", "--bogus", *_JSON), "usage_error", 2),
        ((*_JSON, "sweep"), "usage_error", 2),
        (("swep", "--log-format=json"), "usage_error", 2),
        (("sweep", "--max-rate", "fast", *_JSON), "settings_error", 2),
        (("sweep", "-q", "-v", *_JSON), "settings_error", 2),
        (("sweep", "-vc", "broken.toml"), "settings_error", 2),
        (("plan", "--config=broken.toml"), "settings_error", 2),
        (("sweep", *_JSON), "start_error", 4),
        (("sweep", "-o", "file/out.ndjson", *_JSON), "output_error", 5),
    ],
)
async def test_an_early_end_is_one_line_of_json(
    command: Command, arguments: tuple[str, ...], event: str, code: int
) -> None:
    (command.folder / "broken.toml").write_text('[log]\nformat = "json"\n[bogus]\n')
    (command.folder / "file").write_text("")
    wrong = {"AWS_SECRET_ACCESS_KEY": "wrong-secret-CANARY-0123456789"}
    async with Simulator(organization()) as simulator:
        done = await command(simulator, *arguments, env=wrong)
    assert (done.code, done.out) == (code, b"")
    (record,) = _records(done)
    assert (record["event"], record["level"]) == (event, "error")
    assert record["exit_code"] == code
    assert record["code"]
    assert "CANARY" not in done.err


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_each_line_of_a_sweep_is_json_and_names_the_run(
    command: Command, processes: str
) -> None:
    one = organization(suspended=1)
    denied = one.accounts[1]
    faults = Faults(denied_accounts=frozenset({denied.id}), forbidden_targets=frozenset())
    async with Simulator(one, faults=faults) as simulator:
        done = await command.sweep(
            simulator, *EVERYTHING, *_JSON, "--page-size", "20", "--processes", processes
        )
    assert done.code == 3
    records = _records(done)
    assert {one["run_id"] for one in records} == {done.summary["run_id"]}
    assert [records[0]["event"], records[-1]["event"]] == ["sweep_started", "sweep_finished"]
    first, last = records[0], records[-1]
    assert first["version"] == done.summary["version"]
    assert first["destination"] == str(command.folder / "out.ndjson")
    assert first["regions_include"] == ["all"]
    for name in ("status", "findings", "pages", "requests", "throttled", "retries", "targets"):
        assert last[name] == done.summary[name], name
    (failed,) = _by_event(records, "target_finished")
    assert failed["account"] == denied.id
    assert failed["account_name"] == denied.name
    assert (failed["status"], failed["stage"], failed["code"]) == (
        *("failed", "credentials", "AccessDenied"),
    )
    assert "does it trust the caller" in failed["hint"]


async def test_text_has_date_and_zone_a_first_and_a_last_line(command: Command) -> None:
    async with Simulator(organization()) as simulator:
        done = await command.sweep(simulator, *EVERYTHING)
    assert done.code == 0
    lines = done.err.splitlines()
    assert all(_LOCAL_TIME.match(line) for line in lines)
    for part in (done.summary["version"], done.summary["run_id"], "accounts.organization=True"):
        assert part in lines[0]
    assert f"→ {command.folder / 'out.ndjson'}" in lines[0]
    assert re.search(r"complete: 1,000 findings in \d+ pages and \d+\.\d s; 9 targets", lines[-1])


@pytest.mark.parametrize("style", ["text", "json"])
async def test_a_cause_that_many_share_is_told_once(command: Command, style: str) -> None:
    one = organization(accounts=60, suspended=0, findings=60)
    async with Simulator(one, behaviour=_WRONG_ID) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, "--log-format", style)
    assert done.code == 3
    assert len(done.summary["problems"]) == 59
    assert all(problem["hint"] for problem in done.summary["problems"])
    assert done.err.count("does it trust the caller") == 1
    assert done.err.count("is not authorized to perform") == 1
    if style == "text":
        assert len(done.err.splitlines()) == 4
        assert "58 more accounts failed with AccessDenied" in done.err
        assert len(done.err) < 2000
        return
    failed = _by_event(_records(done), "target_finished")
    assert {each["account"] for each in failed} == {p["account"] for p in done.summary["problems"]}
    assert {(each["status"], each["code"]) for each in failed} == {("failed", "AccessDenied")}
    assert all(each["account_name"] for each in failed)


async def test_verbose_tells_each_failure_in_full(command: Command) -> None:
    one = organization(accounts=6, suspended=0, findings=60)
    async with Simulator(one, behaviour=_WRONG_ID) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, "-v")
    assert done.err.count("does it trust the caller") == 5


async def test_quiet_still_names_failures(command: Command) -> None:
    one = organization()
    faults = Faults(denied_accounts=frozenset({one.accounts[1].id}))
    async with Simulator(one, faults=faults) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, "-q")
    assert done.code == 3
    (line,) = done.err.splitlines()
    assert " error " in line
    assert one.accounts[1].id in line


@pytest.mark.parametrize("more", [(), TWO], ids=["one process", "two"])
async def test_failures_are_on_stderr_before_a_kill(
    command: Command, more: tuple[str, ...]
) -> None:
    one = organization(empty_share=0.0, skew=0.0)
    denied = one.accounts[1].id
    faults = Faults(
        denied_accounts=frozenset({denied}),
        forbidden_targets=frozenset({(one.management, "eu-west-1")}),
    )
    options = ("-o", "out.ndjson", "--summary", "summary.json", "--page-size", "2", *_JSON)
    async with (
        Simulator(one, behaviour=SLOW, faults=faults) as simulator,
        command.start(simulator, "sweep", *EVERYTHING, *options, *more) as process,
    ):
        await until(lambda: len(pages_asked(simulator)) > 40)
        process.kill()
        done = await command.finish(process, 0.0)
    assert done.code == -signal.SIGKILL
    failed = _by_event(_records(done), "target_finished")
    assert {(each["account"], each.get("region")) for each in failed} == {
        (denied, None),
        (one.management, "eu-west-1"),
    }
    assert done.summary["status"] == "running"
    assert done.summary["run_id"] == failed[0]["run_id"]


async def test_targets_that_a_signal_cuts_short_are_logged(command: Command) -> None:
    one = organization(empty_share=0.0, skew=0.0)
    options = ("-o", "out.ndjson", "--summary", "summary.json", "--page-size", "2", *_JSON)
    async with (
        Simulator(one, behaviour=SLOW) as simulator,
        command.start(simulator, "sweep", *EVERYTHING, *options) as process,
    ):
        await until(lambda: len(pages_asked(simulator)) > 20)
        done = await command.finish(process, stop(process, signal.SIGTERM))
    assert done.code == 143
    records = _records(done)
    (stopping,) = _by_event(records, "stopping")
    assert stopping["reason"] == "SIGTERM"
    cut = {(each["account"], each["region"]) for each in _by_event(records, "target_finished")}
    assert cut == {(each["account"], each["region"]) for each in done.summary["problems"]}
    assert records[-1]["status"] == "interrupted"


async def test_verbose_tells_what_was_chosen_skipped_split_and_learned(command: Command) -> None:
    one = organization(accounts=3, suspended=1, findings=1500, empty_share=0.0, skew=0.0)
    (command.folder / "harvester.toml").write_text('[findings]\nsplit = "severity"\n')
    async with Simulator(one, behaviour=Behaviour(rate=30, burst=5, page_limit=25)) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, *_JSON, "-v")
    assert done.code == 0
    records = _records(done)
    events = Counter(each["event"] for each in records)
    places = len(list(one.places()))
    assert events["accounts_chosen"] == events["caller_identified"] == 1
    assert events["regions_chosen"] == 2
    assert events["target_split"] == places
    assert events["page_size_learned"] == 2
    assert events["rate_learned"] >= 1
    finished = _by_event(records, "target_finished")
    assert Counter(each["status"] for each in finished) == {"complete": places, "skipped": 1}
    assert all(each["seconds"] >= 0 for each in finished)
    suspended = next(each for each in one.accounts if each.status != "ACTIVE")
    (skipped,) = [each for each in finished if each["status"] == "skipped"]
    assert (skipped["account"], skipped["account_name"]) == (suspended.id, suspended.name)
    assert "SUSPENDED" in skipped["message"]
    assert all(f"({account.name})" in done.err for account in one.accounts)


async def test_a_resumed_target_is_told_when_verbose(command: Command) -> None:
    one = organization(empty_share=0.0, skew=0.0)
    options = ("-o", "out.ndjson", "--page-size", "5")
    async with Simulator(one, behaviour=SLOW) as simulator:
        async with command.start(simulator, "sweep", *EVERYTHING, *options) as process:
            await until(lambda: len(pages_asked(simulator)) > 60)
            await command.finish(process, stop(process, signal.SIGTERM))
        simulator.behaviour = Behaviour()
        done = await command.sweep(simulator, *EVERYTHING, "--page-size", "5", "-v", *_JSON)
    assert done.code == 0
    records = _records(done)
    assert [one["event"] for one in records[:2]] == ["sweep_started", "sweep_resumed"]
    assert len(_by_event(records, "sweep_resumed")) == 1
    assert done.summary["resumed_from"] == records[1]["began_at"]
    began, oldest = done.summary["resumed_from"], done.summary["oldest_read_at"]
    assert began <= oldest <= done.summary["started_at"]
    resumed = _by_event(records, "target_resumed")
    assert resumed
    assert sum(each["pages"] for each in resumed) > 0
    assert {each["complete"] for each in resumed} <= {True, False}


async def test_a_plan_names_accounts_and_each_line_is_json(command: Command) -> None:
    one = organization()
    denied = one.accounts[1]
    faults = Faults(denied_accounts=frozenset({denied.id}))
    async with Simulator(one, faults=faults) as simulator:
        done = await command(simulator, "plan", *EVERYTHING, *_JSON)
    assert done.code == 3
    names = {account.id: account.name for account in one.accounts}
    assert all(line["account_name"] == names[line["account"]] for line in done.lines)
    records = _records(done)
    assert [one["event"] for one in records] == ["plan_started", "target_finished", "plan_finished"]
    assert records[1]["account_name"] == denied.name
    assert records[-1]["targets"] == 8


async def test_a_plan_tells_what_a_sweep_would_warn_of(command: Command) -> None:
    async with Simulator(organization()) as simulator:
        done = await command(simulator, "plan", "--pipeline", "nothing-is-so", *_JSON)
    assert done.code == 3
    (warning,) = _by_event(_records(done), "nothing_selected")
    assert (warning["level"], warning["stage"]) == ("warning", "pipelines")


async def test_an_internal_error_is_one_line_of_json(command: Command) -> None:
    program = (
        "import sys, click\n"
        "from harvester.cli import cli, main\n"
        "@cli.command()\n"
        "@click.option('--log-format')\n"
        "def broken(log_format): raise KeyError('lost\\n\\x1b[2J')\n"
        "sys.exit(main())\n"
    )
    (command.folder / "broken.py").write_text(program)
    async with command.start(
        None, "broken", *_JSON, program=(sys.executable, "broken.py")
    ) as process:
        done = await command.finish(process, 0.0)
    assert done.code == 1
    (record,) = _records(done)
    assert (record["event"], record["code"]) == ("internal_error", "KeyError")
    assert "KeyError" in record["traceback"]
    assert "\x1b" not in done.err


async def test_progress_lines_name_the_last_targets_and_an_estimate(command: Command) -> None:
    one = organization(accounts=2, suspended=0, findings=400, empty_share=0.0, skew=0.0)
    options = ("--page-size", "1", "--max-rate", "9", "--progress", "on", *_JSON)
    lines: list[dict[str, Any]] = []
    async with (
        Simulator(one) as simulator,
        command.start(simulator, "sweep", *EVERYTHING, *options) as process,
    ):
        assert process.stderr is not None
        while not any(each["event"] == "progress" for each in lines):
            lines.append(orjson.loads(await asyncio.wait_for(process.stderr.readline(), 30)))
        process.kill()
    progress = lines[-1]
    assert progress["seconds_left"] > 0
    assert len(progress["open"]) == 4
    names = {account.id: account.name for account in one.accounts}
    for each in progress["open"]:
        assert names[each[:12]] in each
    assert "still reading" in progress["message"]


async def test_text_of_others_on_stderr_becomes_json(command: Command) -> None:
    program = (
        "import click, sys\n"
        "from harvester import __main__, cli\n"
        "@cli.cli.command()\n"
        "@click.option('--log-format')\n"
        "def loud(log_format): print('one\\ntwo', file=sys.stderr)\n"
        "__main__.main()\n"
    )
    (command.folder / "loud.py").write_text(program)
    arguments = ("loud", *_JSON)
    async with command.start(None, *arguments, program=(sys.executable, "loud.py")) as process:
        done = await command.finish(process, 0.0)
    assert done.code == 0
    said = [(one["event"], one["message"]) for one in _records(done)]
    assert said == [("stderr_text", "one"), ("stderr_text", "two")]
