"""Ways in which a sweep does not begin, or cannot write: exit codes 2, 4 and 5."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any

import pytest

from harvester.simulator import Behaviour, Faults, Simulator
from tests.e2e.support import (
    EVERYTHING,
    ROLE,
    TWO,
    Command,
    Done,
    assert_same,
    by_two,
    organization,
    truth,
    until,
)

_USAGE: Mapping[str, tuple[tuple[str, ...], str]] = {
    "no such option": (("--bogus",), "--bogus"),
    "no such argument": (("everything",), "everything"),
    "bad account": (("--account", "12345"), "--account"),
    "bad region": (("--region", "Mars"), "--region"),
    "unknown filter": (("--filter", "Severity=HIGH"), "Severity"),
    "filter without value": (("--filter", "severity"), "--filter"),
    "bad page size": (("--page-size", "101"), "--page-size"),
    "bad rate": (("--max-rate", "fast"), "--max-rate"),
    "bad deadline": (("--deadline", "soon"), "--deadline"),
    "bad split": (("--split", "thirds"), "--split"),
    "bad output": (("-o", "findings.csv"), "--output"),
    "contradiction": (("--organization", "--account", "111122223333", *ROLE), "--organization"),
    "no role": (("--organization",), "role"),
    "missing config": (("-c", "nowhere.toml"), "nowhere.toml"),
    "unknown section": (("-c", "section.toml"), "acounts"),
    "unknown key": (("-c", "key.toml"), "rolename"),
    "wrong type": (("-c", "type.toml"), "max_rate"),
    "a secret": (("-c", "secret.toml"), "credentials"),
    "broken config": (("-c", "broken.toml"), "broken.toml"),
}
_FILES = {
    "section.toml": "[acounts]\n",
    "key.toml": '[accounts]\nrolename = "H"\n',
    "type.toml": '[limits]\nmax_rate = "fast"\n',
    "secret.toml": '[aws]\nsecret_access_key = "hunter2hunter2"\n',
    "broken.toml": "[aws\n",
}


async def test_usage_and_config_errors_are_2_with_a_line_that_names_them(command: Command) -> None:
    for name, text in _FILES.items():
        (command.folder / name).write_text(text)
    ended: dict[str, Done] = {}

    async def run(name: str) -> None:
        ended[name] = await command(simulator, "sweep", *_USAGE[name][0])

    async with Simulator(organization()) as simulator:
        await by_two(run, _USAGE)
        assert simulator.requests == []
    for name, (_, said) in _USAGE.items():
        done = ended[name]
        assert (done.code, done.out) == (2, b""), name
        assert said in done.err.splitlines()[0], (name, done.err)
        assert len(done.err.splitlines()) <= 2, (name, done.err)
        assert "hunter2" not in done.err
    assert {path.name for path in command.folder.iterdir()} == set(_FILES)


async def test_another_account_without_a_role_is_a_usage_error(command: Command) -> None:
    one = organization()
    other = next(each.id for each in one.accounts if each.id != one.management)
    async with Simulator(one) as simulator:
        done = await command.sweep(simulator, "--account", other)
        assert {record.operation for record in simulator.requests} <= {"GetCallerIdentity"}
    assert (done.code, done.out) == (2, b"")
    assert "--role-name" in done.err
    assert other in done.err


async def _refused(command: Command, simulator: Simulator, *options: str, **others: Any) -> Done:
    done = await command.sweep(simulator, *options, **others)
    assert (done.code, done.out) == (4, b"")
    assert not (command.folder / "out.ndjson").exists()
    assert simulator.count(operation="ListImageScanFindings") == 0
    assert done.summary["status"] == "failed"
    assert done.summary["findings"] == 0
    *_, line, hint = done.err.splitlines()
    assert line.startswith("harvester: ")
    assert hint.startswith("  hint: ")
    return done


async def test_no_credentials_is_4(command: Command) -> None:
    async with Simulator(organization()) as simulator:
        nothing = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
        done = await _refused(command, simulator, env=nothing)
        assert simulator.requests == []
    assert "credentials" in done.err


async def test_a_wrong_secret_is_4(command: Command) -> None:
    async with Simulator(organization()) as simulator:
        wrong = {"AWS_SECRET_ACCESS_KEY": "wrong-secret-CANARY-0123456789"}
        done = await _refused(command, simulator, "-vv", env=wrong)
    assert "SignatureDoesNotMatch" in done.err
    assert "CANARY" not in done.err


@pytest.mark.parametrize("case", ["denied", "a member calls", "no such unit"])
async def test_an_organization_that_cannot_be_read_is_4(command: Command, case: str) -> None:
    one = organization()
    faults = Faults(organizations_denied=case == "denied")
    options = ("--ou", "ou-zzzz-00000000", *ROLE) if case == "no such unit" else EVERYTHING
    async with Simulator(one, faults=faults) as simulator:
        caller = one.accounts[2].id if case == "a member calls" else None
        done = await _refused(command, simulator, *options, env=simulator.environment(caller))
    code = "ParentNotFoundException" if case == "no such unit" else "AccessDeniedException"
    assert code in done.err
    assert "organizations:ListAccounts" in done.err


async def test_an_output_that_cannot_be_written_is_5_before_anything_is_read(
    command: Command,
) -> None:
    (command.folder / "file").write_text("mine")
    (command.folder / ".out.ndjson.harvester").write_text("in the way")
    (command.folder / "link.ndjson").symlink_to("file")
    (command.folder / "dangling.json").symlink_to("nowhere")
    os.mkfifo(command.folder / "pipe.ndjson.gz")
    before = {path: path.lstat().st_ino for path in command.folder.iterdir()}
    cases = (
        ("-o", "file/out.ndjson"),
        ("-o", "file/deep/"),
        ("-o", "out.ndjson"),
        ("--summary", "file/summary.json"),
        ("-o", "link.ndjson"),
        ("--summary", "dangling.json"),
        ("-o", "pipe.ndjson.gz"),
        ("--summary", "pipe.ndjson.gz"),
    )
    async with Simulator(organization()) as simulator:
        await by_two(lambda options: _unwritable(command, simulator, options), cases)
        assert simulator.requests == []
    assert (command.folder / "file").read_text() == "mine"
    assert {path: path.lstat().st_ino for path in command.folder.iterdir()} == before


async def _unwritable(command: Command, simulator: Simulator, options: tuple[str, ...]) -> None:
    done = await command(simulator, "sweep", *options)
    assert (done.code, done.out) == (5, b""), (options, done.err)
    assert len(done.err.splitlines()) <= 2


@pytest.mark.parametrize("more", [(), (*EVERYTHING, *TWO, "--page-size", "5")])
async def test_a_full_disk_behind_stdout_is_5(command: Command, more: tuple[str, ...]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    options = ("sweep", "--summary", "summary.json", *more)
    try:
        async with Simulator(organization()) as simulator:
            done = await command(simulator, *options, stdout=full)
    finally:
        os.close(full)
    assert done.code == 5
    assert "standard output" in done.err
    assert done.summary["status"] == "failed"
    assert done.summary["findings"] == 0


async def test_a_second_run_on_the_same_output_is_5_and_leaves_the_first_alone(
    command: Command,
) -> None:
    one = organization(findings=300)
    async with Simulator(one, behaviour=Behaviour(latency=0.05)) as simulator:

        async def run(output: str) -> None:
            options = ("sweep", *EVERYTHING, "-o", output)
            async with command.start(simulator, *options, "--page-size", "20") as first:
                await until(lambda: list(command.folder.glob(f"**/{lock_of[output]}")))
                first.send_signal(signal.SIGSTOP)
                second = await command(simulator, *options)
                first.send_signal(signal.SIGCONT)
                done = await command.finish(first, 0.0)
            assert (second.code, done.code) == (5, 0)
            assert "another run" in second.err
            assert_same(command.found(output), truth(one))

        lock_of = {"out.ndjson": ".out.ndjson.harvester/spool", "out/": "out/.harvester/spool"}
        await by_two(run, lock_of)
