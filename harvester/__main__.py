"""`python -m harvester` and the console script."""

from __future__ import annotations

import gc
import sys

from harvester.unsupported import WINDOWS


def main() -> None:
    """Run the command line and exit with its code."""
    if sys.platform == "win32":  # before any import of a module that exists on POSIX only
        sys.stderr.write(f"harvester: {WINDOWS}\n")
        sys.exit(2)
    from harvester.cli import main as run

    code = run()
    gc.freeze()  # Python would look for cycles once more, in all that is about to go anyway
    sys.exit(code)


if __name__ == "__main__":
    main()
