"""Choose where a demo writes, so that it replaces nothing but files of an earlier demo.

A directory that a demo made carries a marker, and later demos may replace what is in it.
Anywhere else a demo only adds files: it refuses to begin where one of its files already exists.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from harvester.errors import SettingsError
from harvester.output.parents import check_parent
from harvester.output.workspace import absolute, cannot_write, make_private
from harvester.settings.paths import expand_path
from harvester.settings.sections import is_folder
from harvester.settings.values import escaped, shown

MARKER = ".made-by-harvester-demo"
"""The file in each directory that a demo made."""


@dataclass(frozen=True, slots=True)
class DemoFiles:
    """Where a demo writes: the findings, and the summary beside them or in their directory."""

    output: str
    summary: str


def files_for(option: str) -> DemoFiles:
    """Return where a demo writes for a value of --output.

    Raises:
        SettingsError: the destination is stdout, or has a variable that is not set.
    """
    output = expand_path("--output", option)
    if output == "-":
        raise SettingsError("--output: '-' is not for the demo: give a file or a folder")
    folder = output if is_folder(output) else os.path.dirname(output)  # noqa: PTH120
    return DemoFiles(output, os.path.join(folder, "summary.json"))  # noqa: PTH118


def claim(files: DemoFiles) -> None:
    """Make and mark the directory of a demo's files, unless it exists.

    Raises:
        SettingsError: something there is not a demo's and would be replaced.
        OutputError: the directory cannot be made.
    """
    path, whole_folder = absolute(files.output), is_folder(files.output)
    folder = path if whole_folder else path.parent
    if _made_by_demo(folder):
        return
    for each in _claimed(path, whole_folder=whole_folder):
        if os.path.lexists(each):
            raise SettingsError(
                f"--output: {shown(files.output)} would replace {escaped(str(each))}, which no"
                " demo made: give the demo another --output, or remove that"
            )
    _make(folder)


def _made_by_demo(folder: Path) -> bool:
    return (folder / MARKER).is_file()


def _claimed(path: Path, *, whole_folder: bool) -> list[Path]:
    """Return the names that a demo would write to, and those of a sweep to the same output."""
    if whole_folder:
        return [*path.iterdir()] if path.is_dir() else [path]
    hidden = path.with_name(f".{path.name}.harvester")
    return [path, path.with_name("summary.json"), hidden, path.with_name(f"{path.name}.damaged")]


def _make(folder: Path) -> None:
    """Make and mark a directory; one that is there stays as it is."""
    if folder.is_dir():
        return
    check_parent(folder)
    try:
        make_private(folder)
        (folder / MARKER).touch(0o600)
    except OSError as error:
        raise cannot_write(folder, error) from error
