"""Counts, and the summary that they become."""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from harvester import errors
from harvester.model import Facets, Outcome, Page, Target
from harvester.summary import (
    Problem,
    Summary,
    SweepStatus,
    TargetCounts,
    summarize,
)
from harvester.summary_file import check_summary_path, write_summary
from harvester.tally import SLOWEST, Tally

_ACCOUNT = "111122223333"
_A, _B, _C = (Target(_ACCOUNT, f"region-{letter}") for letter in "abc")
_HIGH, _NONE = Facets(severity="HIGH"), Facets()


@dataclass
class Time:
    now: float = 1000.0


def _tally(time: Time | None = None) -> Tally:
    time = time or Time()
    return Tally(lambda: time.now)


def _severities(facets: list[Facets]) -> Counter[str]:
    return Page(b"", facets, None).severities


def _summarize(
    tally: Tally,
    status: SweepStatus = "complete",
    reason: errors.HarvesterError | str | None = None,
) -> Summary:
    moment = datetime(2026, 3, 1, 12, 30, 45, 123_999, tzinfo=UTC)
    return summarize(
        tally, run_id="run", started=moment, finished=moment, status=status, reason=reason
    )


def test_a_target_that_is_read_whole() -> None:
    time = Time()
    tally = _tally(time)
    tally.found(_A)
    tally.found(_B)
    tally.begun(_A)
    tally.read(_A, _severities([_HIGH, _NONE]))
    tally.read(_A, _severities([]))
    time.now += 2.5
    assert (tally.total, tally.ended.total()) == (2, 0)
    tally.finish(_A, None)

    assert (tally.findings, tally.pages, tally.complete) == (2, 2, {_A})
    assert tally.severities == {"HIGH": 1, "": 1}
    (slowest,) = tally.slowest
    assert slowest == Outcome(_ACCOUNT, "region-a", "complete", findings=2, pages=2, seconds=2.5)
    assert (tally.total, tally.ended["complete"], tally.problems) == (2, 1, [])


def test_what_an_earlier_run_read_counts_as_read() -> None:
    tally = _tally()
    tally.found(_A)
    tally.begun(_A)
    tally.read(_A, {"HIGH": 30, "LOW": 12}, pages=5)
    tally.read(_A, {"LOW": 1})

    assert (tally.pages, tally.findings, tally.severities) == (6, 43, {"HIGH": 30, "LOW": 13})
    assert (tally.open[_A].pages, tally.open[_A].findings) == (6, 43)


@pytest.mark.parametrize(
    ("operation", "stage"),
    [
        ("ListImageScanFindings", "findings"),
        ("ListImagePipelines", "pipelines"),
        ("AssumeRole", "credentials"),
    ],
)
@pytest.mark.parametrize("pages", [0, 1])
def test_a_target_that_is_not(operation: str, stage: str, pages: int) -> None:
    tally = _tally()
    tally.found(_A)
    tally.begun(_A)
    for _ in range(pages):
        tally.read(_A, _severities([_HIGH]))
    error = errors.RefusedError("AccessDenied", "not you", operation=operation, account=_ACCOUNT)
    tally.finish(_A, error)

    (problem,) = _summarize(tally, "partial").problems
    assert problem.hint
    assert msgspec.structs.replace(problem, hint=None) == Problem(
        account=_ACCOUNT,
        region="region-a",
        status="incomplete" if pages else "failed",
        stage=stage,
        code="AccessDenied",
        message="not you",
    )
    assert tally.complete == set()


def test_an_error_without_a_code_is_named_by_its_kind() -> None:
    tally = _tally()
    tally.found(_A)
    tally.finish(_A, errors.StartError("no keys"))

    (problem,) = _summarize(tally, "partial").problems
    assert (problem.code, problem.message, problem.status) == ("StartError", "no keys", "failed")


def test_the_slowest_are_remembered_and_no_more() -> None:
    tally = _tally()
    for seconds in (3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5):
        tally.end(Outcome(_ACCOUNT, "region-a", "complete", seconds=seconds))

    assert [outcome.seconds for outcome in tally.slowest] == [9, 6, 5, 5, 5]
    assert len(tally.slowest) == SLOWEST
    assert tally.total == 11


@pytest.mark.parametrize("severity", [None, "", 0])
def test_no_severity_is_counted_as_none(severity: object) -> None:
    assert _severities([Facets(severity=severity), Facets()]) == {"": 2}
    assert _severities([Facets(severity=["x"])]) == {"['x']": 1}


