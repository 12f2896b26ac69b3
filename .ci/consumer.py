# ruff: noqa: INP001  # a script, no package
"""Check that type checkers accept a correct user of the library, and find another one's mistakes.

    python .ci/consumer.py

Runs mypy --strict and pyright over tests/consumer. Each line of misspelt_key.py with a mistake
must be reported by both. Ends with 1 otherwise.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "tests" / "consumer"
GOOD, BAD = FOLDER / "reads_findings.py", FOLDER / "misspelt_key.py"
MISTAKES = ('"tilte"', '"recomendation"', 'include="eu-west-1"')
CHECKERS = {
    "mypy": ("mypy", "--strict", "--cache-dir", os.devnull),
    "pyright": ("pyright", "--pythonpath", sys.executable),
}


def main() -> int:
    """Run both checkers on both programs, print what is wrong, and return the exit code."""
    wanted = {
        number
        for number, line in enumerate(BAD.read_text().splitlines(), 1)
        if any(mistake in line for mistake in MISTAKES)
    }
    failures = []
    for name, command in CHECKERS.items():
        accepted, output = run(command, GOOD)
        if not accepted:
            failures.append(f"{name} refuses {GOOD.name}:\n{output}")
        accepted, output = run(command, BAD)
        if lines_with_errors(output) != wanted:
            failures.append(
                f"{name} should report the lines {sorted(wanted)} of {BAD.name}:\n{output}"
            )
    for failure in failures:
        print(f"consumer: {failure}")  # noqa: T201  # this is its output
    return 1 if failures else 0


def run(command: tuple[str, ...], program: Path) -> tuple[bool, str]:
    """Return whether a checker accepts a program, and its report."""
    done = subprocess.run(  # noqa: S603  # both commands stand above
        [sys.executable, "-m", *command, program],
        capture_output=True,
        text=True,
        check=False,
        cwd=FOLDER,
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
    )
    return done.returncode == 0, done.stdout + done.stderr


def lines_with_errors(report: str) -> set[int]:
    """Return the numbers of the lines that a report calls errors."""
    return {int(number) for number in re.findall(r"\.py:(\d+)(?::\d+)?(?: -|:) error", report)}


if __name__ == "__main__":
    sys.exit(main())
