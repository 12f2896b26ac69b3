"""A partitioned folder: one file for each account and region that has findings."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from harvester.errors import OutputError
from harvester.model import Target
from harvester.output.publish import PartWriter, in_order
from harvester.output.results import Aside, Published, Results, Spooled

SUFFIXES = (".ndjson", ".ndjson.gz", ".ndjson.zst")
_ACCOUNT = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")


class Partitions:
    """The parts of a folder, `account=ID/region=NAME/findings.ndjson`.

    A part is only ever replaced by a complete reading of its target. A complete target without
    findings has no part. An incomplete reading goes to `.incomplete/` in the folder, a name
    that query engines skip, until a complete one removes it.
    """

    early = True

    def __init__(self, folder: Path, suffix: str) -> None:
        self._folder = folder
        self._suffix = suffix
        self._aside = SetAside(folder / ".incomplete", suffix)

    def stands(self, target: Target) -> bool:
        """Return whether a target has a part."""
        place = self._folder / path_of(target)
        return any((place / f"findings{suffix}").exists() for suffix in SUFFIXES)

    def stale(self, results: Results) -> list[Target | str]:
        """Return targets, and accounts, that were not read and have parts."""
        return [
            *(one for one in results.broken if self._may_stand(one)),
            *(one for one in results.accounts if self._has_parts(one, results)),
        ]

    def publish(self, writer: PartWriter, complete: Spooled) -> None:
        """Write the parts of complete targets; remove the part of one without findings."""
        for target in sorted(complete):
            place = self._folder / path_of(target)
            pieces = in_order(complete[target])
            if pieces:
                writer.write(place / f"findings{self._suffix}", writer.spooled(pieces))
            elif not place.is_dir():
                continue
            for suffix in SUFFIXES:
                if not (pieces and suffix == self._suffix):
                    writer.remove(place / f"findings{suffix}")
        self._aside.remove(writer, complete)

    def finish(
        self, writer: PartWriter, complete: Spooled, incomplete: Spooled, results: Results
    ) -> Published:
        """Publish the complete targets that are left, and set incomplete readings aside."""
        self.publish(writer, complete)
        return Published(
            written=bool(results.complete),
            stale=self.stale(results),
            aside=self._aside.write(writer, incomplete),
        )

    def _may_stand(self, target: Target) -> bool:
        return is_plain(target) and self.stands(target)

    def _has_parts(self, account: str, results: Results) -> bool:
        if not _ACCOUNT.fullmatch(account):
            return False
        found = (self._folder / f"account={account}").glob("region=*/findings.ndjson*")
        return any(results.is_selected(path.parent.name.partition("=")[2]) for path in found)


class SetAside:
    """A folder of incomplete readings, laid out as a partitioned folder."""

    def __init__(self, folder: Path, suffix: str) -> None:
        self._folder = folder
        self._suffix = suffix

    def write(self, writer: PartWriter, incomplete: Spooled) -> dict[Target, Aside]:
        """Write what was read of some targets; return the file of each."""
        written: dict[Target, Aside] = {}
        for target in sorted(incomplete):
            if pieces := in_order(incomplete[target]):
                path = self._folder / path_of(target) / f"findings{self._suffix}"
                writer.write(path, writer.spooled(pieces))
                written[target] = Aside(path)
        return written

    def remove(self, writer: PartWriter, targets: Iterable[Target]) -> None:
        """Remove what an earlier sweep set aside of some targets, and folders that it leaves."""
        if not self._folder.is_dir():
            return
        for target in targets:
            place = self._folder / path_of(target)
            if not place.is_dir():
                continue
            for suffix in SUFFIXES:
                writer.remove(place / f"findings{suffix}")
            with suppress(OSError):  # not empty: something else is in it
                place.rmdir()
                place.parent.rmdir()
                self._folder.rmdir()


def is_plain(target: Target) -> bool:
    """Return whether a target's names may become part of a path."""
    return bool(_ACCOUNT.fullmatch(target.account) and _REGION.fullmatch(target.region))


def path_of(target: Target) -> Path:
    """Return the folder of a target within a partitioned one.

    Raises:
        OutputError: a name has characters other than those of accounts and regions.
    """
    account = _name("account", target.account, _ACCOUNT)
    return Path(account) / _name("region", target.region, _REGION)


def _name(kind: str, value: str, pattern: re.Pattern[str]) -> str:
    # Accounts and regions come from the service: only their own alphabet becomes a path.
    if not pattern.fullmatch(value):
        raise OutputError(f"{kind} {value[:80]!r} cannot be part of a file name")
    return f"{kind}={value}"