def test_counts_of_targets() -> None:
    tally = _tally()
    tally.end(Outcome("1", None, "skipped", "accounts", "NotActive"))
    tally.end(Outcome("2", None, "failed", "credentials", "AccessDenied", "no"))
    for target in (_A, _B, _C):
        tally.found(target)
    tally.finish(_A, None)
    tally.begun(_B)
    tally.read(_B, _severities([_HIGH]))

    summary = _summarize(tally, "interrupted", "SIGTERM")
    assert summary.targets == TargetCounts(total=5, complete=1, incomplete=2, failed=1, skipped=1)
    assert [(one.account, one.region) for one in summary.problems] == [
        ("2", None),
        (_ACCOUNT, "region-b"),
        (_ACCOUNT, "region-c"),
    ]
    assert summary.problems[1].code == "Interrupted"
    assert "SIGTERM" in summary.problems[1].message
    assert "5 targets (1 complete, 2 incomplete, 1 failed, 1 skipped)" in str(summary)


def test_what_could_not_begin_names_its_reason() -> None:
    summary = _summarize(_tally(), "failed", errors.StartError("no credentials"))

    assert summary.problems == (
        Problem(
            account=None,
            region=None,
            status="failed",
            stage="sweep",
            code="StartError",
            message="no credentials",
        ),
    )


def test_the_summary_has_the_keys_of_the_contract() -> None:
    tally = _tally()
    tally.end(Outcome("2", None, "failed", "credentials", "AccessDenied", "no"))
    summary = _summarize(tally, "partial")

    content = json.loads(summary.as_json())
    assert list(content) == [
        *("run_id", "started_at", "finished_at", "seconds", "status", "destination"),
        *("resumed_from", "oldest_read_at", "findings", "by_severity", "kept_findings"),
        *("output_since", "pages", "requests"),
        *("throttled", "retries", "targets", "problems", "skipped", "warnings", "version"),
    ]
    counted = ["total", "complete", "incomplete", "failed", "skipped", "stale"]
    assert list(content["targets"]) == counted
    assert content["problems"][0].pop("hint")
    assert content["problems"] == [
        {
            "account": "2",
            "account_name": None,
            "region": None,
            "status": "failed",
            "stage": "credentials",
            "code": "AccessDenied",
            "message": "no",
        }
    ]
    assert content["started_at"] == "2026-03-01T12:30:45.123Z"
    assert summary.as_json().endswith(b"}\n")


def test_a_summary_is_read_by_attribute_by_key_and_as_a_dict() -> None:
    tally = _tally()
    tally.end(Outcome("2", None, "failed", "credentials", "AccessDenied", "no"))
    summary = _summarize(tally, "partial")

    assert summary["status"] == summary.status == "partial"
    assert list(summary) == list(summary.keys())
    assert {**summary} == dict(summary) == summary.as_dict()
    assert summary.as_dict() == json.loads(summary.as_json()), "plain dicts, lists and numbers"
    with pytest.raises(KeyError):
        summary["nothing"]


def test_a_summary_file_is_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "summary.json"
    summary = _summarize(_tally())
    for _ in range(2):
        write_summary(summary, f"{path}")

    assert path.read_bytes() == summary.as_json()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["summary.json"]  # noqa: PTH208  # its names


def test_a_summary_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()

    for path in (tmp_path / "file" / "x", tmp_path / "folder", tmp_path / ("x" * 300)):
        with pytest.raises(errors.OutputError):
            write_summary(_summarize(_tally()), f"{path}")
    for path in (tmp_path / "file" / "x", tmp_path / "folder"):
        with pytest.raises(errors.OutputError):
            check_summary_path(f"{path}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe"])
def test_what_is_no_ordinary_file_is_refused_before_the_sweep(tmp_path: Path, kind: str) -> None:
    path, precious = tmp_path / "summary.json", tmp_path / "precious"
    if kind == "link":
        precious.write_text("not ours")
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(precious)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(errors.OutputError, match="would be replaced"):
        check_summary_path(f"{path}")

    assert sorted(tmp_path.iterdir()) == before


def test_a_link_that_comes_later_is_replaced_and_not_followed(tmp_path: Path) -> None:
    path, precious = tmp_path / "summary.json", tmp_path / "precious"
    precious.write_text("not ours")
    check_summary_path(f"{path}")
    path.symlink_to(precious)
    write_summary(_summarize(_tally()), f"{path}")

    assert precious.read_text() == "not ours"
    assert stat.S_ISREG(path.lstat().st_mode)
