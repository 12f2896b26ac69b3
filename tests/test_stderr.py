"""Standard error that never blocks and never fails."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from harvester.terminal import stderr
from harvester.terminal.stderr import BackgroundWriter, Stderr


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for end in (reader, writer):
        with suppress(OSError):  # a test has closed it
            os.close(end)


def test_lines_arrive_in_order(pipe: tuple[int, int]) -> None:
    writer = BackgroundWriter(pipe[1])
    for number in range(100):
        writer.write(f"{number}\n".encode())
    writer.flush()

    assert os.read(pipe[0], 4096) == "".join(f"{number}\n" for number in range(100)).encode()
    assert (writer.lost, writer.waiting) == (0, 0)


def test_a_reader_that_stands_still_blocks_nobody_and_losses_are_counted(
    pipe: tuple[int, int],
) -> None:
    writer = BackgroundWriter(pipe[1], limit=10)
    for _ in range(200):
        writer.write(b"x" * 4095 + b"\n")  # a pipe holds 16 of these
    assert writer.waiting <= 11
    assert writer.lost >= 150
    writer.flush(patience=0.01)

    lost, taken = writer.lost, b""
    while b"dropped" not in taken:
        taken += os.read(pipe[0], 1 << 16)
    told = next(line for line in taken.splitlines() if b"dropped" in line)
    assert f"harvester: {lost} lines were dropped".encode() in told


def test_a_reader_that_is_gone_is_no_error(pipe: tuple[int, int]) -> None:
    writer = BackgroundWriter(pipe[1])
    os.close(pipe[0])
    for _ in range(3):
        writer.write(b"line\n")
        writer.flush()

    assert writer.lost == 3
    assert writer.waiting == 0


def test_a_full_device_is_no_error() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    writer = BackgroundWriter(full)
    writer.write(b"line\n")
    writer.flush()
    os.close(full)

    assert writer.lost == 1


def test_a_non_blocking_descriptor_gets_everything(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    writer, taken = BackgroundWriter(pipe[1]), bytearray()

    def read() -> None:
        while len(taken) < 400_000:
            taken.extend(os.read(pipe[0], 1 << 16))

    reader = threading.Thread(target=read)
    for _ in range(100):
        writer.write(b"y" * 4000)
    reader.start()
    reader.join(20)
    writer.flush()

    assert len(taken) == 400_000
    assert writer.lost == 0


def test_a_stream_over_a_closed_stderr_takes_everything() -> None:
    stream = Stderr(None)
    assert stream.write("text\n") == 5
    stream.settle()
    assert not stream.isatty()
    with pytest.raises(OSError, match="fileno"):
        stream.fileno()


def test_text_of_others_gets_the_form_of_the_log(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with os.fdopen(os.dup(pipe[1]), "w") as original:
        stream = Stderr(original)
        monkeypatch.setattr(sys, "stderr", stream)
        stream.wrap = lambda line: f"<{line}>"
        print("one", "two", sep="\n", end="", file=sys.stderr)  # noqa: T201  # as others do
        stderr.put_line("as it is")
        stderr.settle()

    assert os.read(pipe[0], 4096) == b"<one>\nas it is\n<two>\n"


def test_what_the_encoding_lacks_is_escaped(pipe: tuple[int, int]) -> None:
    with os.fdopen(os.dup(pipe[1]), "w", encoding="ascii") as original:
        stream = Stderr(original)
        stream.write("café \udc80\n")
        stream.settle()

    assert os.read(pipe[0], 4096) == b"caf\\xe9 \\udc80\n"
