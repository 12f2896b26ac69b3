"""Counts that differ from the lists, odd answers, and sweeps that resume after changes."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from harvester.simulator import Behaviour, Faults, Organization, Simulator
from tests.e2e.strangers import answering
from tests.e2e.support import (
    EVERYTHING,
    TWO,
    Command,
    assert_same,
    multiset,
    organization,
    pages_asked,
    truth,
)
from tests.torture.scenarios import kill

_PAGES = ("--page-size", "10")
_COUNTS = "ListImageScanFindingAggregations"


def _even() -> Organization:
    """Ten targets of some six pages each."""
    return organization(accounts=5, suspended=0, findings=600, skew=0.0, empty_share=0.0)


def _bytes(command: Command) -> bytes:
    return (command.folder / "out.ndjson").read_bytes()


def _one(findings: int) -> Organization:
    return organization(accounts=1, suspended=0, findings=findings, regions=("us-east-1",))


@pytest.mark.parametrize(
    "faults",
    [Faults(count_offsets={"*": 3}), Faults(count_offsets={"*": -2}), Faults(count_lag=7)],
    ids=["above", "below", "late"],
)
async def test_counts_that_differ_make_no_night_red_and_double_no_calls(
    command: Command, faults: Faults
) -> None:
    one = _even()
    async with Simulator(one, faults=faults) as simulator:
        first = await command.sweep(simulator, *EVERYTHING, *_PAGES)
        pages = len(pages_asked(simulator))
        assert_same(command.found(), truth(one))
        second = await command.sweep(simulator, *EVERYTHING, *_PAGES)
        more = len(pages_asked(simulator)) - pages
        assert_same(command.found(), truth(one))
    for done in (first, second):
        assert (done.code, done.summary["status"]) == (0, "complete"), done.err
        assert Counter(one["code"] for one in done.summary["warnings"]) == {"CountMismatch": 10}
        assert all(one["account"] and one["region"] for one in done.summary["warnings"])
    assert pages <= more + 3 * 7, "three targets are read twice in the first night"
    assert more <= 70, "and none in the second"


async def test_a_count_that_matches_again_is_trusted_again(command: Command) -> None:
    one = _one(900)
    size = ("--page-size", "15")
    async with Simulator(one, faults=Faults(count_offsets={"*": 3})) as simulator:
        await command.sweep(simulator, *size)
        for splits in (False, True):
            simulator.faults = Faults()
            before = len(pages_asked(simulator))
            done = await command.sweep(simulator, *size)
            asked = pages_asked(simulator)[before:]
            assert (done.code, done.summary["warnings"]) == (0, [])
            assert any("filters" in record.parameters for record in asked) is splits
            assert_same(command.found(), truth(one))


async def test_a_strict_verification_stays_strict(command: Command) -> None:
    one = _one(60)
    async with Simulator(one, faults=Faults(count_offsets={"*": 3})) as simulator:
        done = await command.sweep(simulator, "--verify", *_PAGES)
    assert done.code == 3
    (problem,) = done.problems.values()
    assert problem == ("incomplete", "findings", "CountMismatch")
    assert_same(command.found(), truth(one))


async def test_several_processes_share_what_an_earlier_run_found_out(command: Command) -> None:
    one = _even()
    async with Simulator(one, faults=Faults(count_offsets={"*": 3})) as simulator:
        first = await command.sweep(simulator, *EVERYTHING, *_PAGES, *TWO)
        before = len(pages_asked(simulator))
        second = await command.sweep(simulator, *EVERYTHING, *_PAGES, *TWO)
        more = len(pages_asked(simulator)) - before
    for done in (first, second):
        assert done.code == 0, done.err
        assert len(done.summary["warnings"]) == 10
    assert more <= 70
    assert_same(command.found(), truth(one))


@pytest.mark.parametrize("last", ["empty", "null"])
async def test_an_empty_next_token_ends_every_chain(command: Command, last: str) -> None:
    one = organization(accounts=12, findings=400)
    async with Simulator(one, behaviour=Behaviour(last_token=last)) as simulator:  # type: ignore[arg-type]
        done = await command.sweep(simulator, *EVERYTHING, *_PAGES, "--split", "image")
        piped = await command.place("p").sweep(simulator, *EVERYTHING, "--pipeline", "*")
    assert done.code == piped.code == 0, done.err
    assert done.summary["retries"] == piped.summary["retries"] == 0
    assert_same(command.found(), truth(one))


async def test_an_odd_first_answer_costs_a_region_some_small_pages(command: Command) -> None:
    one = _one(10_000)
    faults = Faults(odd_first_answers=frozenset({"*"}))
    async with Simulator(one, faults=faults) as simulator:
        done = await command.sweep(simulator, "--split", "none")
        asked = len(pages_asked(simulator))
    assert done.code == 0, done.err
    assert 100 < asked <= 100 + 12
    assert_same(command.found(), truth(one))


_ADDED = ("--split", "none"), ("--split", "severity"), ("--split", "image"), ("--split", "pipeline")


@pytest.mark.parametrize("split", _ADDED, ids=lambda one: one[1])
@pytest.mark.parametrize("verify", [(), ("--verify",)], ids=["default", "strict"])
async def test_findings_that_come_after_a_kill_are_not_missing(
    command: Command, split: tuple[str, ...], verify: tuple[str, ...]
) -> None:
    one = _one(400)
    options = (*split, *verify, *_PAGES)
    await kill(command, one, *options, rng=random.Random(1))
    findings = one.all_findings()
    new = [{**finding, "title": f"new {n}"} for n, finding in enumerate(findings[:3])]
    later = one.with_findings(one.management, "us-east-1", [*new, *findings])
    async with Simulator(later) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, *options)
        assert simulator.count(operation=_COUNTS) >= 1
    assert done.code == 0, done.err
    assert_same(command.found(), truth(later))


_UNCOUNTED = {
    "a severity": ("--filter", "severity=LOW"),
    "several severities": ("--filter", "severity=LOW", "--filter", "severity=INFORMATIONAL"),
    "strictly": ("--filter", "severity=LOW", "--verify"),
    "counts denied": ("--split", "none"),
}


@pytest.mark.parametrize("case", _UNCOUNTED)
async def test_a_half_read_query_without_a_count_starts_over_after_a_kill(
    command: Command, case: str
) -> None:
    denied = frozenset({_COUNTS} if case == "counts denied" else ())
    one, options = _one(1500), (*_UNCOUNTED[case], *_PAGES)
    await kill(
        command, one, *options, rng=random.Random(1), faults=Faults(denied_operations=denied)
    )
    findings = one.all_findings()
    first = next(finding for finding in findings if finding["severity"] == "LOW")
    new = [{**first, "title": f"new {n}"} for n in range(3)]
    later = one.with_findings(one.management, "us-east-1", [*new, *findings])
    async with Simulator(later, faults=Faults(denied_operations=denied)) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, *options)
    assert done.code == 0, done.err
    wanted = {part.removeprefix("severity=") for part in options if "severity=" in part}
    assert_same(
        command.found(),
        multiset(each for each in later.expected() if not wanted or each["severity"] in wanted),
    )


async def test_a_filter_without_a_count_is_named_once(command: Command) -> None:
    async with Simulator(_even()) as simulator:
        done = await command.sweep(
            simulator, *EVERYTHING, "--verify", "--filter", "severity=LOW", *_PAGES
        )
    assert done.code == 0, done.err
    (warning,) = done.summary["warnings"]
    assert warning["code"] == "NotVerifiable"
    assert "severity LOW" in warning["message"]
    assert done.err.count("severity LOW") >= 1


@pytest.mark.parametrize("processes", [(), TWO], ids=["one process", "two"])
async def test_good_findings_of_odd_answers_are_written_and_the_reason_is_true(
    command: Command, processes: tuple[str, ...]
) -> None:
    bodies = (
        b'\xef\xbb\xbf{"requestId":7,"findings":[{"title":"a"},null],"new":{},"nextToken":"1"}\n',
        b'{"findings":[{"title":"b"}],"nextToken":2}',
    )
    async with Simulator(_one(0)) as simulator, answering(*bodies) as builder:
        env = {"AWS_ENDPOINT_URL_IMAGEBUILDER": builder}
        done = await command.sweep(simulator, *processes, env=env)
    assert done.code == 3
    assert _bytes(command) == b'{"title":"a"}\n{"title":"b"}\n'
    (problem,) = done.summary["problems"]
    assert (problem["status"], problem["code"]) == ("incomplete", "UnexpectedAnswer")
    assert "holds 2 findings, of which 1 are not objects (the first is null)" in problem["message"]
    assert "not JSON" not in problem["message"]
