"""The results as files: results.json, which is merged, and RESULTS.md, made from it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from bench.figures import Result, shown

_PACKAGES: Final = ("aiobotocore", "aiohttp", "boto3", "botocore", "orjson", "uvloop")
BEGIN: Final = "<!-- measured by make bench -->"
END: Final = "<!-- until here -->"
_MARKS: Final = {True: "yes", False: "**no**", None: ""}


def setting() -> dict[str, Any]:
    """Where a scenario was measured, as far as it matters to others."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": packages,
    }


def read(folder: Path) -> dict[str, Any]:
    """The scenarios that were measured before."""
    path = folder / "results.json"
    known: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return known


def merge(
    known: Mapping[str, Any], name: str, result: Result, order: Iterable[str], *, quick: bool
) -> dict[str, Any]:
    """What is known, and a new result, in the order of the scenarios."""
    merged = {**known, name: {"quick": quick, "setting": setting(), **result.as_dict()}}
    return {one: merged[one] for one in order if one in merged}


def write(folder: Path, results: Mapping[str, Any]) -> None:
    """Write results.json and RESULTS.md."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1, ensure_ascii=False)
    (folder / "results.json").write_text(text + "\n", "utf-8")
    (folder / "RESULTS.md").write_text(markdown(results), "utf-8")


def quote(page: str, results: Mapping[str, Any]) -> str:
    """Return a page with the figures that have a goal between its marks.

    It stays as it is where it has no marks, or where a result is a quick one.
    """
    begin, end = page.find(BEGIN), page.find(END)
    if begin < 0 or end < begin or any(entry["quick"] for entry in results.values()):
        return page
    table = "\n".join(quoted(results))
    return f"{page[: begin + len(BEGIN)]}\n{table}\n{page[end:]}"


def quoted(results: Mapping[str, Any]) -> list[str]:
    """The lines of a table of the figures that have a goal."""
    rows = [
        _row(name, figure, quick=False)
        for name, entry in results.items()
        for figure in entry["figures"]
        if figure["goal"]
    ]
    return ["| scenario | what | goal | measured | met |", "|---|---|---|---|---|", *rows]


def markdown(results: Mapping[str, Any]) -> str:
    """The results as a page with one table."""
    lines = [
        "# Measured",
        "",
        "`make bench` makes this page. Everything runs on the simulator, which has a process of its",
        "own beside them; each contestant runs in a fresh process, in turns with the others.",
        "A ratio is taken within each round: median, and in brackets the lowest and the highest.",
        "",
    ]
    if any(entry["quick"] for entry in results.values()):
        lines += [
            "**Quick: a tenth of the size and few rounds: for a look, not to be held to the goals.**"
        ]
        lines += [""]
    lines += ["| scenario | what | goal | measured | met |", "|---|---|---|---|---|"]
    for name, entry in results.items():
        lines += [_row(name, figure, quick=entry["quick"]) for figure in entry["figures"]]
    lines += ["", "The scenarios:", ""]
    lines += [f"- `{name}`: {entry['what']}{_rounds(entry)}." for name, entry in results.items()]
    lines += ["", *_settings(results)]
    return "\n".join(lines) + "\n"


def _row(name: str, figure: Mapping[str, Any], *, quick: bool) -> str:
    unit = figure["unit"]
    low, high = shown(figure["low"], ""), shown(figure["high"], "")
    measured = f"{shown(figure['median'], unit)} ({low.strip()}–{high.strip()})"
    goal = figure["goal"] or ""
    met = _MARKS[None if quick else figure["met"]]
    return f"| {name} | {figure['label']} | {goal} | {measured} | {met} |"


def _rounds(entry: Mapping[str, Any]) -> str:
    count = max((len(figure["values"]) for figure in entry["figures"]), default=0)
    return f"; {count} round{'s' if count != 1 else ''}"


def _settings(results: Mapping[str, Any]) -> list[str]:
    """One line for each setting, with its scenarios where there are several."""
    where: dict[str, list[str]] = {}
    for name, entry in results.items():
        one = entry["setting"]
        packages = ", ".join(f"{package} {number}" for package, number in one["packages"].items())
        text = f"{one['python']}, {one['system']}, {one['cores']} cores; {packages}."
        where.setdefault(text, []).append(name)
    if len(where) == 1:
        return list(where)
    return [f"{', '.join(names)}: {text}" for text, names in where.items()]
