"""README.md, the Makefile and the command line cannot drift apart."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import get_args

import click
import msgspec
import pytest

from harvester import __version__, errors
from harvester.cli import cli
from harvester.events import AnyEvent
from harvester.summary import Problem, Skipped, Summary, SweepWarning, TargetCounts
from tests.torture.jobs import DESTINATIONS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SWEEP = cli.commands["sweep"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def options(command: click.Command) -> set[str]:
    return {
        flag
        for parameter in command.params
        for flag in (*parameter.opts, *parameter.secondary_opts)
        if flag.startswith("--") and isinstance(parameter, click.Option)
    }


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    first = blocks("sh")[0]
    for target in ("demo", "test"):
        assert f"make {target}" in first
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_every_option_that_it_names_exists() -> None:
    known = {"--help", "--version"}.union(*(options(one) for one in cli.commands.values()))
    commands = [
        line
        for block in blocks("sh")
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("harvester ")
    ]
    assert commands
    named = {flag for line in commands for flag in re.findall(r"(?<=\s)--[a-z-]+", line)}
    prose = set(re.findall(r"`(?:-\w`, `)?(--[a-z-]+)", README))
    assert named | prose <= known


def test_the_options_of_the_tables_are_all_that_choose_what_is_swept() -> None:
    unexplained = options(SWEEP) - set(re.findall(r"--[a-z-]+", README))
    # What every command-line tool has, and what the help explains well enough.
    assert unexplained <= {"--config", "--fresh", "--page-size", "--profile", "--endpoint-url"} | {
        "--quiet",
        "--verbose",
    }


def test_the_exit_codes_are_those_of_the_errors() -> None:
    table = README.partition("## Exit codes")[2].partition("\n## ")[0]
    documented = {
        int(code)
        for row in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE)
        for code in row.split(",")
    }
    raised = {
        one.exit_code
        for one in vars(errors).values()
        if isinstance(one, type) and issubclass(one, errors.HarvesterError)
    } - {errors.HarvesterError.exit_code}
    assert raised | {0, 3, 129, 130, 143} == documented


def test_the_policy_is_json_with_every_operation_that_is_used() -> None:
    (policy,) = (json.loads(block) for block in blocks("json"))
    allowed = {
        action
        for statement in policy["Statement"]
        for action in [statement["Action"]]
        for action in ([action] if isinstance(action, str) else action)
    }
    sources = "".join(path.read_text() for path in (ROOT / "harvester" / "aws").glob("*.py"))
    used = set(re.findall(r'"((?:list|get|describe|assume)_[a-z_]+)"', sources))
    called = {"".join(part.capitalize() for part in name.split("_")) for name in used}
    called -= {"GetCallerIdentity"}  # needs no permission
    assert {action.partition(":")[2] for action in allowed} == called


@pytest.mark.parametrize("code", blocks("python"))
def test_its_python_is_python(code: str) -> None:
    ast.parse("async def main(client, token):\n" + "".join(f"    {x}\n" for x in code.splitlines()))


def test_the_changelog_has_the_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_figures_it_quotes_are_those_that_were_measured() -> None:
    # As bench/report.py writes them: nothing but the figures that have a goal.
    measured = (ROOT / "bench" / "RESULTS.md").read_text().splitlines()
    rows = [line for line in measured if line.startswith("|") and line.split("|")[3].strip()]
    begin, end = (
        README.index("<!-- measured by make bench -->"),
        README.index("<!-- until here -->"),
    )
    assert len(rows) > 3
    assert README[begin:end].splitlines()[1:] == rows


def test_the_reliability_page_is_of_a_whole_campaign_in_which_nothing_was_lost() -> None:
    assert "(docs/reliability.md)" in README
    page = (ROOT / "docs" / "reliability.md").read_text()
    rows = re.findall(
        r"^\| (.+?) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| [+-]", page, re.MULTILINE
    )
    assert {name for name, *_ in rows} == set(DESTINATIONS), "run `make torture`"
    assert sum(int(kills) for _, _, kills, *_ in rows) == 200
    assert {wrong for row in rows for wrong in row[3:]} == {"0"}


def _documented(page: str, section: str) -> list[str]:
    """The names in the first column of the table below a heading, "" for the top of the page."""
    text = (ROOT / "docs" / page).read_text()
    if section:
        text = text.partition(f"\n## {section}\n")[2]
    text = text.partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+?) \|", text, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


@pytest.mark.parametrize(
    ("section", "kind"),
    [
        ("", Summary),
        ("targets", TargetCounts),
        ("problems", Problem),
        ("skipped", Skipped),
        ("warnings", SweepWarning),
    ],
)
def test_the_summary_page_describes_each_field(section: str, kind: type[msgspec.Struct]) -> None:
    assert _documented("summary.md", section) == list(kind.__struct_fields__)
    assert "(docs/summary.md)" in README


def _logged_events() -> set[str]:
    """The names that log calls and events in the code have."""
    named = {kind.__struct_config__.tag for kind in get_args(AnyEvent)}
    for path in (ROOT / "harvester").rglob("*.py"):
        text = path.read_text()
        named |= set(re.findall(r'"event": "(\w+)"', text))
        named |= set(re.findall(r'"(\w+_error|\w+_warning|sdk_log|log|interrupted)"', text))
    return named


def test_the_events_that_the_page_on_logs_names_exist() -> None:
    documented = _documented("logs.md", "Events")
    assert len(documented) > 20
    assert set(documented) <= _logged_events()
    assert "(docs/logs.md)" in README


def test_each_log_call_names_its_event() -> None:
    unnamed = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in (ROOT / "harvester").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "_log"
        and call.func.attr in {"debug", "info", "warning", "error", "exception", "log"}
        and "extra" not in {keyword.arg for keyword in call.keywords}
    ]
    assert unnamed == [], 'extra={"event": …} is missing'
