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
    found = shares(_settings(processes, concurrency))
    assert sum(found) == concurrency
    assert len(found) == min(processes, concurrency)
    assert max(found) - min(found) <= 1
    assert min(found) >= 1


def test_one_process_has_all_to_itself() -> None:
    assert shares(_settings(1, 64)) == (64,)


def test_several_share_it() -> None:
    assert shares(_settings(2, 64)) == (32, 32)
    assert shares(_settings(3, 10)) == (4, 3, 3)


def test_there_are_no_more_than_requests() -> None:
    assert shares(_settings(64, 4)) == (1, 1, 1, 1)


def test_there_are_no_more_than_targets() -> None:
    assert shares(_settings(8, 64, "eu-west-1", accounts=1)) == (64,)
    assert shares(_settings(8, 64, accounts=1)) == (64,)
    assert shares(_settings(8, 64, "eu-west-1", "us-east-1", accounts=1)) == (32, 32)
    assert shares(_settings(8, 64, "eu-west-1", accounts=3)) == (22, 21, 21)
    assert len(shares(_settings(8, 64, "all", accounts=1))) == 8
