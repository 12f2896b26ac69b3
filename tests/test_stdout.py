"""Lines to a file descriptor: whole, in bounded time, and harmless to a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.aws.bodies import page_of
from harvester.errors import OutputClosedError, OutputError
from harvester.model import Finding, Page, Query, Target
from harvester.output.ndjson import encode_line
from harvester.output.sink import StreamSink
from harvester.output.stdout import StdoutSink, harmless

_QUERY = Query(Target("111122223333", "us-east-1"))


def _page(number: int, *, size: int = 100) -> Page:
    some = [{"page": number, "n": n, "text": "漏洞 " * 50} for n in range(size)]
    return page_of(some, f"{number + 1}")


class Pipe:
    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def close_reader(self) -> None:
        os.close(self.reader)
        self.reader = -1

    async def read_all(self, step: int = 65_536) -> bytes:
        """Read to the end, or until what was written last."""
        content = b""
        while True:
            await anyio.wait_readable(self.reader)
            chunk = os.read(self.reader, step)
            content += chunk
            if not chunk:
                return content

    def close(self) -> None:
        for descriptor in (self.reader, self.writer):
            if descriptor >= 0:
                os.close(descriptor)
        self.reader = self.writer = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


@pytest.mark.parametrize("step", [7, 4096, 50_000])
@pytest.mark.parametrize("blocking", [True, False])
async def test_a_slow_reader_gets_every_byte(pipe: Pipe, step: int, *, blocking: bool) -> None:
    os.set_blocking(pipe.writer, blocking)
    content = b""

    async def read() -> None:
        nonlocal content
        content = await pipe.read_all(step)

    pages = [_page(number) for number in range(1 + step // 10)][:40]
    async with anyio.create_task_group() as group:
        group.start_soon(read)
        sink = StdoutSink(pipe.writer)
        for page in pages:
            await sink.write(_QUERY, page)
        os.close(pipe.writer)
        pipe.writer = -1

    assert content == b"".join(page.text for page in pages)


async def test_pages_written_at_once_do_not_mix(pipe: Pipe) -> None:
    sink, content = StdoutSink(pipe.writer), b""

    async def read() -> None:
        nonlocal content
        content = await pipe.read_all(3000)

    async def write(number: int) -> None:
        for page in range(3):
            await sink.write(Query(Target(f"{number}", "r")), _page(10 * number + page))

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        async with anyio.create_task_group() as writers:
            for number in range(8):
                writers.start_soon(write, number)
        os.close(pipe.writer)
        pipe.writer = -1

    expected = [line for n in range(8) for page in range(3) for line in _page(10 * n + page).lines]
    assert sorted(content.splitlines(keepends=True)) == sorted(expected)


async def test_no_reader_is_a_closed_output(pipe: Pipe) -> None:
    sink = StdoutSink(pipe.writer)
    pipe.close_reader()

    with pytest.raises(OutputClosedError) as caught:
        await sink.write(_QUERY, _page(1))
    assert caught.value.exit_code == 141


async def test_a_reader_that_leaves_wakes_who_waits_for_it(pipe: Pipe) -> None:
    sink, ended = StdoutSink(pipe.writer), False

    async def write() -> None:
        nonlocal ended
        with pytest.raises(OutputClosedError):
            await sink.write(_QUERY, _page(1, size=1000))
        ended = True

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(write)
            await anyio.wait_all_tasks_blocked()
            assert not ended
            pipe.close_reader()
    assert ended


async def test_who_waits_for_a_reader_can_be_cancelled(pipe: Pipe) -> None:
    sink, scope = StdoutSink(pipe.writer), anyio.CancelScope()

    async def write() -> None:
        with scope:
            await sink.write(_QUERY, _page(1, size=1000))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(write)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught

    content = b""

    async def read() -> None:
        nonlocal content
        content = await pipe.read_all()

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await sink.write(Query(_QUERY.target, "severity", "LOW"), page_of([{"after": 1}], None))
        os.close(pipe.writer)
        pipe.writer = -1
    assert content == _page(1, size=1000).text + b'{"after":1}\n', "no half a line in between"


async def test_a_page_that_is_being_written_is_finished_after_a_stop(pipe: Pipe) -> None:
    sink = StdoutSink(pipe.writer)
    pages = [_page(number, size=600) for number in range(2)]
    written = []

    async def write(page: Page) -> None:
        await sink.write(_QUERY, page)
        written.append(page.text)

    async with anyio.create_task_group() as outer:
        outer.start_soon(write, pages[0])
        await anyio.wait_all_tasks_blocked()  # the pipe is full
        sink.finish_within(5.0)
        outer.cancel_scope.cancel()
        outer.start_soon(write, pages[1])  # its call was under way, and so it comes now
        with anyio.fail_after(5, shield=True):
            await anyio.wait_all_tasks_blocked()
            content = b""
            while len(content) < sum(len(page.text) for page in pages):
                await anyio.wait_readable(pipe.reader)
                content += os.read(pipe.reader, 65_536)
    assert content == b"".join(written) == pages[0].text + pages[1].text


async def test_a_page_cut_short_is_finished_before_another_begins(pipe: Pipe) -> None:
    sink, content = StdoutSink(pipe.writer), b""
    first, never, second = (_page(number, size=600) for number in range(3))
    with anyio.move_on_after(0.05):
        await sink.write(_QUERY, first)  # as far as the pipe takes it
    with anyio.move_on_after(0.05):
        await sink.write(_QUERY, never)

    async def read() -> None:
        nonlocal content
        content = await pipe.read_all()

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await sink.write(_QUERY, second)
        os.close(pipe.writer)
        pipe.writer = -1
    assert content == first.text + second.text


async def test_a_blocked_reader_holds_up_nothing_else(pipe: Pipe) -> None:
    sink, ticks = StdoutSink(pipe.writer), 0
    async with anyio.create_task_group() as group:
        group.start_soon(sink.write, _QUERY, _page(1, size=1000))
        await anyio.wait_all_tasks_blocked()
        for _ in range(100):
            await anyio.lowlevel.checkpoint()
            ticks += 1
        group.cancel_scope.cancel()

    assert ticks == 100


async def test_a_regular_file(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb", buffering=0) as file:
        sink = StdoutSink(file.fileno())
        for number in range(5):
            await sink.write(_QUERY, _page(number))

    expected = b"".join(_page(number).text for number in range(5))
    assert (tmp_path / "out").read_bytes() == expected


async def test_a_full_device_is_an_output_error() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OutputError, match="No space left") as caught:
            await StdoutSink(descriptor).write(_QUERY, _page(1))
    finally:
        os.close(descriptor)

    assert not isinstance(caught.value, OutputClosedError)
    assert caught.value.exit_code == 5


async def test_the_null_device_takes_everything() -> None:
    descriptor = os.open(os.devnull, os.O_WRONLY)
    try:
        await StdoutSink(descriptor).write(_QUERY, _page(1))
    finally:
        os.close(descriptor)


def test_no_stdout_at_all(monkeypatch: pytest.MonkeyPatch, pipe: Pipe) -> None:
    with pytest.raises(OutputError, match="cannot be used"):
        StdoutSink(10_000)
    with monkeypatch.context() as context:
        context.setattr(sys, "stdout", None)
        with pytest.raises(OutputError, match="closed") as caught:
            StdoutSink()
    assert caught.value.hint
    del pipe


async def test_a_terminal_is_shown_escapes_in_place_of_what_it_obeys() -> None:
    reader, terminal = os.openpty()
    hostile = {"text": "\x1b[2J \x9b2J \u202eabc\u2066 \x7f\u2028", "漏": "\x00"}
    try:
        await StdoutSink(terminal).write(_QUERY, page_of([hostile], None))
        shown = os.read(reader, 65_536)
    finally:
        os.close(terminal)
        os.close(reader)

    assert json.loads(shown) == hostile
    assert shown.decode().strip().isprintable()


@given(st.dictionaries(st.text(), st.text(st.characters(exclude_categories=()))))
def test_harmless_lines_are_the_same_json(finding: Finding) -> None:
    line = encode_line(finding)
    shown = harmless(line)

    assert json.loads(shown) == json.loads(line)
    text = shown.decode("utf-8").removesuffix("\n")
    assert not set(text) & set(map(chr, [*range(32), *range(127, 160), *range(0x202A, 0x202F)]))


class Collected(StreamSink):
    def __init__(self) -> None:
        super().__init__()
        self.pages: list[int] = []

    async def send(self, lines: list[bytes]) -> None:
        assert all(line.endswith(b"}\n") for line in lines)
        self.pages += [json.loads(line)["n"] for line in lines]


@pytest.mark.parametrize(
    ("reads", "sent"),
    [
        ([[1, 2, 3]], [1, 2, 3]),
        ([[1, 2], [1, 2, 3]], [1, 2, 3]),
        ([[1, 2], [1, 2]], [1, 2]),
        ([[1, 2, 3], [1], [1, 2, 3, 4]], [1, 2, 3, 4]),
        ([[1, 2, 3], [1, 9, 3, 4]], [1, 2, 3, 9, 4]),
        ([[1, 2, 3], [9, 3, 1, 2]], [1, 2, 3, 9]),
        ([[1, 2, 3], [1, 9], [1, 9, 3]], [1, 2, 3, 9]),
        ([[1, 1, 1], [1, 1, 1, 1]], [1, 1, 1, 1]),
        ([[], [1]], [1]),
        ([[1], [], [1, 2]], [1, 2]),
    ],
)
async def test_after_starting_over_a_stream_sends_what_is_new(
    reads: list[list[int]], sent: list[int]
) -> None:
    sink, other = Collected(), Query(_QUERY.target, "severity", "LOW")
    await sink.write(other, page_of([{"n": 0}], None))
    for number, pages in enumerate(reads):
        if number:
            await sink.replace([_QUERY], _QUERY)
        for page in pages:
            await sink.write(_QUERY, page_of([{"n": page}], None))
    await sink.finished(_QUERY.target)
    await sink.write(other, page_of([{"n": 0}], None))

    assert sink.pages == [0, *sent, 0]


async def test_a_finished_query_is_forgotten() -> None:
    sink = Collected()
    for _ in range(2):
        await sink.write(_QUERY, page_of([{"n": 1}], None))
        await sink.finished(_QUERY.target)

    assert sink.pages == [1, 1]
