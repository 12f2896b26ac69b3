"""`python -m harvester` and the console script."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn

from harvester.signals import Signals
from harvester.terminal import stderr
from harvester.unsupported import WINDOWS


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    if sys.platform == "win32":  # before any import of a module that exists on POSIX only
        sys.stderr.write(f"harvester: {WINDOWS}\n")
        sys.exit(2)
    signals = Signals()
    signals.install()
    _fill_descriptors()
    stderr.install()
    from harvester.cli import main as run

    try:
        code = run(signals=signals)
    except SystemExit:
        raise
    except BaseException:  # noqa: BLE001  # as Python itself would tell it, but before stderr ends
        sys.excepthook(*sys.exc_info())
        code = 1
    end(code)


def end(code: int) -> NoReturn:
    """Write what is left, and end the process with `code`, whether or not that can be written.

    Python itself would write what is left of stdout once more, report that it cannot, and change
    the exit code; it would also take apart all modules and look for cycles in them.
    """
    with suppress(OSError, ValueError):
        if sys.stdout is not None:
            sys.stdout.flush()
    stderr.settle()
    os._exit(code)


def _fill_descriptors() -> None:
    """Open nothing in the place of each standard stream that is closed.

    A file of the output would get its number otherwise, and the text that a child process, or
    the interpreter itself, writes to that stream.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


if __name__ == "__main__":
    main()
