"""Pages that cannot be understood: kept raw beside the output, few, bounded and private."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harvester.errors import DamagedAnswerError
from harvester.model import Target
from harvester.output.trust import PRIVATE_FILE, is_ours
from harvester.output.workspace import absolute, make_private
from harvester.settings import OutputSettings

MOST_FILES = 20
"""How many bodies of one run are kept, each of at most a MiB."""

_NAME = re.compile(r"[0-9]{12}-[a-z0-9]+(-[a-z0-9]+)+-[0-9]+\.body")
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_log = logging.getLogger("harvester")


class Quarantine:
    """A folder with the bodies that one run could not read; those of the run before go.

    Whatever goes wrong with it is no reason to stop a sweep: then a body is not kept, and the
    problem's message says so.

    Args:
        folder: made when it is needed; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def clear(self) -> None:
        """Remove what the run before kept."""
        if self._folder is None:
            return
        with suppress(OSError):
            with self._opened(self._folder) as folder:
                for name in _kept(folder):
                    os.unlink(name, dir_fd=folder)
            self._folder.rmdir()  # stays where something else is in it

    def set_aside(self, target: Target, error: DamagedAnswerError) -> DamagedAnswerError:
        """Keep the body of a damaged answer; return the error with a word where it is."""
        if self._folder is None or error.body is None:
            return error
        try:
            return error.noted(self._keep(self._folder, target, error.body))
        except OSError as failure:
            _log.debug(
                "%s cannot be written: %s",
                self._folder,
                failure,
                extra={"event": "damaged_page_not_kept"},
            )
            return error.noted("its body could not be kept")

    def _keep(self, path: Path, target: Target, body: bytes) -> str:
        make_private(path)
        with self._opened(path) as folder:
            number = len(_kept(folder)) + 1
            name = f"{target.account}-{target.region}-{number}.body"
            # Accounts and regions come from the service: only their own alphabet is a name.
            if number > MOST_FILES or not _NAME.fullmatch(name):
                return f"its body is not kept, beside {number - 1} others"
            file = os.open(name, _NEW_FILE, PRIVATE_FILE, dir_fd=folder)
            with os.fdopen(file, "wb") as stream:
                stream.write(body)
        return f"its body is kept in {path / name}"

    @contextmanager
    def _opened(self, path: Path) -> Iterator[int]:
        """Yield a descriptor of the folder, if it is one and this user's."""
        folder = os.open(path, _FOLDER)
        try:
            if not is_ours(folder):
                raise PermissionError(1, "the folder is another user's")
            yield folder
        finally:
            os.close(folder)


def _kept(folder: int) -> list[str]:
    return [name for name in os.listdir(folder) if _NAME.fullmatch(name)]


def quarantine_for(output: OutputSettings, *, stream: bool) -> Quarantine:
    """Return the quarantine beside an output, not made yet.

    `DEST.damaged` beside a file, `DEST/.damaged` in a folder. Findings that go to a `stream`
    have no place of their own: then it is beside the summary, if there is one.
    """
    if stream or output.kind == "stdout":
        path = output.summary
        return Quarantine(_beside(path) if path is not None else None)
    if output.kind == "folder":
        return Quarantine(absolute(output.path) / ".damaged")
    return Quarantine(_beside(output.path))


def _beside(path: str) -> Path:
    place = absolute(path)
    return place.with_name(f"{place.name}.damaged")
