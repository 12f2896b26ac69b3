"""Sweeps that are killed, and gone on with by the same command: some of `make torture`."""

from __future__ import annotations

import random

import pytest

from tests.e2e.support import Command, by_two
from tests.torture.campaign import Campaign, Results
from tests.torture.disks import its_folder_is_a_link
from tests.torture.scenarios import (
    SCENARIOS,
    Scenario,
    deadlines_stop_it_again_and_again,
    nothing_is_different,
)
from tests.torture.syscalls import a_signal_comes_too_late

_AT_ONCE = 4  # most of their time is spent waiting


def _campaign(command: Command) -> tuple[Campaign, Results]:
    campaign = Campaign(command.folder, 1, lambda _: None, scale=0.15)
    return campaign, campaign.results


async def kills_at_random_moments(command: Command, _: random.Random) -> None:
    campaign, results = _campaign(command)
    await campaign.kill(6, a_job=2)
    assert results.kills.total() == 6
    assert results.wrong() == []


async def what_keeps_no_journal_is_caught(command: Command, _: random.Random) -> None:
    campaign, results = _campaign(command)
    await campaign.control(1, kills=1)
    assert results.wrong() == []
    append, by_target = results.caught
    assert append.doubled > 0 < by_target.missing


async def calls_of_the_file_system_fail(command: Command, _: random.Random) -> None:
    campaign, results = _campaign(command)
    await campaign.fail_syscalls(["folder, zst"], calls=(20,))
    assert results.wrong() == []
    (report,) = results.syscalls.values()
    assert {error for _, error in report.struck} >= {"EIO", "SIGTERM", "SIGKILL"}


async def a_journal_is_damaged_byte_by_byte(command: Command, _: random.Random) -> None:
    campaign, results = _campaign(command)
    await campaign.damage(step=7)
    assert results.wrong() == []
    assert min(results.damage.taken.values()) > 0
    assert set(results.damage.taken) == {
        "the same",
        "an earlier state",
        "without the damaged queries",
        "starting over",
    }


_FAULTS = (
    kills_at_random_moments,
    a_journal_is_damaged_byte_by_byte,
    what_keeps_no_journal_is_caught,
    calls_of_the_file_system_fail,
    a_signal_comes_too_late,
    its_folder_is_a_link,
)
_LONG = (nothing_is_different, deadlines_stop_it_again_and_again)  # for `make torture` alone
_CHANGES = tuple(one for one in SCENARIOS if one not in _LONG)


@pytest.mark.parametrize("scenarios", [_FAULTS, _CHANGES], ids=["faults", "changes"])
async def test_resume(
    scenarios: tuple[Scenario, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def run(scenario: Scenario) -> None:
        try:
            await scenario(Command(tmp_path_factory.mktemp("resume")), random.Random(1))
        except Exception as error:
            error.add_note(f"in {scenario.__name__}")
            raise

    await by_two(run, scenarios, at_once=_AT_ONCE)
