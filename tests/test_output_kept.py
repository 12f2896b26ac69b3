"""What a sweep that fails leaves of an earlier one, and outputs that cannot be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harvester import Settings, run_sweep
from harvester.errors import OutputError
from harvester.output.workspace import Workspace
from harvester.settings import OutputSettings
from harvester.simulator import Faults, Organization, Simulator, make_findings


async def test_a_sweep_that_could_read_nothing_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "findings.ndjson"
    organization = Organization.single(
        region="us-east-1", findings=make_findings(30, region="us-east-1")
    )
    async with Simulator(organization) as simulator:
        for name, value in simulator.environment().items():
            monkeypatch.setenv(name, value)
        settings = Settings(output=OutputSettings(path=f"{path}"))
        assert (await run_sweep(settings)).status == "complete"
        before = path.read_bytes()
        simulator.faults = Faults(denied_targets=frozenset({organization.management}))
        assert (await run_sweep(settings)).status == "partial"
    assert before.count(b"\n") == 30
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]  # noqa: PTH208  # an async test


async def test_a_folder_that_cannot_be_made_is_an_error_and_no_endless_loop() -> None:
    with pytest.raises(OutputError, match="cannot be made"):
        Workspace(Path("/proc/self/never")).open()


async def test_a_working_folder_that_is_gone_is_an_output_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    try:
        for output in ("x.ndjson", "x/"):
            with pytest.raises(OutputError):
                await run_sweep(Settings(output=OutputSettings(path=output)))
    finally:
        os.chdir(tmp_path)
