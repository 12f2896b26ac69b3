"""Decide whether the directory of a new file exists or may be made.

A misspelt directory must not become a new one. Only the directory that the user names with a
trailing `/` is made, and whatever belongs below it.
"""

from __future__ import annotations

from pathlib import Path

from harvester.errors import OutputError
from harvester.output.workspace import cannot_write


def check_parent(path: Path, folder: Path | None = None) -> None:
    """Raise OutputError where the directory that holds a path does not exist.

    Args:
        path: an absolute path of a file, or of a directory that is to be made.
        folder: the output directory of this run, below which missing ones are made.
    """
    if _exists(path.parent, path):
        return
    if folder is not None and path.parent.is_relative_to(folder) and _exists(folder.parent, path):
        return
    raise OutputError(
        f"{path} cannot be written: there is no directory {path.parent}",
        hint="correct the path, or create the directory first; only --output NAME/ makes one",
    )


def _exists(folder: Path, path: Path) -> bool:
    try:
        folder.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise cannot_write(path, error) from error
    return True
