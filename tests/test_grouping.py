"""One cause is told once, whatever differs from target to target."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from harvester.terminal.grouping import Grouping, same_cause

_DENIED = "User: arn:aws:iam::111122223333:user/me may not assume arn:aws:iam::%s:role/Harvester"


def _record(message: str, level: int = logging.WARNING, **fields: Any) -> logging.LogRecord:
    values = {"levelno": level, "levelname": logging.getLevelName(level), "msg": message}
    return logging.makeLogRecord({"name": "harvester", **values, **fields})


def _failed(number: int, message: str = _DENIED, **fields: Any) -> logging.LogRecord:
    account = f"{number:012}"
    said = f"{account} (name-{number}): failed at credentials: AccessDenied: " + (
        message % account if "%s" in message else message
    )
    place = {"account": account, "account_name": f"name-{number}", "region": None}
    cause = {"status": "failed", "stage": "credentials", "code": "AccessDenied", "hint": "do it"}
    return _record(said, **{"event": "target_finished", **place, **cause, **fields})


def _texts(records: list[logging.LogRecord]) -> list[str]:
    return [record.getMessage() for record in records]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("in 111122223333", "in 444455556666"),
        ("eu-west-1 is down", "us-gov-east-1 is down"),
        ("no (RequestID: 1a2b-c3)", "no (RequestID: 77ff-00)"),
        ("id 0f8fad5b-d9cb-469f-a165-70867728950e", "id 7c9e6679-7425-40de-944b-e07fc1f90ae7"),
        ("245 of 250 findings", "1,245 of 1,250 findings"),
        ("at 2026-01-02T03:04:05Z", "at 2026-02-03T04:05:06.789Z"),
        ("x/1-us-east-1-3.body", "x/1-eu-west-1-17.body"),
    ],
)
def test_causes_are_equal_but_for_places_ids_times_and_numbers(one: str, other: str) -> None:
    assert same_cause(one) == same_cause(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("HTTP 403", "HTTP 502"), ("role A is missing", "role B is missing"), ("", "x")],
)
def test_other_causes_are_not(one: str, other: str) -> None:
    assert same_cause(one) != same_cause(other)


def test_equal_causes_are_counted_in_text() -> None:
    grouping = Grouping(counted=True)
    first, *others = [grouping(_failed(number)) for number in range(1, 301)]

    assert _texts(first) == [_failed(1).getMessage()]
    assert not any(others)
    progress = grouping(_record("progress", logging.INFO, event="progress"))
    assert _texts(progress) == ["299 more accounts failed with AccessDenied so far", "progress"]
    again = grouping(_record("progress", logging.INFO, event="progress"))
    assert _texts(again) == ["progress"], "nothing new"
    recap, last = grouping(_record("the end", logging.INFO, event="sweep_finished"))
    assert recap.getMessage().startswith(
        "299 more accounts failed with AccessDenied: 000000000002 (name-2), 000000000003 (name-3)"
    )
    assert recap.getMessage().endswith(", …")
    assert last.getMessage() == "the end"


def test_equal_causes_are_short_records_in_json() -> None:
    grouping = Grouping(counted=False)
    (first,), (second,) = grouping(_failed(1)), grouping(_failed(2))

    assert first.getMessage() == _failed(1).getMessage()
    assert second.getMessage() == "000000000002: failed: AccessDenied"
    kept = {"event": "target_finished", "account": "000000000002", "account_name": "name-2"}
    assert kept.items() <= vars(second).items()
    assert {"status": "failed", "code": "AccessDenied"}.items() <= vars(second).items()
    assert "hint" not in vars(second)


@pytest.mark.parametrize(
    "fields",
    [{"stage": "regions"}, {"code": "Timeout"}, {"status": "incomplete"}, {"message": "no"}],
)
def test_another_stage_code_status_or_message_is_told_in_full(fields: dict[str, Any]) -> None:
    grouping = Grouping(counted=True)
    grouping(_failed(1))

    assert len(grouping(_failed(2, **fields))) == 1


def test_the_recap_can_be_left_to_the_tables() -> None:
    grouping = Grouping(counted=True, recap=False)
    for number in range(3):
        grouping(_failed(number))

    assert _texts(grouping(_record("the end", event="sweep_finished"))) == ["the end"]


def test_other_warnings_are_grouped_and_infos_are_not() -> None:
    grouping = Grouping(counted=True)
    for number in range(3):
        assert len(grouping(_record(f"info {number}", logging.INFO, event="x"))) == 1
        shown = grouping(_record(f"disk {number} is slow", event="slow_disk"))
        assert len(shown) == (number == 0)
    recap, _ = grouping(_record("the end", event="sweep_finished"))
    assert recap.getMessage() == "2 more warnings like: disk 0 is slow"


def test_infos_of_each_target_are_grouped_too_and_one_more_is_singular() -> None:
    grouping = Grouping(counted=True)
    for number in range(2):
        place = {"account": f"11112222333{number}", "region": "us-east-1", "status": "stale"}
        text = f"11112222333{number}/us-east-1: stale: its findings of an earlier run stand"
        shown = grouping(_record(text, logging.INFO, event="older_findings_kept", **place))
        assert len(shown) == (number == 0)
    recap, _ = grouping(_record("the end", event="sweep_finished"))
    assert recap.getMessage() == "1 more target stale: 111122223331/us-east-1"
