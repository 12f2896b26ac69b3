"""The journal: what was committed comes back; damage is seen, and never guessed at."""

from __future__ import annotations

import errno
import os
import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harvester.output.journal import NAME, DamagedJournalError, Journal, write_all
from harvester.output.workspace import Workspace

_HEADER: dict[str, Any] = {"version": 1, "settings": {"regions": ["eu-west-1"]}}
_RECORDS: list[dict[str, Any]] = [
    _HEADER,
    *({"end": n * 1000, "token": f"{n} \ud800 漏" * n} for n in range(1, 6)),
]


def _journal(folder: Path) -> Journal:
    folder.mkdir(exist_ok=True)
    return Journal(Workspace(folder))


def _load(folder: Path) -> list[dict[str, Any]]:
    records = _journal(folder).load()
    return [{key: one[key] for key in one if key != "number"} for one in records]


def _write(folder: Path) -> bytes:
    journal = _journal(folder)
    journal.rewrite(_RECORDS[:2])
    for record in _RECORDS[2:]:
        journal.append(record)
    journal.close()
    return (folder / NAME).read_bytes()


def _load_bytes(folder: Path, content: bytes) -> int | None:
    """Return how many records are read from a journal of this content, None for damage."""
    (folder / NAME).write_bytes(content)
    try:
        found = _load(folder)
    except DamagedJournalError:
        return None
    assert found == _RECORDS[: len(found)]
    return len(found)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    assert _journal(tmp_path).load() == []
    _write(tmp_path)
    assert _load(tmp_path) == _RECORDS
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_journal_is_gone_on_with_by_writing_it_anew(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "journal.new").write_bytes(b"left by a run that was killed while it wrote")
    journal = _journal(tmp_path)
    assert not journal.is_open
    journal.rewrite(_RECORDS[:1])
    for record in _RECORDS[1:]:
        journal.append(record)
    journal.rewrite(_RECORDS[:1])
    journal.append(_RECORDS[1])
    assert journal.is_open
    journal.close()
    journal.close()

    assert _load(tmp_path) == _RECORDS[:2]
    with pytest.raises(OSError, match="not open"):
        journal.append(_RECORDS[2])


def test_a_cut_anywhere_leaves_the_records_before_it(tmp_path: Path) -> None:
    """A run that is killed, or a disk that is full, leaves the last record cut short."""
    whole = _write(tmp_path)
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for size in range(len(whole)):
        complete = sum(end <= size for end in ends)
        assert _load_bytes(tmp_path, whole[:size]) == (complete or None), size
    for rest in (b"\0" * 4096, b"\xff", b"0"):
        assert _load_bytes(tmp_path, whole + rest) == len(_RECORDS)
        assert _load_bytes(tmp_path, whole[: ends[3]] + rest) == 4


@example(place=-1.0, change=1)
@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_a_changed_byte_is_damage_or_of_the_last_record(
    tmp_path_factory: pytest.TempPathFactory, place: float, change: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "changed"
    whole = bytearray(_write(folder))
    last = whole.rindex(b"\n", 0, -1) + 1
    index = last - 1 if place < 0.0 else int(place * len(whole))
    whole[index] ^= change

    # Where the newline before it goes, the last two are one that is broken.
    whole_records = len(_RECORDS) - (2 if index == last - 1 else 1)
    assert _load_bytes(folder, bytes(whole)) == (None if index < last - 1 else whole_records)


def test_a_damaged_record_before_a_cut_one_is_damage(tmp_path: Path) -> None:
    whole = bytearray(_write(tmp_path))
    whole[-10] ^= 1
    assert _load_bytes(tmp_path, bytes(whole) + b"0123") is None


def test_lines_that_are_not_where_they_were_are_damage(tmp_path: Path) -> None:
    lines = _write(tmp_path).splitlines(keepends=True)
    last = len(lines) - 1
    for index, line in enumerate(lines):
        without = lines[:index] + lines[index + 1 :]
        twice = [*lines[: index + 1], *lines[index:]]
        garbage = [*lines[:index], b"garbage\n", *lines[index:]]
        # What does not fit at the end may have been cut short: the records before it are true.
        assert _load_bytes(tmp_path, b"".join(without)) == (index if index >= last - 1 else None)
        assert _load_bytes(tmp_path, b"".join(twice)) == (len(lines) if index == last else None)
        assert _load_bytes(tmp_path, b"".join(garbage)) is None
        if index:
            swapped = [*lines[: index - 1], line, lines[index - 1], *lines[index + 1 :]]
            assert _load_bytes(tmp_path, b"".join(swapped)) is None


@pytest.mark.parametrize("content", [b"", b"\n", b"\0" * 100, b"\0" * 100 + b"\n", b"\n\n\n"])
def test_what_has_no_beginning_is_damage(tmp_path: Path, content: bytes) -> None:
    assert _load_bytes(tmp_path, content) is None


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"x"', b"{}", b'{"number":"0"}', b""])
def test_a_true_checksum_does_not_make_a_record(tmp_path: Path, body: bytes) -> None:
    from zlib import crc32  # noqa: PLC0415  # the only place

    assert _load_bytes(tmp_path, b"%08x %b\n" % (crc32(body), body)) is None


@pytest.mark.parametrize("seed", range(100))
def test_whatever_happens_to_a_journal_its_records_are_true(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    content = bytearray(_write(tmp_path))
    for _ in range(rng.randint(1, 4)):
        start, end = sorted(rng.choices(range(len(content) + 1), k=2))
        content[start:end] = rng.choice(
            [b"", rng.randbytes(rng.randint(1, 50)), bytes(end - start), content[start:end] * 2]
        )
    _load_bytes(tmp_path, bytes(content))


@contextmanager
def _files_no_larger_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_record_that_did_not_fit_is_as_if_it_had_not_been_written(tmp_path: Path) -> None:
    size = len(_write(tmp_path))
    journal = _journal(tmp_path)
    journal.rewrite(_RECORDS)
    with _files_no_larger_than(size + 20), pytest.raises(OSError, match="large"):
        journal.append({"end": 9000})
    assert (tmp_path / NAME).stat().st_size == size + 20
    journal.close()

    assert _load(tmp_path) == _RECORDS


def test_a_journal_that_cannot_be_written_anew_leaves_the_old(tmp_path: Path) -> None:
    _write(tmp_path)
    for limit in (0, 1, 50):
        journal = _journal(tmp_path)
        with _files_no_larger_than(limit), pytest.raises(OSError, match="large"):
            journal.rewrite(_RECORDS[:2])
        assert not journal.is_open
    assert _load(tmp_path) == _RECORDS


def test_it_is_large_when_most_of_it_is_out_of_date(tmp_path: Path) -> None:
    journal = _journal(tmp_path)
    journal.rewrite([_HEADER])
    record = {"token": "x" * (1 << 20)}
    for _ in range(15):
        journal.append(record)
    assert not journal.is_large
    journal.append(record)
    assert journal.is_large

    journal.rewrite([_HEADER] * 2 + [record] * 15)
    for _ in range(15):
        journal.append(record)
        assert not journal.is_large, "nothing would be gained"
    journal.close()


def test_no_byte_is_left_out_where_a_write_is_short(tmp_path: Path) -> None:
    data = random.Random(0).randbytes(200_000)
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        with _files_no_larger_than(150_000), pytest.raises(OSError, match="large") as caught:
            write_all(file, data, 7)
        assert caught.value.errno == errno.EFBIG
        assert os.fstat(file).st_size == 150_000
        write_all(file, data, 7)
    finally:
        os.close(file)
    assert (tmp_path / "file").read_bytes() == bytes(7) + data
