"""Several nights: whole data is replaced by whole data alone, and nothing by nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import orjson
import pytest

from harvester.simulator import Faults, Organization, Simulator, Target
from tests.e2e.support import (
    EVERYTHING,
    REGIONS,
    TWO,
    Command,
    Done,
    Place,
    assert_same,
    everything_below,
    held,
    multiset,
    organization,
    pages_asked,
    place_of,
    read_file,
    truth,
)

_ZSTD = '[output]\ncompression = "zstd"\n'
_PAGES = ("--page-size", "5", "--split", "none", "--no-verify")


@dataclass(frozen=True)
class Destination:
    name: str
    config: str = ""
    options: tuple[str, ...] = ()

    @property
    def is_folder(self) -> bool:
        return self.name.endswith("/")


DESTINATIONS = {
    "plain": Destination("out.ndjson"),
    "gz": Destination("out.ndjson.gz"),
    "zst": Destination("out.ndjson.zst"),
    "folder": Destination("out/"),
    "folder, zst": Destination("out/", _ZSTD),
    "plain, processes": Destination("out.ndjson", options=TWO),
    "folder, processes": Destination("out/", options=TWO),
}
every_destination = pytest.mark.parametrize("where", DESTINATIONS.values(), ids=DESTINATIONS)


@lru_cache
def first_night() -> Organization:
    """Six active accounts of two regions, a dozen findings in each."""
    return organization(accounts=6, suspended=0, findings=144, skew=0.0, empty_share=0.0)


@lru_cache
def later() -> Organization:
    """The same on a later night: each finding is another one, and the last account has left."""
    one = first_night()
    gone = one.accounts[-1].id
    for account, region in list(one.places()):
        new = [{**f, "title": f"{f['title']} again"} for f in one.findings(account, region)]
        one = one.with_findings(account, region, new)
    return replace(one, accounts=tuple(each for each in one.accounts if each.id != gone))


def visible(command: Command, where: Destination) -> Counter[bytes]:
    """The findings that a reader of the output sees: names that begin with a dot are hidden."""
    output = command.folder / where.name
    if not where.is_folder:
        return multiset(read_file(output))
    paths = [
        path
        for path in output.rglob("findings.*")
        if not any(part.startswith(".") for part in path.relative_to(output).parts)
    ]
    return multiset(finding for path in paths for finding in read_file(path))


async def sweep(
    command: Command,
    one: Organization,
    where: Destination,
    *options: str,
    faults: Faults | None = None,
    choice: tuple[str, ...] = EVERYTHING,
) -> Done:
    (command.folder / "harvester.toml").write_text(where.config)
    async with Simulator(one, faults=faults) as simulator:
        return await command.sweep(
            simulator, *choice, *_PAGES, "-o", where.name, *where.options, *options
        )


def _of(one: Organization, places: Iterable[Place]) -> Counter[bytes]:
    return truth(one, places)


@dataclass(frozen=True)
class Broken:
    """What goes wrong on the second night."""

    account: str
    region: Place
    chain: Place

    @property
    def faults(self) -> Faults:
        return Faults(
            denied_accounts=frozenset({self.account}),
            denied_targets=frozenset({self.region}),
            cycling_targets=frozenset({self.chain}),
        )

    @property
    def places(self) -> set[Place]:
        """The targets that cannot be read to their end."""
        whole = {(self.account, region) for region in REGIONS}
        return whole | {self.region, self.chain}


@lru_cache
def broken() -> Broken:
    _, b, c, d, *_ = [account.id for account in later().accounts]
    return Broken(b, (c, REGIONS[0]), (d, REGIONS[1]))


@every_destination
async def test_older_findings_stand_until_their_target_is_read_to_its_end(
    command: Command, where: Destination
) -> None:
    done = await sweep(command, first_night(), where)
    assert done.code == 0, done.err
    wrong, good = broken(), set(later().places()) - broken().places
    # A folder keeps the parts of an account that has left.
    left = _of(first_night(), set(first_night().places()) - set(later().places()))
    left = left if where.is_folder else Counter()
    for _ in range(2):
        done = await sweep(command, later(), where, faults=wrong.faults)
        assert done.code == 3, done.err
        old, new = _of(first_night(), wrong.places), _of(later(), good)
        assert_same(visible(command, where), old + new + left)
        assert {place: status for place, (status, *_) in done.problems.items()} == {
            (wrong.account, None): "stale",
            wrong.region: "stale",
            wrong.chain: "stale",
        }
        summary = done.summary
        assert summary["targets"]["stale"] == 3
        assert summary["targets"]["failed"] == summary["targets"]["incomplete"] == 0
        assert summary["findings"] == new.total()
        assert summary["kept_findings"] == (0 if where.is_folder else old.total())
        assert summary["output_since"] is None
        aside = _aside(command.folder, where, wrong.chain)
        assert 0 < len(read_file(aside)) < len(held(later(), *wrong.chain)) * 2
        (said,) = [one["message"] for one in summary["problems"] if _is(one, wrong.chain)]
        assert str(aside) in said

    done = await sweep(command, later(), where)
    assert done.code == 0, done.err
    assert_same(visible(command, where), truth(later()) + left)
    names = everything_below(command.folder)
    assert not [name for name in names if "incomplete" in name or ".harvester" in name]


def _is(problem: dict[str, object], place: Place) -> bool:
    return (problem["account"], problem["region"]) == place


def _aside(folder: Path, where: Destination, place: Place) -> Path:
    root = folder / where.name / ".incomplete"
    if not where.is_folder:
        root = folder / f"{where.name}.incomplete"
    suffix = ".zst" if where.config else Path(where.name).suffix.replace(".ndjson", "")
    return root / f"account={place[0]}" / f"region={place[1]}" / f"findings.ndjson{suffix}"


@every_destination
async def test_first_night_with_failures_names_them_as_before(
    command: Command, where: Destination
) -> None:
    wrong, good = broken(), set(later().places()) - broken().places
    done = await sweep(command, later(), where, faults=wrong.faults)
    assert done.code == 3, done.err
    statuses = {place: status for place, (status, *_) in done.problems.items()}
    assert statuses == {
        (wrong.account, None): "failed",
        wrong.region: "failed",
        wrong.chain: "incomplete",
    }
    found = visible(command, where)
    assert done.summary["findings"] == found.total()
    assert not _of(later(), good) - found
    others = {place_of(one) for one in _findings(command, where)} - good
    assert others == (set() if where.is_folder else {wrong.chain})


def _findings(command: Command, where: Destination) -> list[dict[str, object]]:
    output = command.folder / where.name
    if not where.is_folder:
        return read_file(output)
    return [one for path in output.glob("account=*/*/findings*") for one in read_file(path)]


async def test_twenty_accounts_fail_and_the_last_is_empty(command: Command) -> None:
    one = organization(accounts=21, suspended=0, findings=100, regions=REGIONS[:1], empty_share=0.0)
    last = one.accounts[-1].id
    where = DESTINATIONS["plain"]
    assert (await sweep(command, one, where)).code == 0
    others = frozenset(account.id for account in one.accounts) - {last, one.management}
    faults = Faults(
        denied_accounts=others, denied_targets=frozenset({(one.management, REGIONS[0])})
    )
    empty = one.with_target(last, REGIONS[0], Target())
    done = await sweep(command, empty, where, faults=faults)
    assert done.code == 3
    kept = [place for place in one.places() if place[0] != last]
    assert_same(visible(command, where), _of(one, kept))
    assert done.summary["targets"]["stale"] == 20

    done = await sweep(command, empty, where, "--on-partial", "drop", faults=faults)
    assert done.code == 3
    assert visible(command, where).total() == 0
    assert done.summary["targets"]["failed"] == 20


async def test_kept_lines_follow_a_changed_selection(command: Command) -> None:
    where, one = DESTINATIONS["zst"], first_night()
    assert (await sweep(command, one, where)).code == 0
    a, b, c = [account.id for account in one.accounts if account.id != one.management][:3]
    faults = Faults(denied_accounts=frozenset({a, b}))
    chosen = ("--account", a, "--account", c, "--role-name", "Harvester", "--region", REGIONS[0])
    severe = ("--filter", "severity=HIGH", "--filter", "severity=CRITICAL")
    done = await sweep(command, one, where, *severe, faults=faults, choice=chosen)
    assert done.code == 3
    wanted = [
        finding
        for account in (a, c)
        for finding in held(one, account, REGIONS[0])
        if finding["severity"] in ("HIGH", "CRITICAL")
    ]
    assert wanted
    assert_same(visible(command, where), multiset(wanted))
    assert done.problems.keys() == {(a, None)}


async def test_older_file_that_is_cut_short_stands(command: Command) -> None:
    where, one = DESTINATIONS["gz"], first_night()
    assert (await sweep(command, one, where)).code == 0
    path = command.folder / where.name
    cut = path.read_bytes()[:-20]
    path.write_bytes(cut)
    done = await sweep(command, one, where, faults=broken().faults)
    assert done.code == 5
    assert "is left as it is" in done.err
    assert path.read_bytes() == cut
    assert done.summary["status"] == "failed"
    assert done.summary["output_since"]

    async with Simulator(one, faults=broken().faults) as simulator:
        done = await command.sweep(
            simulator, *EVERYTHING, *_PAGES, "-o", where.name, "--on-partial", "drop"
        )
        asked = {(each.account, each.region) for each in pages_asked(simulator)}
    assert done.code == 3, done.err
    good = set(one.places()) - broken().places
    assert not _of(one, good) - visible(command, where)
    assert not asked & good, "complete targets of the run before are not read again"


async def test_size_of_a_target_is_remembered_until_it_is_read_to_its_end(
    command: Command,
) -> None:
    one = organization(accounts=1, suspended=0, findings=60, regions=REGIONS[:1], empty_share=0.0)
    place, where = (one.management, REGIONS[0]), DESTINATIONS["plain"]
    known = command.home / ".cache" / "harvester" / "rates.json"

    def pages() -> list[float]:
        return [entry[0] for entry in orjson.loads(known.read_bytes())["pages"].values()]

    options = ("--page-size", "2")
    assert (await sweep(command, one, where, *options)).code == 0
    assert pages() == [30]
    for faults in (
        Faults(denied_targets=frozenset({place})),
        Faults(cycling_targets=frozenset({place})),
    ):
        assert (await sweep(command, one, where, *options, faults=faults)).code == 3
        assert pages() == [30]
