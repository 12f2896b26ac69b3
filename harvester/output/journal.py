"""The journal of an unfinished sweep: records that are whole, or recognized as not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any
from zlib import crc32

from harvester.output.workspace import Workspace
from harvester.portability import sync_data, sync_file, sync_folder

Record = dict[str, Any]
"""What one record says, as JSON."""

NAME = "journal"
_LARGE = 16 << 20
_GROWN = 4


class DamagedJournalError(Exception):
    """A journal that cannot be trusted; the text says where."""


class Journal:
    """A file of records, each a line: a checksum, and JSON with the record's number.

    A killed run, or a power cut, leaves at most its last record broken, which is then as if it
    had not been written. Anything else that does not fit is damage. (Why not SQLite: it needs
    three times the syncs for each commit, and has no checksums, so that a changed byte in it
    goes unnoticed.)
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._file: int | None = None
        self._number = self._size = self._compact = 0

    def load(self) -> list[Record]:
        """Return the records of an earlier run, none where there is no journal.

        Raises:
            DamagedJournalError: it is not what a run has written.
            OSError: it cannot be read.
        """
        try:
            file = self._workspace.open_file(NAME)
        except FileNotFoundError:
            return []
        with os.fdopen(file, "rb") as stream:
            lines = stream.read().split(b"\n")
        records: list[Record] = []
        for number, line in enumerate(lines[:-1]):
            record = _decode(line, number)
            if record is None:
                if number < len(lines) - 2 or lines[-1]:
                    raise DamagedJournalError(f"record {number} of {NAME} is damaged")
                break
            records.append(record)
        if not records:
            raise DamagedJournalError(f"{NAME} has no beginning")
        return records

    def rewrite(self, records: Iterable[Record]) -> None:
        """Begin a new journal with these records, durably, in place of one that is there."""
        self.close()
        new = self._workspace.temporary(NAME)
        file = self._workspace.create(new)
        try:
            self._number = self._size = 0
            for record in records:
                self._write(file, record)
            sync_file(file)
            folder = self._workspace.folder
            (folder / new).replace(folder / NAME)
            sync_folder(folder)
        except BaseException:
            os.close(file)
            raise
        self._file, self._compact = file, self._size

    @property
    def is_open(self) -> bool:
        """Whether records can be appended."""
        return self._file is not None

    @property
    def is_large(self) -> bool:
        """Whether most of it may be out of date, so that it should be written anew."""
        return self._size > max(_LARGE, _GROWN * self._compact)

    def append(self, record: Record) -> None:
        """Append a record, durably."""
        if self._file is None:
            raise OSError(9, "the journal is not open")
        self._write(self._file, record)
        sync_data(self._file)

    def discard(self) -> None:
        """Remove it: what it speaks of is published, and must not be published again."""
        self.close()
        (self._workspace.folder / NAME).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, file: int, record: Record) -> None:
        line = _encode(record, self._number)
        write_all(file, line, self._size)
        self._number += 1
        self._size += len(line)


def write_all(file: int, data: bytes, offset: int) -> None:
    """Write all of `data` at an offset; a disk that is full is an error, not a short write."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(file, rest, offset)
        rest, offset = rest[written:], offset + written


def _encode(record: Record, number: int) -> bytes:
    # The standard library's: a token or a severity may hold lone surrogates.
    body = json.dumps({"number": number, **record}, separators=(",", ":")).encode("ascii")
    return b"%08x %b\n" % (crc32(body), body)


def _decode(line: bytes, number: int) -> Record | None:
    checksum, _, body = line.partition(b" ")
    if checksum != b"%08x" % crc32(body):
        return None
    try:
        record: Any = json.loads(body)
    except ValueError:
        return None
    return record if isinstance(record, dict) and record.get("number") == number else None
