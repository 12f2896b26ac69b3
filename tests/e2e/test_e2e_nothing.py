"""A selection that turns out to match nothing: the output stays, exit 3, and the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import pytest

from harvester.simulator import Behaviour, Faults, Organization, Simulator
from harvester.simulator.organization import Unit
from tests.e2e.support import (
    EVERYTHING,
    REGIONS,
    ROLE,
    TWO,
    Command,
    assert_same,
    everything_below,
    organization,
    truth,
)


@lru_cache
def whole() -> Organization:
    return organization(accounts=3, suspended=0, findings=60, empty_share=0.0)


def _same(one: Organization) -> Organization:
    return one


def _suspended(one: Organization) -> Organization:
    return replace(one, accounts=tuple(replace(each, status="SUSPENDED") for each in one.accounts))


def _without_accounts(one: Organization) -> Organization:
    return replace(one, accounts=())


def _with_empty_unit(one: Organization) -> Organization:
    return replace(one, units=(*one.units, Unit("ou-a1b2-emptyone", "empty", one.root)))


_ALL_ACCOUNTS = tuple(text for one in whole().accounts for text in ("--exclude-account", one.id))
_ALL_REGIONS = tuple(text for one in REGIONS for text in ("--exclude-region", one))


@dataclass(frozen=True)
class Case:
    stage: str
    said: str
    options: tuple[str, ...]
    change: Callable[[Organization], Organization] = _same


CASES = {
    "a glob": Case("pipelines", "matches no-such-*", (*EVERYTHING, "--pipeline", "no-such-*")),
    "globs, by processes": Case(
        "pipelines",
        "matches no-such-* or other",
        (*EVERYTHING, *TWO, "--pipeline", "no-such-*", "--pipeline", "other"),
    ),
    "all accounts excluded": Case("accounts", "leaves no account", (*EVERYTHING, *_ALL_ACCOUNTS)),
    "own account excluded": Case(
        "accounts", "leaves no account", ("--exclude-account", whole().management)
    ),
    "an empty organization": Case(
        "accounts", "the organization has no accounts", EVERYTHING, _without_accounts
    ),
    "suspended accounts": Case("accounts", "no selected account is ACTIVE", EVERYTHING, _suspended),
    "an empty unit": Case(
        "accounts",
        "no accounts below ou-a1b2-emptyone",
        ("--ou", "ou-a1b2-emptyone", *ROLE),
        _with_empty_unit,
    ),
    "all regions excluded": Case(
        "regions", "leaves no region of any account", (*EVERYTHING, *_ALL_REGIONS)
    ),
}


_RUNS = [
    *((name, "out.ndjson") for name in CASES),
    *((name, "out/") for name in ("a glob", "globs, by processes", "all accounts excluded")),
    ("a glob", "out.ndjson.zst"),
    ("a glob", "-"),
]


@pytest.mark.parametrize(("name", "output"), _RUNS)
async def test_nothing_selected_leaves_the_output_and_exits_3(
    command: Command, name: str, output: str
) -> None:
    case = CASES[name]
    async with Simulator(whole()) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, "-o", output)
        assert done.code == 0
    before = _files(command.folder)
    async with Simulator(case.change(whole())) as simulator:
        done = await command.sweep(simulator, *case.options, "-o", output)
    assert done.code == 3, done.err
    assert _files(command.folder) == before
    assert done.summary["status"] == "partial"
    assert done.problems == {(None, None): ("failed", case.stage, "NothingSelected")}
    (problem,) = done.summary["problems"]
    assert case.said in problem["message"]
    assert case.said in done.err
    assert problem["hint"]
    if output == "-":
        assert done.out == b""
        return
    assert not [name for name in everything_below(command.folder) if "harvester" in name]
    assert bool(done.summary["output_since"]) == (output != "out/")

    async with Simulator(whole()) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, "-o", output)
    assert done.code == 0, "another selection is not refused"
    assert_same(command.found(output), truth(whole()))


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    """The files below a folder but the summary, with their inodes and times."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.name != "summary.json"
    }


async def test_nothing_selected_where_some_accounts_fail_names_both(command: Command) -> None:
    one = whole()
    async with Simulator(one) as simulator:
        assert (await command.sweep(simulator, *EVERYTHING)).code == 0
    denied = [account.id for account in one.accounts if account.id != one.management]
    before = _files(command.folder)
    async with Simulator(one, faults=Faults(denied_accounts=frozenset(denied))) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, "--pipeline", "no-such")
    assert done.code == 3
    assert done.problems.keys() == {(None, None), *((each, None) for each in denied)}
    assert _files(command.folder) == before


