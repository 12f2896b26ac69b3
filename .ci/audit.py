# ruff: noqa: INP001  # a script, no package
"""Looks for known vulnerabilities in what is installed beside the interpreter that runs this.

    python .ci/audit.py [--strict] [PIP-AUDIT]

Ends with 1 where a vulnerability is known, and with 0 where none is. Where the database cannot be
reached, or has no entry of a package, nothing is known: one line says so, and the end is 0, or 1
with --strict. pip-audit gets an environment of its own beside the packages, since its dependencies
are not the project's; the path of one that is installed already may be given.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

_TOOL = "pip-audit>=2.7"
_LONGEST = 600


class NotDoneError(Exception):
    """Nothing is known: the text says why, in one line."""


def main(arguments: list[str]) -> int:
    """Audit, print what was found, and return the exit code."""
    strict = "--strict" in arguments
    given = [Path(each) for each in arguments if each != "--strict"]
    try:
        tool = given[0] if given else install(Path(sys.prefix) / "audit")
        audited, unknown = audit(tool)
    except NotDoneError as error:
        say(f"not done, and so nothing is known: {error}")
        return 1 if strict else 0
    found = [line for package in audited for line in vulnerabilities(package)]
    for line in found:
        say(line)
    if unknown:
        say(f"not in the database, and so unknown: {', '.join(unknown)}")
    say(f"{len(audited)} packages, {len(found) or 'no'} known vulnerabilities")
    return 1 if found or (unknown and strict) else 0


def install(folder: Path) -> Path:
    """Return the tool in an environment of its own, made where it is missing."""
    tool = folder / "bin" / "pip-audit"
    if not tool.exists():
        venv.create(folder, clear=True, with_pip=True)
        python = folder / "bin" / "python"
        done = run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", _TOOL)
        if done.returncode:
            raise NotDoneError(f"pip-audit cannot be installed: {last_line(done.stderr)}")
    return tool


def audit(tool: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the packages that were found, as pip-audit describes them, and the others' names."""
    packages = sysconfig.get_path("purelib")
    options = ("--progress-spinner", "off", "--skip-editable", "--format", "json")
    done = run(tool, "--path", packages, *options)
    try:
        found = [
            package
            for package in json.loads(done.stdout)["dependencies"]
            if "editable" not in package.get("skip_reason", "")
        ]
    except (ValueError, KeyError, TypeError):
        # It ends with 1 both for vulnerabilities and for errors, but an error prints no JSON.
        raise NotDoneError(f"the database cannot be reached: {last_line(done.stderr)}") from None
    audited = [package for package in found if "skip_reason" not in package]
    if not audited:
        # A mirror of PyPI may have no database; pip-audit calls that a success.
        raise NotDoneError(f"the database has none of the {len(found)} packages")
    return audited, [package["name"] for package in found if "skip_reason" in package]


def vulnerabilities(package: dict[str, Any]) -> list[str]:
    """Return a line for each vulnerability of a package."""
    return [
        f"{package['name']} {package['version']}: {one['id']}, "
        f"fixed in {', '.join(one.get('fix_versions') or ()) or 'no version yet'}"
        for one in package.get("vulns", ())
    ]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    try:
        return subprocess.run(  # noqa: S603  # what is run is named above
            command, capture_output=True, text=True, check=False, timeout=_LONGEST
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotDoneError(f"{command[0]}: {error}") from None


def last_line(text: str) -> str:
    """Return the last line that says something, which is where tools say what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it did not say why"


def say(line: str) -> None:
    """Print a line."""
    print(f"audit: {line}")  # noqa: T201  # this is its output


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
