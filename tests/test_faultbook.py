"""docs/faults.md names tests that exist, and hints for what lasts."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from harvester.hints import hint_for
from harvester.summary import Problem

ROOT = Path(__file__).parents[1]
BOOK = (ROOT / "docs" / "faults.md").read_text()
_ID = re.compile(r"`(tests/[\w/]+\.py)::(\w+)(?:\[(\w+)\])?`")


def _rows(section: str) -> list[list[str]]:
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", BOOK, re.MULTILINE | re.DOTALL)
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return rows[2:]


@cache
def _functions(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


@pytest.mark.parametrize("section", ["What passes", "What is in a finding", "What lasts"])
def test_each_row_names_a_test(section: str) -> None:
    rows = _rows(section)
    assert len(rows) > 5
    for row in rows:
        assert _ID.fullmatch(row[-1]), row


def test_each_named_test_exists() -> None:
    named = _ID.findall(BOOK)
    assert len(named) > 40
    for path, name, case in named:
        assert name in _functions(path), f"{path}::{name}"
        assert not case or case in _functions(path), f"{path}::{name}[{case}]"


def test_what_lasts_has_a_hint() -> None:
    codes = {code for row in _rows("What lasts") for code in re.findall(r"`(\w{8,})`", row[1])}
    codes -= {"credentials"}  # the stage
    assert len(codes) > 15
    for code in codes:
        problem = Problem(
            account="111122223333",
            region="us-east-1",
            status="failed",
            stage="findings",
            code=code,
            message="",
        )
        assert hint_for(problem), code


def test_the_readme_leads_here() -> None:
    assert "(docs/faults.md)" in (ROOT / "README.md").read_text()
