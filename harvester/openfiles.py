"""How many connections fit into the files that this process may have open."""

from __future__ import annotations

import logging

from harvester.errors import StartError
from harvester.portability import open_file_limits, raise_open_file_limit

_OURS = 32
"""Files beside the connections: output, journal, lock, logs, the event loop's own."""

_PER_REQUEST = 2
"""A request in flight may leave an idle connection to another region behind."""

_RAISE = "raise the limit: ulimit -n 1024"
_RAISE_HARD = (
    "raise the hard limit, which only root may: ulimit -n 1024, LimitNOFILE=1024 in a systemd "
    "unit, --ulimit nofile=1024 of docker"
)
_log = logging.getLogger("harvester")


def raise_limit() -> None:
    """Let this process have as many files open as its hard limit allows, up to 8,192."""
    raise_open_file_limit()


def requests_in_flight(wanted: int) -> int:
    """Return how many requests may be in flight: `wanted`, or fewer where the limit is low.

    Raises:
        StartError: not even one is possible.
    """
    soft, hard = open_file_limits()
    possible = wanted if soft is None else (soft - _OURS) // _PER_REQUEST
    if possible < 1:
        raise StartError(
            f"the open-file limit is {soft}; a sweep needs at least {_OURS + _PER_REQUEST}",
            hint=_RAISE_HARD if hard == soft else _RAISE,
        )
    if possible < wanted:
        _log.warning(
            "limits.max_concurrency: %s requests in flight instead of %s, since this process may "
            "have %s files open (ulimit -n)",
            possible,
            wanted,
            soft,
            extra={"event": "few_open_files", "possible": possible, "wanted": wanted},
        )
    return min(wanted, possible)
