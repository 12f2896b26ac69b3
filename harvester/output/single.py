"""A single file: tonight's findings, and older ones of targets that could not be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

from harvester.errors import OutputError
from harvester.model import Target
from harvester.output.attribution import Selection
from harvester.output.lines import DamagedFileError, split_lines
from harvester.output.older import OlderLines, opened_copy
from harvester.output.partitions import SetAside
from harvester.output.publish import PartWriter, in_order
from harvester.output.results import Published, Results, Spooled


class SingleFile:
    """One file with all targets, by account, region and query.

    Lines of targets that failed stay from the file before, unless they are to be dropped;
    a target with older lines keeps those, and an incomplete reading of it goes to
    `NAME.incomplete/` beside the file. A sweep that read nothing leaves the file as it is.

    Args:
        path: the file.
        selection: the findings that the sweep reads.
        keep: whether lines of targets that failed stay.
    """

    early = False

    def __init__(self, path: Path, selection: Selection, *, keep: bool = True) -> None:
        self._path = path
        self._selection = selection
        self._keep = keep
        suffix = "".join(one for one in path.suffixes[-2:] if one in (".ndjson", ".gz", ".zst"))
        self._aside = SetAside(path.with_name(f"{path.name}.incomplete"), suffix)

    def stands(self, target: Target) -> bool:  # noqa: ARG002  # a protocol's method
        """Return False: no target has a file of its own."""
        return False

    def stale(self, results: Results) -> tuple[()]:  # noqa: ARG002  # likewise
        """Return nothing: the file as a whole is as old as it is."""
        return ()

    def publish(self, writer: PartWriter, complete: Spooled) -> None:
        """Write nothing: the file appears at the end of a sweep."""

    def finish(
        self, writer: PartWriter, complete: Spooled, incomplete: Spooled, results: Results
    ) -> Published:
        """Write the file.

        Raises:
            OutputError: the older file is needed and cannot be read; it is left as it is.
        """
        if not complete and not incomplete:
            return self._left_alone(writer, results)
        older = self._older(writer, results) if self._keep else OlderLines(results, Selection())
        aside = {one: held for one, held in incomplete.items() if one in older.targets}
        fresh = {**complete, **{one: incomplete[one] for one in incomplete.keys() - aside.keys()}}
        self._write(writer, fresh, older)
        self._aside.remove(writer, complete)
        return Published(
            stale=_stale(older, results),
            aside=self._aside.write(writer, aside),
            kept=older.kept,
            unattributed=older.unattributed,
        )

    def _left_alone(self, writer: PartWriter, results: Results) -> Published:
        """Say whose lines stand in a file that is left as it is."""
        try:
            older = self._older(writer, results)
        except OutputError:
            return Published(written=False)
        return Published(written=False, stale=_stale(older, results), kept=older.total)

    def _older(self, writer: PartWriter, results: Results) -> OlderLines:
        older = OlderLines(results, self._selection)
        if not results.is_partial:
            return older
        try:
            older.read(self._path, writer.workspace)
        except FileNotFoundError:
            return OlderLines(results, self._selection)
        except DamagedFileError as error:
            raise self._unreadable(str(error)) from error
        return older

    def _unreadable(self, reason: str) -> OutputError:
        return OutputError(
            f"{self._path} is left as it is: some targets failed, and their older findings "
            f"cannot be taken from it: {reason}",
            hint="repair or remove that file, or give --on-partial drop, and run the same "
            "command again: it resumes with the targets that it has read",
        )

    def _write(self, writer: PartWriter, fresh: Spooled, older: OlderLines) -> None:
        if not older.kept:
            writer.write(self._path, _tonight(writer, fresh))
            return
        if older.unattributed:
            older.forget(split_lines(_tonight(writer, fresh)))
        with opened_copy(writer.workspace) as copy:
            writer.write(self._path, _merged(writer, fresh, older, copy))


def _stale(older: OlderLines, results: Results) -> set[Target | str]:
    return {*(older.targets & set(results.broken)), *older.accounts}


def _tonight(writer: PartWriter, fresh: Spooled) -> Iterator[bytes]:
    for target in sorted(fresh):
        yield from writer.spooled(in_order(fresh[target]))


def _merged(
    writer: PartWriter, fresh: Spooled, older: OlderLines, copy: IO[bytes]
) -> Iterator[bytes]:
    """Yield the lines of each target in its place; last, lines without a target."""
    for target in sorted({*fresh, *older.targets}):
        if target in older.targets:
            yield from older.copied(copy, target)
        else:
            yield from writer.spooled(in_order(fresh[target]))
    yield from older.loose(copy)
