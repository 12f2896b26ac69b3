"""Sweeps that spend their time waiting: all of them at once, so that it is spent once.

Each scenario is a coroutine function; the first test starts them all, and each awaits its own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import orjson
import pytest
import pytest_asyncio

from harvester.simulator import Behaviour, Faults, Simulator
from tests.e2e.strangers import answering
from tests.e2e.support import (
    EVERYTHING,
    Command,
    assert_same,
    everything_below,
    multiset,
    organization,
    place_of,
    read_file,
    roles_assumed,
    truth,
)

_REGIONS = ("us-east-1", "eu-west-1", "ap-southeast-2", "sa-east-1")


async def each_bad_account_region_and_target_costs_just_itself(command: Command) -> None:
    one = organization(
        accounts=7, suspended=1, findings=1500, regions=_REGIONS, empty_share=0.0, skew=0.3
    )
    _, denied, b, c, d, _ = (account.id for account in one.accounts if account.status == "ACTIVE")
    first, second, disabled, dead = _REGIONS
    faults = Faults(
        denied_accounts=frozenset({denied}),
        denied_targets=frozenset({(b, first)}),
        policy_denied_targets=frozenset({(b, second)}),
        forbidden_targets=frozenset({(c, first)}),
        garbage_targets=frozenset({(c, second)}),
        cycling_targets=frozenset({(d, first)}),
        endless_targets=frozenset({(d, second)}),
        disabled_regions=frozenset({disabled}),
        dead_regions=frozenset({dead}),
    )
    active = [account.id for account in one.accounts if account.status == "ACTIVE"]
    entered = [account for account in active if account != denied]
    wanted: dict[tuple[str | None, str | None], tuple[str, str, str]] = {
        (denied, None): ("failed", "credentials", "AccessDenied"),
        (b, first): ("failed", "findings", "AccessDeniedException"),
        (b, second): ("failed", "findings", "AccessDeniedException"),
        (c, first): ("failed", "findings", "ForbiddenException"),
        (c, second): ("incomplete", "findings", "DamagedAnswer"),
        (d, first): ("incomplete", "findings", "TokenRepeated"),
        (d, second): ("incomplete", "findings", "EndlessEmptyPages"),
        **{
            (each, disabled): ("failed", "findings", "UnrecognizedClientException")
            for each in entered
        },
        **{(each, dead): ("failed", "findings", "ConnectionClosed") for each in entered},
    }
    async with Simulator(one, faults=faults) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, "--page-size", "20", "--split", "none")
        assert set(roles_assumed(simulator).values()) == {1}
    assert done.code == 3
    assert done.problems == wanted
    whole = {place for place in one.places() if place not in wanted and place[0] != denied}
    assert len(whole) == 4
    found = read_file(command.folder / "out.ndjson")
    assert_same(multiset(f for f in found if place_of(f) in whole), truth(one, whole))
    rest = multiset(f for f in found if place_of(f) not in whole)
    assert not rest - truth(one, [(d, first)]), "only what a cycling target gave, and that once"
    targets = done.summary["targets"]
    assert targets == {
        "total": 1 + 4 * len(entered) + 1,
        "complete": 4,
        "incomplete": 3,
        "failed": len(wanted) - 3,
        "skipped": 1,
        "stale": 0,
    }
    assert done.summary["status"] == "partial"
    assert done.summary["findings"] == len(found)
    for (account, region), (_, _, code) in wanted.items():
        where = f"{account}/{region}" if region else str(account)
        (line,) = [line for line in done.err.splitlines() if f" {where} " in line]
        assert code in line
    messages = {(p["account"], p["region"]): p["message"] for p in done.summary["problems"]}
    assert "explicit deny" in messages[b, second]
    assert "not authorized to perform: imagebuilder:ListImageScanFindings" in messages[b, first]
    kept = command.folder / "out.ndjson.damaged" / f"{c}-{second}-1.body"
    assert messages[c, second].endswith(f"its body is kept in {kept}")
    assert b"Sign in to continue" in kept.read_bytes()
    assert everything_below(kept.parent) == {kept.name}


async def all_faults_together_with_several_seeds_and_outputs(command: Command) -> None:
    """One account, so one request at a time: a seed strikes the same requests each time."""
    struck: Counter[str | None] = Counter()

    async def run(seed: int) -> None:
        one = organization(accounts=1, suspended=0, findings=450, regions=("us-east-1",))
        place = command.place(str(seed))
        faults = Faults.everywhere(0.03, slow_seconds=0.05, seed=seed)
        async with Simulator(one, faults=faults) as simulator:
            to_stdout = ("-o", "-") if seed % 2 else ()
            done = await place.sweep(simulator, "--page-size", "15", "--split", "none", *to_stdout)
            struck.update(record.fault for record in simulator.requests)
        assert done.code == 0, done.err
        assert_same(multiset(done.lines) if seed % 2 else place.found(), truth(one))

    async with asyncio.TaskGroup() as group:  # most of their time is spent waiting
        for seed in range(1, 6):
            group.create_task(run(seed))
    assert set(struck) == {None, *Faults.transient()}, "each fault should have struck"


async def sessions_that_run_out_are_renewed_and_not_asked_for_too_often(
    command: Command,
) -> None:
    one = organization(accounts=3, suspended=0, findings=120, regions=("us-east-1",), skew=0.0)
    behaviour = Behaviour(session_duration=3.0, latency=0.1)
    async with Simulator(one, behaviour=behaviour) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, "--page-size", "1", "--split", "none")
        calls = roles_assumed(simulator)
        assert simulator.count(code="ExpiredTokenException") == 0, "renewed before the end"
    assert done.code == 0
    assert_same(command.found(), truth(one))
    assert max(calls.values()) >= 2, "a session should have run out"
    # Lifetimes come in whole seconds, so that one lasts 2 to 3, and is renewed in its last quarter.
    assert max(calls.values()) <= 1 + done.seconds / (2.0 * 0.75)


async def a_listing_and_a_count_that_hang_are_done_without(command: Command) -> None:
    one = organization(accounts=1, suspended=0, findings=3000, regions=("us-east-1",))
    hung = frozenset({"ListImageScanFindingAggregations", "ListImages", "ListImagePipelines"})
    async with Simulator(one, faults=Faults(hung_operations=hung)) as simulator:
        done = await command.sweep(simulator)
        assert simulator.count(code="Hung") == 2
    assert done.code == 0
    assert_same(command.found(), truth(one))


async def a_page_that_is_not_understood_costs_nothing_of_those_before(
    command: Command,
) -> None:
    good = b'{"findings":[{"title":"good"}],"nextToken":"1"}'
    async with (
        Simulator(organization(accounts=1, suspended=0)) as simulator,
        answering(good, b'{"findings":{"a":1}}') as builder,
    ):
        env = {"AWS_ENDPOINT_URL_IMAGEBUILDER": builder}
        done = await command.sweep(simulator, "-o", "-", env=env)
    assert done.code == 3
    assert done.lines == [{"title": "good"}]
    (status,) = done.problems.values()
    assert status == ("incomplete", "findings", "DamagedAnswer")
    kept = [path for path in command.folder.rglob("*") if path.suffix == ".body"]
    assert [path.parent.name for path in kept] == ["summary.json.damaged"]
    assert kept[0].read_bytes() == b'{"findings":{"a":1}}'


async def the_demo_ends_well_and_leaves_findings_and_a_summary(command: Command) -> None:
    done = await command(None, "demo", env={"AWS_PROFILE": "nobody", "AWS_ACCESS_KEY_ID": "REAL"})
    assert (done.code, done.out) == (0, b"")
    found = read_file(command.folder / "harvester-demo/findings.ndjson")
    summary = orjson.loads((command.folder / "harvester-demo/summary.json").read_bytes())
    assert summary["findings"] == len(found) > 15_000
    assert max(multiset(found).values()) == 1
    assert [problem["code"] for problem in summary["problems"]] == ["AccessDenied"]
    assert summary["targets"]["skipped"] == 1
    assert summary["throttled"] > 0
    for said in ("harvester-demo/findings.ndjson", "harvester sweep", "--organization"):
        assert said in done.err


Scenario = Callable[[Command], Awaitable[None]]
_SCENARIOS: tuple[Scenario, ...] = (
    each_bad_account_region_and_target_costs_just_itself,
    all_faults_together_with_several_seeds_and_outputs,
    sessions_that_run_out_are_renewed_and_not_asked_for_too_often,
    a_listing_and_a_count_that_hang_are_done_without,
    a_page_that_is_not_understood_costs_nothing_of_those_before,
    the_demo_ends_well_and_leaves_findings_and_a_summary,
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[dict[Scenario, asyncio.Task[None]]]:
    async def run(scenario: Scenario) -> None:
        await scenario(Command(tmp_path_factory.mktemp("patience")))

    tasks = {scenario: asyncio.create_task(run(scenario)) for scenario in _SCENARIOS}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("scenario", _SCENARIOS, ids=lambda one: one.__name__)
async def test_patience(scenario: Scenario, started: dict[Scenario, asyncio.Task[None]]) -> None:
    await started[scenario]