async def test_options_that_match_nothing_beside_others_are_warnings(command: Command) -> None:
    one = _with_empty_unit(whole())
    name = next(iter(one.target(*next(iter(one.places()))).pipelines)).name
    async with Simulator(one) as simulator:
        done = await command.sweep(
            simulator, *("--ou", one.root, "--ou", "ou-a1b2-emptyone"), *ROLE, "--region", "all",
            *("--exclude-account", "999999999999", "--exclude-region", "us-west-2"),
            *("--pipeline", name, "--pipeline", "no-such-*"),
        )  # fmt: skip
    assert done.code == 0, done.err
    warnings = {one["message"]: one["code"] for one in done.summary["warnings"]}
    assert set(warnings.values()) == {"UnmatchedOption"}
    for said in ("999999999999", "us-west-2", "no-such-*"):
        assert [message for message in warnings if said in message], said
        assert said in done.err
    assert not [message for message in warnings if name in message]


async def test_region_that_an_account_lacks_is_a_warning_about_this_account(
    command: Command,
) -> None:
    one = whole()
    small = one.accounts[-1].id
    one = replace(one, account_regions={small: (REGIONS[0],)})
    async with Simulator(one) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, "--exclude-region", REGIONS[0])
    assert done.code == 0, done.err
    (warning,) = done.summary["warnings"]
    assert (warning["code"], warning["account"]) == ("NoRegionLeft", small)


@pytest.mark.parametrize("name", ["a glob", "all accounts excluded", "all regions excluded"])
async def test_plan_of_nothing_says_so_and_exits_3(command: Command, name: str) -> None:
    case = CASES[name]
    async with Simulator(whole()) as simulator:
        done = await command(simulator, "plan", *case.options)
    assert done.code == 3, done.err
    assert case.said in done.err


async def test_a_sweep_that_reads_no_page_leaves_the_file_as_it_is(command: Command) -> None:
    one = whole()
    async with Simulator(one) as simulator:
        assert (await command.sweep(simulator, *EVERYTHING)).code == 0
    before = _files(command.folder)
    places = frozenset(one.places())
    async with Simulator(one, faults=Faults(denied_targets=places)) as simulator:
        for options in ((), ("--on-partial", "drop"), ("--region", "us-east-1"), TWO):
            done = await command.sweep(
                simulator, *EVERYTHING[:3], *(options or ("--region", "all"))
            )
            assert done.code in (2, 3), done.err
            assert _files(command.folder) == before, options


async def test_an_arn_that_lies_in_no_target_selects_nothing(command: Command) -> None:
    one = whole()
    async with Simulator(one) as simulator:
        assert (await command.sweep(simulator, *EVERYTHING)).code == 0
        before = _files(command.folder)
        for place in ("us-east-1:999999999999", f"us-esat-1:{one.management}"):
            arn = f"arn:aws:imagebuilder:{place}:image-pipeline/golden"
            done = await command.sweep(
                simulator, *EVERYTHING, "--filter", f"imagePipelineArn={arn}"
            )
            assert done.code == 3, done.err
            assert [each["code"] for each in done.summary["problems"]] == ["NothingSelected"]
            assert _files(command.folder) == before


async def test_an_undocumented_severity_without_findings_selects_nothing(command: Command) -> None:
    one = whole()
    async with Simulator(one) as simulator:
        assert (await command.sweep(simulator, *EVERYTHING)).code == 0
        before = _files(command.folder)
        done = await command.sweep(simulator, *EVERYTHING, "--filter", "severity=BANANAS")
    assert done.code == 3
    assert "no finding has severity BANANAS" in done.err
    assert _files(command.folder) == before


async def test_nothing_selected_keeps_an_unfinished_sweep(command: Command) -> None:
    one = whole()
    async with Simulator(one, behaviour=Behaviour(latency=0.3)) as simulator:
        first = await command.sweep(
            simulator, *EVERYTHING, "--page-size", "5", "--max-concurrency", "1", "--deadline", "4s"
        )
        assert first.summary["status"] == "interrupted"
        assert first.summary["pages"]
    nobody = _without_accounts(one)
    async with Simulator(nobody) as simulator:
        assert (await command.sweep(simulator, *EVERYTHING)).code == 3
    async with Simulator(one) as simulator:
        last = await command.sweep(simulator, *EVERYTHING)
    assert last.code == 0
    assert last.summary["resumed_from"] is not None
