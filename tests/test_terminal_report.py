"""The tables that a person sees at the end of a sweep, and of a plan."""

from __future__ import annotations

import pytest

from harvester.model import Outcome, Query, Target
from harvester.summary import Problem, Summary, TargetCounts
from harvester.terminal.report import print_plan, print_summary

_TARGET = Target("111122223333", "eu-west-1")


def _problem(number: int, message: str = "no role in %s") -> Problem:
    account = f"{number:012}"
    return Problem(
        account=account,
        account_name=f"name-{number}",
        region=None,
        status="failed",
        stage="credentials",
        code="AccessDenied",
        message=message.replace("%s", account),
        hint="make the role",
    )


def _summary(*problems: Problem, status: str = "partial") -> Summary:
    return Summary(
        run_id="run",
        started_at="",
        finished_at="",
        seconds=12.34,
        status=status,  # type: ignore[arg-type]
        findings=1234,
        by_severity={"LOW": 1000, "CRITICAL": 234},
        pages=20,
        requests=30,
        throttled=1,
        retries=1,
        targets=TargetCounts(total=10, complete=9, failed=1),
        problems=problems,
    )


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def test_equal_causes_are_one_entry_with_a_count(capsys: pytest.CaptureFixture[str]) -> None:
    problems = [_problem(number) for number in range(300)]
    print_summary(_summary(*problems, _problem(1, "other")), slowest=[], destination="out/")

    shown = capsys.readouterr().err
    assert shown.count("no role in") == 1
    assert shown.count("make the role") == 2
    assert "000000000000 (name-0) failed at credentials" in shown
    assert "and 299 more accounts: 000000000001 (name-1), 000000000002 (name-2)" in shown
    assert "in 12.3 s" in shown
    assert len(shown.splitlines()) < 20


@pytest.mark.parametrize(("status", "told"), [("interrupted", True), ("partial", False)])
def test_it_tells_whether_the_sweep_can_be_resumed(
    capsys: pytest.CaptureFixture[str], status: str, *, told: bool
) -> None:
    print_summary(_summary(status=status), slowest=[], destination="out/", resume_within="6h")

    assert ("The same command resumes" in capsys.readouterr().err) is told


def test_the_slowest_targets_have_names_and_were_not_cut_short(
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = (_TARGET.account, _TARGET.region)
    slow = Outcome(*place, "complete", seconds=9.0, account_name="prod")
    cut = Outcome(*place, "incomplete", "sweep", seconds=9.0, account_name="cut-short")
    print_summary(_summary(), slowest=[slow, cut], destination="out/")

    shown = capsys.readouterr().err
    assert "111122223333/eu-west-1 (prod)" in shown
    assert "cut-short" not in shown


def test_a_plan_names_accounts_and_whole_queries(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    arn = "arn:aws:imagebuilder:eu-west-1:111122223333:image-pipeline/golden-base-image"
    query = Query(_TARGET, "imagePipelineArn", arn)
    print_plan({_TARGET: (query,), Target("2" * 12, "x"): ()}, {_TARGET.account: "prod \x1b[2J"})

    shown = capsys.readouterr().out
    assert "prod [2J" in shown
    lines = [line[35:].strip() for line in shown.splitlines()]
    assert f"imagePipelineArn={arn}" in "".join(lines)
    assert "none: no pipeline matches" in shown
