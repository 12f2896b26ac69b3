"""How requests in flight are divided between processes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harvester.settings import (
    AccountSettings,
    LimitSettings,
    RegionSettings,
    Settings,
    check_settings,
)
from harvester.shares import shares

_WIDE = AccountSettings(organization=True, role_name="Harvester")


def _settings(processes: int, concurrency: int, *regions: str, accounts: int = 0) -> Settings:
    chosen = AccountSettings(include=tuple(f"{number:012}" for number in range(accounts)))
    return check_settings(
        Settings(
            accounts=chosen if accounts else _WIDE,
            regions=RegionSettings(include=regions),
            limits=LimitSettings(processes=processes, max_concurrency=concurrency),
        )
    )


@given(st.integers(1, 64), st.integers(1, 1000))
def test_together_they_are_the_overall_bound(processes: int, concurrency: int) -> None:
    own, *others = shares(_settings(processes, concurrency))
    assert own + sum(others) == concurrency
    assert min([own, *others]) >= 1
    assert len(others) <= processes
    assert not others or max(others) - min(others) <= 1


def test_one_process_has_all_to_itself() -> None:
    assert shares(_settings(1, 64)) == (64,)


def test_several_leave_a_part_to_the_one_that_finds_the_targets() -> None:
    assert shares(_settings(2, 64)) == (8, 28, 28)
    assert shares(_settings(3, 10)) == (1, 3, 3, 3)


def test_there_are_no_more_than_requests() -> None:
    assert shares(_settings(64, 4)) == (1, 1, 1, 1)
    assert shares(_settings(64, 2)) == (2,)


def test_there_are_no_more_than_targets() -> None:
    assert shares(_settings(8, 64, "eu-west-1", accounts=1)) == (64,)
    assert shares(_settings(8, 64, accounts=1)) == (64,)
    assert shares(_settings(8, 64, "eu-west-1", "us-east-1", accounts=1)) == (8, 28, 28)
    assert shares(_settings(8, 64, "eu-west-1", accounts=3)) == (8, 19, 19, 18)
    assert len(shares(_settings(8, 64, "all", accounts=1))) == 9
