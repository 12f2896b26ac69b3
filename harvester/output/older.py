"""The lines of an earlier sweep's file that stay, since their targets could not be read."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import IO, TypeAlias

import anyio.from_thread

from harvester.model import Target
from harvester.output.attribution import Fields, Selection, fields_of
from harvester.output.lines import DamagedFileError, read_lines
from harvester.output.results import Results
from harvester.output.workspace import Workspace

_COPY = "older"
_CHUNK = 1 << 20
_LINES_AT_ONCE = 1000
_NOBODY = Target("", "")


_Places: TypeAlias = "array[int]"
"""Where lines are in the copy: pairs of offset and length."""


class OlderLines:
    """Copies of the lines that stay, by target, in a file of the workspace.

    A line says its target by its account id and its ARNs. A line that does not say it stays as
    long as its target may be one of those that failed, and unless tonight's findings hold the
    same line.

    Attributes:
        total: how many lines the older file has.
    """

    def __init__(self, results: Results, selection: Selection) -> None:
        self.total = 0
        self._broken = frozenset(results.broken)
        self._broken_accounts = {one.account for one in results.broken}
        self._accounts = frozenset(results.accounts)
        self._results = results
        self._selection = selection
        self._places: dict[Target, _Places] = {}
        self._lines: Counter[Target] = Counter()
        self._loose: dict[bytes, list[tuple[int, int]]] = {}

    def read(self, path: Path, workspace: Workspace) -> None:
        """Read the older file, and copy the lines that stay.

        Raises:
            DamagedFileError: it is not whole, or cannot be read.
            FileNotFoundError: there is no such file.
            OSError: the copy cannot be written.
        """
        with (
            _opened(path) as file,
            os.fdopen(workspace.create(workspace.temporary(_COPY)), "wb") as copy,
        ):
            end = 0
            for line in read_lines(path, file):
                if self.total % _LINES_AT_ONCE == 0:
                    anyio.from_thread.check_cancelled()
                self.total += 1
                if self._keep(line, end):
                    copy.write(line)
                    end += len(line)

    @property
    def targets(self) -> set[Target]:
        """The targets whose lines stay."""
        return set(self._places)

    @property
    def accounts(self) -> set[str]:
        """The accounts that failed before their regions were known and whose lines stay."""
        return {one.account for one in self._places if one.account in self._accounts}

    @property
    def kept(self) -> int:
        """How many lines stay."""
        return self._lines.total() + self.unattributed

    @property
    def unattributed(self) -> int:
        """How many of the lines that stay do not say their target."""
        return sum(map(len, self._loose.values()))

    def forget(self, lines: Iterable[bytes]) -> None:
        """Let go of lines without a target that are among tonight's."""
        for line in lines:
            if found := self._loose.get(_digest(line)):
                found.pop()

    def copied(self, file: IO[bytes], target: Target) -> Iterator[bytes]:
        """Yield the lines of a target from the copy."""
        return _read(file, self._places[target])

    def loose(self, file: IO[bytes]) -> Iterator[bytes]:
        """Yield the lines that do not say their target from the copy."""
        for start, size in sorted(one for found in self._loose.values() for one in found):
            yield from _read(file, array("q", (start, size)))

    def _keep(self, line: bytes, end: int) -> bool:
        fields = fields_of(line)
        target = self._target_of(fields)
        if target is None or not self._selection.holds(fields):
            return False
        if target is _NOBODY:
            self._loose.setdefault(_digest(line), []).append((end, len(line)))
            return True
        places = self._places.setdefault(target, array("q"))
        if places and places[-2] + places[-1] == end:
            places[-1] += len(line)
        else:
            places.extend((end, len(line)))
        self._lines[target] += 1
        return True

    def _target_of(self, fields: Fields) -> Target | None:
        """Return the target that a line stays for, `_NOBODY` if unknown, None for no target."""
        account, region = fields.place
        if account is None or region is None:
            return _NOBODY if self._may_be_broken(account, region) else None
        target = Target(account, region)
        if target in self._broken:
            return target
        return target if account in self._accounts and self._results.is_selected(region) else None

    def _may_be_broken(self, account: str | None, region: str | None) -> bool:
        if account is not None:
            return account in self._accounts or account in self._broken_accounts
        if region is not None:
            return (self._accounts and self._results.is_selected(region)) or any(
                one.region == region for one in self._broken
            )
        return True


def _opened(path: Path) -> IO[bytes]:
    try:
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedFileError(error.strerror or str(error)) from error


def opened_copy(workspace: Workspace) -> IO[bytes]:
    """Return the copy, open for reading."""
    return os.fdopen(workspace.open_file(workspace.temporary(_COPY)), "rb")


def _read(file: IO[bytes], places: _Places) -> Iterator[bytes]:
    for index in range(0, len(places), 2):
        file.seek(places[index])
        rest = places[index + 1]
        while rest:
            piece = file.read(min(_CHUNK, rest))
            if not piece:
                raise OSError(5, "the copy of older lines is shorter than what was written to it")
            yield piece
            rest -= len(piece)


def _digest(line: bytes) -> bytes:
    return blake2b(line, digest_size=16).digest()
