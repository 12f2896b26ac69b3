"""A process that reads, on its own: what it says when it cannot work, and when it is left."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process

from harvester.processes.link import Link
from harvester.processes.messages import Calls, Message, Said, Setup
from harvester.processes.program import start_process
from harvester.settings import AwsSettings, FindingSettings

_LEVELS = {"": logging.WARNING, "harvester": logging.INFO}


@asynccontextmanager
async def _started(setup: Setup) -> AsyncIterator[tuple[Process, Link]]:
    process, link = await start_process()
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(link.carry)
            link.post(setup)
            with anyio.fail_after(30):
                yield process, link
            group.cancel_scope.cancel()
    finally:
        link.close()
        if process.returncode is None:
            process.kill()
        await process.aclose()


def _setup(profile: str | None = None) -> Setup:
    return Setup(FindingSettings(), AwsSettings(profile=profile), 4, None, True, _LEVELS)


async def _said(link: Link) -> list[Message]:
    return [message for message, _ in await link.receive()]


async def test_it_speaks_now_and_then_though_it_has_nothing_to_do() -> None:
    async with _started(_setup()) as (process, link):
        assert [await _said(link), await _said(link)] == [[Calls()], [Calls()]]
        link.close()
        assert await process.wait() == 0, "nobody is left to work for"


async def test_its_defects_are_said_as_all_that_it_logs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What the first process checks before is as good as a defect here."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    async with _started(_setup("nobody")) as (process, link):
        (said,) = await _said(link)
        assert await _said(link) == []
        assert await process.wait() == 1
    assert isinstance(said, Said)
    assert said.level == logging.ERROR
    assert "a defect of harvester" in said.text
    assert "aws.profile" in said.text
    assert capfd.readouterr() == ("", "")
