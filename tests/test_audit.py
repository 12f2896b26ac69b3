"""`make audit`: what it makes of what pip-audit says, and of its silence."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
_SAFE = {"name": "safe", "version": "1.0", "vulns": []}
_OURS = {"name": "harvester", "skip_reason": "distribution marked as editable"}
_ABSENT = {"name": "absent", "skip_reason": "Dependency not found on PyPI: absent (1)"}
_HOLED = {
    "name": "holed",
    "version": "1.0",
    "vulns": [
        {"id": "PYSEC-1", "fix_versions": ["1.1", "2.0"], "aliases": ["CVE-1"]},
        {"id": "PYSEC-2", "fix_versions": []},
    ],
}


def _run(folder: Path, *options: str, out: str, err: str = "", code: int = 0) -> tuple[int, str]:
    """The script's exit code and output, when pip-audit ends like this."""
    (folder / "out").write_text(out)
    (folder / "err").write_text(err)
    tool = folder / "pip-audit"
    tool.write_text(f"#!/bin/sh\ncat '{folder}/out'\ncat '{folder}/err' >&2\nexit {code}\n")
    tool.chmod(0o700)
    return _script(*options, f"{tool}")


def _script(*arguments: str) -> tuple[int, str]:
    command = (sys.executable, f"{ROOT}/.ci/audit.py", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert all(line.startswith("audit: ") for line in done.stdout.splitlines())
    return done.returncode, done.stdout


def _json(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_nothing_known_is_0(tmp_path: Path) -> None:
    code, said = _run(tmp_path, "--strict", out=_json(_SAFE, _OURS))
    assert (code, said) == (0, "audit: 1 packages, no known vulnerabilities\n")


def test_a_known_vulnerability_is_1_and_named(tmp_path: Path) -> None:
    code, said = _run(tmp_path, out=_json(_SAFE, _HOLED, _OURS), err="Found 2", code=1)
    assert code == 1
    assert "holed 1.0: PYSEC-1, fixed in 1.1, 2.0\n" in said
    assert "holed 1.0: PYSEC-2, fixed in no version yet\n" in said


@pytest.mark.parametrize(
    ("out", "err", "code", "words"),
    [
        ("", "Traceback\nConnectionError: no route\n\n", 1, "cannot be reached: ConnectionError"),
        ("", "", 1, "did not say why"),
        ("<html>", "", 0, "cannot be reached"),
        ("[]", "", 0, "cannot be reached"),
        (_json(_ABSENT, _OURS), "No known vulnerabilities found", 0, "has none of the 1 packages"),
    ],
)
def test_where_nothing_can_be_known_a_line_says_so(
    tmp_path: Path, out: str, err: str, code: int, words: str
) -> None:
    for options, ends in ((), 0), (("--strict",), 1):
        ended, said = _run(tmp_path, *options, out=out, err=err, code=code)
        assert ended == ends
        assert said.startswith("audit: not done, and so nothing is known: ")
        assert words in said
        assert said.count("\n") == 1


def test_packages_that_are_not_in_the_database_are_named(tmp_path: Path) -> None:
    for options, ends in ((), 0), (("--strict",), 1):
        ended, said = _run(tmp_path, *options, out=_json(_SAFE, _ABSENT))
        assert ended == ends
        assert "unknown: absent\n" in said


def test_a_tool_that_cannot_be_run_is_no_success(tmp_path: Path) -> None:
    code, said = _script("--strict", f"{tmp_path}/nowhere")
    assert code == 1
    assert "nothing is known" in said


def test_it_is_a_target_and_no_part_of_what_needs_no_network() -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipe = re.search(r"^audit:.*\n\t(.*)", makefile, re.MULTILINE)
    assert recipe
    assert ".ci/audit.py" in recipe[1]
    assert "audit" not in (ROOT / ".ci" / "run").read_text()
