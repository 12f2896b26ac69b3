"""At a terminal: whatever others wrote, it cannot obey it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest

from harvester.simulator import Behaviour, Organization, Simulator
from tests.e2e.strangers import refusing
from tests.e2e.support import EVERYTHING, ROLE, Command, assert_same, multiset, organization, truth

# A window title, a colour by C1, a clearing of the screen, a bidirectional override, a bell.
_HOSTILE = "\x1b]0;PWNED\x07 \x9b31m \x1b[2J \u202egnp.exe \u2066 MARK"
_FORBIDDEN = [text.encode() for text in ("\x1b]", "\x9b", "\x1b[2J", "\u202e", "\u2066", "\x07")]


@asynccontextmanager
async def _terminal() -> AsyncIterator[tuple[int, asyncio.Task[bytes]]]:
    """A pseudo-terminal: the end for the command, and what it will have shown."""
    screen, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 400, 0, 0))

    def read() -> bytes:
        shown = b""
        try:
            while data := os.read(screen, 65536):
                shown += data
        except OSError:  # how Linux says that nobody holds the other end any more
            pass
        return shown

    try:
        yield end, asyncio.create_task(asyncio.to_thread(read))
    finally:
        os.close(screen)


def _with_hostile_text() -> Organization:
    one = organization(accounts=1, suspended=0, findings=40, regions=("us-east-1",))
    findings = [
        {**finding, "title": _HOSTILE, "severity": f"HIGH{_HOSTILE}"}
        for finding in one.all_findings()
    ]
    return one.with_findings(one.management, "us-east-1", findings)


async def test_findings_on_a_terminal_are_json_that_it_cannot_obey(command: Command) -> None:
    one = _with_hostile_text()
    async with Simulator(one) as simulator, _terminal() as (end, shown):
        async with command.start(simulator, "sweep", stdout=end, stderr=end) as process:
            os.close(end)
            done = await command.finish(process, 0.0)
        screen = await shown
    assert done.code == 0
    for sequence in _FORBIDDEN:
        assert sequence not in screen, sequence
    lines = [line for line in screen.replace(b"\r\n", b"\n").split(b"\n") if line[:1] == b"{"]
    assert_same(multiset(map(orjson.loads, lines)), truth(one))
    assert b"MARK" in screen


async def test_elsewhere_findings_are_as_they_came(command: Command) -> None:
    one = _with_hostile_text()
    async with Simulator(one) as simulator:
        done = await command(simulator, "sweep")
    assert_same(multiset(done.lines), truth(one))
    assert "\u202e".encode() in done.out


@pytest.mark.parametrize("progress", ["on", "off"])
async def test_refusals_and_severities_on_a_terminal_are_tamed(
    command: Command, progress: str
) -> None:
    own = _with_hostile_text()
    other = organization().accounts[0].id
    async with (
        Simulator(own) as simulator,
        refusing(lambda _, __: f"denied {_HOSTILE}", xml=False) as builder,
        _terminal() as (end, shown),
    ):
        env = {"AWS_ENDPOINT_URL_IMAGEBUILDER": builder}
        options = ("--account", own.management, "--account", other, *ROLE, "--progress", progress)
        async with command.start(
            simulator, "sweep", "-o", "out.ndjson", "--summary", "summary.json", *options,
            env=env, stderr=end,
        ) as process:  # fmt: skip
            os.close(end)
            done = await command.finish(process, 0.0)
        screen = await shown
    assert done.code == 3
    for sequence in _FORBIDDEN:
        assert sequence not in screen, sequence
    assert b"denied" in screen
    assert b"MARK" in screen
    assert all(
        text not in problem["message"]
        for problem in done.summary["problems"]
        for text in ("\x1b", "\x9b", "\u202e")
    )


@pytest.mark.parametrize("style", ["text", "json"])
async def test_refusals_in_logs_are_tamed(command: Command, style: str) -> None:
    own = organization(accounts=1, suspended=0, regions=("us-east-1",))
    words = _HOSTILE.replace("\x1b", "").replace("\x07", "")  # XML has no way to say these two
    async with (
        Simulator(own) as simulator,
        refusing(lambda _, __: f"denied {words} \nFAKE LINE", xml=True) as sts,
    ):
        env = {"AWS_ENDPOINT_URL_STS": sts}
        done = await command(simulator, "sweep", "--log-format", style, env=env)
    assert done.code == 4
    for sequence in _FORBIDDEN:
        assert sequence not in done.err.encode(), sequence
    assert "MARK" in done.err
    assert not any(line.startswith("FAKE") for line in done.err.splitlines())


async def test_a_summary_at_a_terminal_is_readable(command: Command) -> None:
    one = organization()
    async with Simulator(one) as simulator, _terminal() as (end, shown):
        options = ("sweep", "--organization", *ROLE, "--region", "all", "-o", "out.ndjson")
        async with command.start(simulator, *options, stderr=end) as process:
            os.close(end)
            done = await command.finish(process, 0.0)
        screen = (await shown).decode()
    assert done.code == 0
    assert "COMPLETE" in screen
    assert "1,000 findings" in screen
    for severity in ("CRITICAL", "HIGH", "MEDIUM"):
        assert severity in screen


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_progress_grows_whichever_process_reads(command: Command, processes: str) -> None:
    one = organization(empty_share=0.0, skew=0.2)
    options = (*EVERYTHING, "-o", "out.ndjson", "--page-size", "5", "--processes", processes)
    async with (
        Simulator(one, behaviour=Behaviour(latency=0.1)) as simulator,
        _terminal() as (end, shown),
    ):
        async with command.start(simulator, "sweep", *options, stderr=end) as process:
            os.close(end)
            done = await command.finish(process, 0.0)
        screen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", (await shown).decode())
    assert done.code == 0
    for what in ("findings", "requests"):
        numbers = [int(text.replace(",", "")) for text in re.findall(rf"([0-9,]+) {what}", screen)]
        assert len(set(numbers)) > 3, "seen as it grows"
    assert "1,000 findings" in screen
