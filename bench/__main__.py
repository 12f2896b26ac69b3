"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from pathlib import Path
from typing import Final

from bench import report
from bench.process import PYTHON, ROOT, BenchError, environment
from bench.rig import Options
from bench.scenarios import SCENARIOS

_HERE: Final = Path(__file__).resolve().parent
_README: Final = ROOT / "README.md"
_PLOT_SECONDS: Final = 120
_log = logging.getLogger("bench")


def main() -> int:
    """Run the scenarios that were named, and write down each as soon as it is done."""
    asked = _parser().parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    names = list(SCENARIOS) if "all" in asked.names else list(dict.fromkeys(asked.names))
    folder: Path = asked.out or (_HERE / "quick" if asked.quick else _HERE)
    options = Options(asked.rounds, asked.quick)
    failed = False
    for name in names:
        _log.info("%s%s", name, " (quick: a tenth of the size)" if asked.quick else "")
        try:
            result = SCENARIOS[name](options)
        except BenchError as error:
            _log.error("%s failed: %s", name, error)
            failed = True
            continue
        if result is not None:
            known = report.read(folder)
            report.write(folder, report.merge(known, name, result, SCENARIOS, quick=asked.quick))
    if folder == _HERE:
        _README.write_text(report.quote(_README.read_text("utf-8"), report.read(folder)), "utf-8")
    # In a process of its own: it is large, and this one is to stay small.
    subprocess.run(  # noqa: S603  # our own module
        [PYTHON, "-m", "bench.plot", str(folder.resolve())],
        cwd=ROOT,
        env=environment({}),
        check=True,
        timeout=_PLOT_SECONDS,
    )
    sys.stdout.write(report.markdown(report.read(folder)))
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = [*SCENARIOS, "all"]
    parser.add_argument("names", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--rounds", type=int, help="how often; default: as each scenario chooses")
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the size, into bench/quick"
    )
    parser.add_argument("--out", type=Path, help="the folder to write to; default: bench")
    return parser


if __name__ == "__main__":
    sys.exit(main())
