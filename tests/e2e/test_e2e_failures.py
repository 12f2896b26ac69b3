"""Sweeps that finish with problems: each costs just itself, and the summary names it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from harvester.simulator import Behaviour, Faults, Identity, Simulator
from tests.e2e.support import (
    EVERYTHING,
    Command,
    Done,
    assert_same,
    multiset,
    organization,
    pages_asked,
    place_of,
    read_file,
    truth,
    until,
)

_SERIAL = ("--page-size", "10", "--split", "none")


@asynccontextmanager
async def started(
    command: Command, simulator: Simulator, *options: str
) -> AsyncIterator[Callable[[], Awaitable[Done]]]:
    """A sweep to `out.ndjson` that runs; yields what waits for its end."""
    arguments = ("sweep", "-o", "out.ndjson", "--summary", "summary.json", *options)
    began = time.monotonic()
    async with command.start(simulator, *arguments) as process:
        yield lambda: command.finish(process, began)


async def test_pipelines_that_may_not_be_listed_fail_at_their_stage(command: Command) -> None:
    one = organization(accounts=2, suspended=0, findings=50)
    faults = Faults(denied_operations=frozenset({"ListImagePipelines"}))
    async with Simulator(one, faults=faults) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, "--pipeline", "*")
    assert done.code == 3
    assert Counter(done.problems.values()) == {("failed", "pipelines", "AccessDeniedException"): 4}
    assert "imagebuilder:ListImagePipelines" in done.err


async def test_a_role_that_is_not_there_fails_accounts_but_never_the_own_one(
    command: Command,
) -> None:
    one = organization()
    behaviour = Behaviour(role_names=frozenset({"Harvester"}))
    async with Simulator(one, behaviour=behaviour) as simulator:
        options = ("--organization", "--role-name", "other/Harvester", "--region", "all")
        done = await command.sweep(simulator, *options)
    own = [place for place in one.places() if place[0] == one.management]
    assert done.code == 3
    assert Counter(done.problems.values()) == {("failed", "credentials", "AccessDenied"): 3}
    assert_same(command.found(), truth(one, own))


async def test_a_targets_failure_keeps_its_earlier_partition(command: Command) -> None:
    """A target that failed is unknown, not empty: its file of the last sweep stays."""
    one = organization(empty_share=0.0)
    account = one.accounts[1].id
    async with Simulator(one) as simulator:
        assert (await command.sweep(simulator, *EVERYTHING, "-o", "out/")).code == 0
        simulator.faults = Faults(denied_targets=frozenset({account}))
        assert (await command.sweep(simulator, *EVERYTHING, "-o", "out/")).code == 3
    assert_same(command.found("out"), truth(one))


async def test_a_skewed_clock_is_named_with_by_how_much(command: Command) -> None:
    one = organization(accounts=1, suspended=0)
    async with Simulator(one, faults=Faults(clock_skew=3 * 3600)) as simulator:
        done = await command.sweep(simulator)
    assert done.code == 4
    assert "RequestTimeTooSkewed: this machine's clock is 3 h behind the service's" in done.err
    assert "NTP" in done.err


async def test_a_clock_that_is_set_wrongly_during_the_run_costs_what_was_not_read(
    command: Command,
) -> None:
    one = organization(accounts=1, suspended=0, regions=("us-east-1",))
    behaviour = Behaviour(latency=0.02)
    async with (
        Simulator(one, behaviour=behaviour) as simulator,
        started(command, simulator, *_SERIAL) as finish,
    ):
        await until(lambda: len(pages_asked(simulator)) > 3)
        simulator.faults = Faults(clock_skew=-1800)
        done = await finish()
    assert done.code == 3
    assert done.problems == {
        (one.management, "us-east-1"): ("incomplete", "findings", "RequestTimeTooSkewed")
    }
    assert "this machine's clock is 30 min ahead of the service's" in done.err
    assert "NTP" in done.err


async def test_a_role_that_is_removed_during_the_run_makes_its_target_incomplete(
    command: Command,
) -> None:
    one = organization(
        accounts=2, suspended=0, findings=400, regions=("us-east-1",), skew=0.0, empty_share=0.0
    )
    account = one.accounts[1].id
    behaviour = Behaviour(session_duration=2.0, latency=0.05)
    async with (
        Simulator(one, behaviour=behaviour) as simulator,
        started(command, simulator, *EVERYTHING, "--page-size", "2") as finish,
    ):
        await until(lambda: len(pages_asked(simulator)) > 3)
        simulator.faults = Faults(denied_accounts=frozenset({account}))
        done = await finish()
    assert done.code == 3
    assert done.problems == {(account, "us-east-1"): ("incomplete", "credentials", "AccessDenied")}
    assert "was it, or its trust policy, changed during the sweep?" in done.err
    assert_same(
        multiset(
            one for one in read_file(command.folder / "out.ndjson") if place_of(one)[0] != account
        ),
        truth(one, [(one.management, "us-east-1")]),
    )


async def test_keys_of_the_callers_own_that_run_out_are_named(command: Command) -> None:
    one = organization(
        accounts=1, suspended=0, findings=400, regions=("us-east-1",), skew=0.0, empty_share=0.0
    )
    ends = time.time() + 3.0
    keys = Identity("ASIAOWN", "secret", one.management, "arn:aws:iam::1:user/me", "token", ends)
    behaviour = Behaviour(latency=0.05, credentials_resolver={"ASIAOWN": keys}.get)
    env = {
        "AWS_ACCESS_KEY_ID": "ASIAOWN",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
    }
    async with Simulator(one, behaviour=behaviour) as simulator:
        done = await command.sweep(simulator, *_SERIAL, "--page-size", "2", env=env)
    assert done.code == 3
    assert done.problems == {
        (one.management, "us-east-1"): ("incomplete", "findings", "ExpiredTokenException")
    }
    assert "log in again" in done.err


async def test_a_region_without_the_service_is_a_name_that_does_not_resolve(
    command: Command,
) -> None:
    one = organization(accounts=1, suspended=0)
    nowhere = {"AWS_ENDPOINT_URL_IMAGEBUILDER": "https://imagebuilder.nowhere.invalid"}
    async with Simulator(one) as simulator:
        done = await command.sweep(simulator, env=nowhere)
    assert done.code == 3
    assert set(done.problems.values()) == {("failed", "findings", "NameNotResolved")}
    assert "does Image Builder exist in this region? Else exclude it" in done.err


async def test_a_throttled_assume_role_is_waited_for(command: Command) -> None:
    one = organization(accounts=3, suspended=0)
    storm = Faults(throttling=1.0, services=frozenset({"sts"}))
    async with Simulator(one, faults=storm) as simulator:
        async with started(command, simulator, *EVERYTHING) as finish:
            await until(lambda: simulator.count(fault="throttling") > 3)
            simulator.faults = Faults(throttling=0.8, services=frozenset({"sts"}), seed=1)
            done = await finish()
        assert simulator.count(operation="AssumeRole", fault="throttling") > 0
    assert (done.code, done.summary["problems"]) == (0, [])
    assert_same(command.found(), truth(one))


async def test_a_body_without_an_end_costs_its_target_and_no_memory(command: Command) -> None:
    one = organization(accounts=2, suspended=0, findings=100, empty_share=0.0)
    bad = (one.management, "us-east-1")
    async with Simulator(one, faults=Faults(unending_targets=frozenset({bad}))) as simulator:
        done = await command.sweep(simulator, *EVERYTHING)
    assert done.code == 3
    assert done.problems == {bad: ("incomplete", "findings", "BodyTooLarge")}
    (kept,) = (command.folder / "out.ndjson.damaged").iterdir()
    assert kept.name == f"{bad[0]}-us-east-1-1.body"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert 1_000_000 < kept.stat().st_size <= 1 << 20
    assert str(kept) in done.err
    assert_same(command.found(), truth(one, [place for place in one.places() if place != bad]))

    async with Simulator(one) as simulator:
        assert (await command.sweep(simulator, *EVERYTHING)).code == 0
    assert not kept.parent.exists(), "what the run before kept is gone"


@pytest.mark.parametrize("output", ["-", "out.ndjson", "folder/"])
async def test_what_a_service_gives_on_two_pages_is_written_once(
    command: Command, output: str
) -> None:
    one = organization(findings=900, empty_share=0.0)
    everywhere = frozenset(one.regions)
    async with Simulator(one, faults=Faults(repeating_targets=everywhere)) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, "--page-size", "10", "-o", output)
    assert done.code == 0, done.err
    found = multiset(done.lines) if output == "-" else command.found(output)
    assert_same(found, truth(one))
    assert done.summary["findings"] == found.total()
