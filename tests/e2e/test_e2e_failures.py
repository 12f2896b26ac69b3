"""Sweeps that finish with problems: each costs just itself, and the summary names it."""

from __future__ import annotations

from collections import Counter

from harvester.simulator import Behaviour, Faults, Simulator
from tests.e2e.support import (
    EVERYTHING,
    Command,
    assert_same,
    organization,
    truth,
)


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


async def test_a_skewed_clock_is_named(command: Command) -> None:
    one = organization(accounts=1, suspended=0)
    async with Simulator(one, faults=Faults(clock_skew=3600)) as simulator:
        done = await command.sweep(simulator)
    assert done.code == 4
    assert "RequestTimeTooSkewed" in done.err
