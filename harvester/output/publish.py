"""From the spool to the files under their names, each whole or not at all."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

import anyio.from_thread
import zstandard

from harvester.errors import OutputError
from harvester.model import Query, Target
from harvester.output.extents import Extents
from harvester.output.spool import Spool
from harvester.output.workspace import Workspace, make_private
from harvester.portability import sync_file

_PART = "part"
_ACCOUNT = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")

Places = Extents
"""Where pages are in the spool, in their order."""

Part = tuple[Path, Sequence[Places] | None]
Parts = Callable[[Mapping[Target, Mapping[Query, Places]]], Iterator[Part]]
"""From what each target has in the spool, to files: a path, and what goes there in this order,
or None for a file that must not be there."""


def write_part(
    workspace: Workspace, spool: Spool, path: Path, pieces: Sequence[Places]
) -> list[Path]:
    """Write a file in the workspace, and put it at its path when it is durable.

    Returns the folders that have to be synced for its name to be durable, too.

    Raises:
        DamagedSpoolError: the spool no longer holds the data that was written.
        OutputBusyError: another run has taken over the workspace.
    """
    changed = make_private(path.parent)
    part = workspace.folder / workspace.temporary(_PART)
    with (
        os.fdopen(workspace.create(part.name), "wb") as raw,
        compressor(path)(raw) as stream,
    ):
        for places in pieces:
            for piece in spool.read(places):
                anyio.from_thread.check_cancelled()
                stream.write(piece)
        stream.flush()
    descriptor = os.open(part, os.O_RDONLY)
    try:
        sync_file(descriptor)
    finally:
        os.close(descriptor)
    workspace.check_owner()
    part.replace(path)
    return [*changed, path.parent]


def one_file(path: Path) -> Parts:
    """Return the parts of a single file: everything, by account, region and query."""

    def parts(by_target: Mapping[Target, Mapping[Query, Places]]) -> Iterator[Part]:
        yield path, [one for target in sorted(by_target) for one in _in_order(by_target[target])]

    return parts


def partitioned(folder: Path, suffix: str) -> Parts:
    """Return the parts of a folder: one file for each target that has findings.

    A complete target without findings has no file, and one from an earlier sweep is removed.
    """

    def parts(by_target: Mapping[Target, Mapping[Query, Places]]) -> Iterator[Part]:
        for target in sorted(by_target):
            where = folder / _name("account", target.account, _ACCOUNT)
            where /= _name("region", target.region, _REGION)
            for ending in (".ndjson", ".ndjson.zst"):
                wanted = _in_order(by_target[target]) if ending == suffix else []
                yield where / f"findings{ending}", wanted or None

    return parts


def _in_order(queries: Mapping[Query, Places]) -> list[Places]:
    return [queries[query] for query in sorted(queries)]


def compressor(path: Path) -> Callable[[IO[bytes]], Any]:
    """Return what opens a compressed stream over a file, as the file's name says."""
    if path.suffix == ".gz":
        # No name and no time inside: the same findings give the same bytes.
        return lambda raw: gzip.GzipFile("", "wb", 6, raw, mtime=0)
    if path.suffix == ".zst":
        return lambda raw: zstandard.ZstdCompressor(3).stream_writer(raw, closefd=False)
    return _Unclosed


class _Unclosed:
    """A stream whose `with` block leaves it open, as the compressors do."""

    def __init__(self, raw: IO[bytes]) -> None:
        self.write = raw.write
        self.flush = raw.flush

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()


def _name(kind: str, value: str, pattern: re.Pattern[str]) -> str:
    # Accounts and regions come from the service: only their own alphabet becomes a path.
    if not pattern.fullmatch(value):
        raise OutputError(f"{kind} {value[:80]!r} cannot be part of a file name")
    return f"{kind}={value}"
