"""The summary file never tells of an earlier run than the last one."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from typing import Any

import orjson
import pytest

from harvester.simulator import Behaviour, Simulator
from tests.e2e.support import EVERYTHING, SLOW, Command, organization, pages_asked, stop, until

_OLD = {"run_id": "old", "status": "complete", "findings": 1000, "problems": []}


def _put_old(command: Command) -> None:
    (command.folder / "summary.json").write_bytes(orjson.dumps(_OLD))


def _read(command: Command) -> dict[str, Any]:
    loaded: dict[str, Any] = orjson.loads((command.folder / "summary.json").read_bytes())
    return loaded


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("sweep", "--bogus", "--summary", "summary.json"), "UsageError"),
        (("sweep", "--summary=summary.json", "everything"), "UsageError"),
        (("swep", "--summary", "summary.json"), "UsageError"),
        (("sweep", "--summary", "summary.json", "--max-rate", "fast"), "SettingsError"),
        (("sweep", "--summary", "summary.json", "-c", "nowhere.toml"), "SettingsError"),
        (("sweep", "-c", "bad.toml"), "SettingsError"),
        (("sweep", "-vc", "bad.toml", "--log-format", "json"), "SettingsError"),
    ],
)
async def test_a_usage_error_is_a_failed_run(
    command: Command, arguments: tuple[str, ...], code: str
) -> None:
    (command.folder / "bad.toml").write_text('[output]\nsummary = "summary.json"\n[bogus]\n')
    _put_old(command)
    done = await command(None, *arguments)
    assert done.code == 2
    summary = _read(command)
    assert summary["status"] == "failed"
    assert str(uuid.UUID(summary["run_id"])) == summary["run_id"]
    assert summary["started_at"] <= summary["finished_at"]
    (problem,) = summary["problems"]
    assert (problem["account"], problem["stage"], problem["code"]) == (None, "sweep", code)
    assert problem["message"] in done.err
    if "json" in arguments:
        assert orjson.loads(done.err)["run_id"] == summary["run_id"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "--bogus", "--summary", "summary.json"),
        ("sweep", "--bogus", "--summary", "summary.json", "-o", "summary.json"),
        ("sweep", "--bogus", "--summary", "link.json"),
    ],
)
async def test_a_usage_error_leaves_other_files_alone(
    command: Command, arguments: tuple[str, ...]
) -> None:
    _put_old(command)
    (command.folder / "link.json").symlink_to("summary.json")
    done = await command(None, *arguments)
    assert done.code == 2
    assert _read(command) == _OLD
    assert (command.folder / "link.json").is_symlink()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("-o", "file/out.ndjson"), 5),
        (("--account", "999999999999"), 2),
        (("--region", "us-east-1", "--organization", "--role-name", "R"), 4),
    ],
)
async def test_a_run_that_cannot_begin_is_a_failed_one(
    command: Command, options: tuple[str, ...], code: int
) -> None:
    (command.folder / "file").write_text("")
    _put_old(command)
    one = organization()
    async with Simulator(one) as simulator:
        env = simulator.environment(one.accounts[2].id)  # a member cannot list the organization
        done = await command(simulator, "sweep", "--summary", "summary.json", *options, env=env)
    assert done.code == code
    summary = _read(command)
    assert summary["status"] == "failed"
    assert len(summary["problems"]) == 1
    assert summary["destination"]


@pytest.mark.parametrize("moment", ["as it starts", "as it reads"])
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
async def test_a_signal_makes_it_interrupted(
    command: Command, number: signal.Signals, moment: str
) -> None:
    _put_old(command)
    options = ("sweep", *EVERYTHING, "--summary", "summary.json", "--page-size", "5")
    behaviour = Behaviour(latency=1.0) if moment == "as it starts" else SLOW
    async with (
        Simulator(organization(), behaviour=behaviour) as simulator,
        command.start(simulator, *options) as process,
    ):
        if moment == "as it starts":
            await until(lambda: simulator.requests)
        else:
            await until(lambda: len(pages_asked(simulator)) > 10)
        done = await command.finish(process, stop(process, number))
    assert done.code == 128 + number
    assert _read(command)["status"] == "interrupted"


async def test_a_kill_leaves_it_running(command: Command) -> None:
    _put_old(command)
    options = ("sweep", *EVERYTHING, "--summary", "summary.json", "--page-size", "5")
    async with (
        Simulator(organization(), behaviour=SLOW) as simulator,
        command.start(simulator, *options) as process,
    ):
        await until(lambda: len(pages_asked(simulator)) > 10)
        process.kill()
        await process.wait()
    summary = _read(command)
    assert summary["status"] == "running"
    assert summary["finished_at"] is None


async def test_a_full_disk_never_leaves_an_earlier_summary(command: Command) -> None:
    _put_old(command)
    # No file may grow: so is a new file on a disk that is full.
    script = 'ulimit -f 0; exec "$0" -m harvester "$@"'
    arguments = (sys.executable, "sweep", "--region", "us-east-1", "--summary", "summary.json")
    async with (
        Simulator(organization(accounts=1, suspended=0, findings=20)) as simulator,
        command.start(simulator, *arguments, program=("bash", "-c", script)) as process,
    ):
        done = await command.finish(process, 0.0)
    assert done.code == 5
    assert "summary.json cannot be written" in done.err
    assert not (command.folder / "summary.json").exists()


async def test_a_folder_that_is_read_only_never_keeps_an_earlier_summary(command: Command) -> None:
    folder = command.folder / "reports"
    folder.mkdir()
    path = folder / "summary.json"
    path.write_bytes(orjson.dumps(_OLD))
    subprocess.run(["chattr", "+i", folder], check=True, capture_output=True)  # noqa: ASYNC221, S607
    try:
        async with Simulator(organization(accounts=1, suspended=0)) as simulator:
            done = await command(simulator, "sweep", "--summary", "reports/summary.json")
    finally:
        subprocess.run(["chattr", "-i", folder], check=True)  # noqa: ASYNC221, S607
    assert done.code == 5
    assert path.read_bytes() == b""
