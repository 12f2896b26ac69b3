"""A low limit of open files costs concurrency, or ends the sweep with one clear line."""

from __future__ import annotations

import subprocess
import sys

import pytest

_RUN = """
import resource, sys
soft, hard = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
from harvester.errors import StartError
from harvester.openfiles import raise_limit, requests_in_flight
import logging
logging.basicConfig(format="%(message)s")
if sys.argv[3] == "raise":
    raise_limit()
try:
    print(requests_in_flight(64))
except StartError as error:
    print(error, error.hint)
"""


def _limited(soft: int, hard: int, raised: str = "no") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _RUN, f"{soft}", f"{hard}", raised],
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "width"),
    [(1024, 1024, "no", 64), (160, 1024, "no", 64), (60, 1024, "no", 14), (60, 1024, "raise", 64)],
)
def test_the_width_fits_into_the_limit(soft: int, hard: int, raised: str, width: int) -> None:
    done = _limited(soft, hard, raised)
    assert done.stdout == f"{width}\n"
    assert ("14 requests in flight instead of 64" in done.stderr) is (width == 14)
    assert ("60 files open (ulimit -n)" in done.stderr) is (width == 14)


def test_too_low_a_limit_is_named() -> None:
    done = _limited(33, 33)
    assert done.stdout.startswith("the open-file limit is 33; a sweep needs at least 34")
    assert "raise the hard limit" in done.stdout
    assert "ulimit -n" in done.stdout
    assert "raise the limit: ulimit -n 1024" in _limited(33, 2048).stdout
