"""Where the time of a page goes, and what the choices named in the code gain: no network.

    python -m bench.micro            about half a minute; --rounds N for more or less

In microseconds of CPU a finding, what was made let go of included: the median of the rounds, in
which all that is measured takes turns. In a `cold` round other memory, as large as a cache, is
written before each page, since a sweep handles a page after something else. Ratios within one
table are what counts.

Measured and found not worth it:

- uvloop instead of asyncio's own loop: no gain for a sweep.
- A cache of whole timestamps: no gain over the tables of harvester/timestamps.py, since most
  differ. (Here it would seem fast: the same pages come again and again.)
- Decoding a body as a whole to see whether it is UTF-8: as fast as in pieces where its memory is
  reused, but 4 to 8 µs a finding where the allocator gets a megabyte from the system each time.
"""

from __future__ import annotations

import argparse
import gc
import re
import sys
from collections import defaultdict, deque
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from time import thread_time
from typing import Any, Final

import aiobotocore.session  # noqa: F401  # so that the heap is as large as the command's
import msgspec
import orjson
from harvester.aws.bodies import (
    _TIMESTAMP,
    _check_utf_8,
    _cut,
    _look_at,
    _rewritten,
    decode_line,
    decode_page,
)
from harvester.aws.envelopes import _DIGITS_TO_ZERO, _LONG_NUMBER, ESCAPED_LETTER
from harvester.simulator.generator import make_findings
from harvester.timestamps import iso_json

_PAGES: Final = 10
_FINDINGS: Final = 100
_ROUNDS: Final = 9
_CACHE: Final = bytearray(32 << 20)
_LINE: Final = 64
_LONG: Final = re.compile(rb"[0-9]{19}")
_ALIVE: Final = 32  # pages, where the collector is measured
_TIMES: Final = 20  # through all bodies, there
_PYTHON: Final = gc.get_threshold()
_COMMAND: Final = (50_000, 50, 100)

Step = Callable[[Any], object]


class _Raw(msgspec.Struct):
    findings: list[msgspec.Raw]


def _body(body: bytes) -> bytes:
    return body


def _page(body: bytes) -> object:
    return decode_page(body, account="111122223333", region="us-east-1")


def _safe_page(body: bytes) -> object:
    return _page(body + b"\n")  # unusual, and so not copied


def _lines(body: bytes) -> memoryview:
    return _cut(body)[0]


def _digits(body: bytes) -> list[bytes]:
    return _TIMESTAMP.split(body)[1::2]


def _isoformat(digits: bytes) -> str:
    moment = datetime.fromtimestamp(float(digits), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


#: What is measured: what is made ready for it, unmeasured, from a body, and the step itself.
_STEPS: Final[dict[str, tuple[Step, Step]]] = {
    "page copied": (_body, _page),
    "page decoded, rewritten, dumped": (_body, _safe_page),
    "library: dicts from lines": (
        lambda body: decode_page(body, account="", region="").lines,
        lambda lines: [decode_line(line) for line in lines],
    ),
    "orjson.loads": (_body, orjson.loads),
    "orjson.dumps": (orjson.loads, orjson.dumps),
    "copied: cut into lines": (_body, _cut),
    "cut by msgspec.Raw, the alternative": (_body, msgspec.json.Decoder(_Raw).decode),
    "copied: checked as JSON and looked at": (_lines, _look_at),
    "copied: timestamps found": (_lines, _TIMESTAMP.split),
    "copied: escaped letters looked for": (_body, ESCAPED_LETTER.search),
    "timestamps: all of a page at once, by msgspec": (_digits, _rewritten),
    "timestamps: each, from tables": (_digits, lambda digits: [*map(iso_json, digits)]),
    "timestamps: each, by datetime.isoformat": (_digits, lambda all_: [*map(_isoformat, all_)]),
    "long numbers: by translate": (
        _body,
        lambda body: _LONG_NUMBER in body.translate(_DIGITS_TO_ZERO),
    ),
    "long numbers: by a regular expression": (_body, _LONG.search),
    "UTF-8: checked in pieces": (_body, _check_utf_8),
    "UTF-8: checked as a whole": (_body, bytes.decode),
}


def _bodies() -> list[bytes]:
    findings = make_findings(_PAGES * _FINDINGS)
    pages = [findings[at : at + _FINDINGS] for at in range(0, len(findings), _FINDINGS)]
    head, token = {"requestId": "5a1c9b52-6b1f-4d8a-9a67-0d1f2a3b4c5d"}, "A" * 300
    return [orjson.dumps({**head, "findings": page, "nextToken": token}) for page in pages]


def _measure(name: str, bodies: list[bytes], *, cold: bool) -> float:
    """Return the µs a finding that a step takes, and letting go of what it made."""
    ready, step = _STEPS[name]
    took = 0.0
    for body in bodies:
        subject = ready(bytes(bytearray(body)))  # of a copy, of which nothing is remembered
        if cold:
            _CACHE[::_LINE] = bytes(len(_CACHE) // _LINE)
        began = thread_time()
        step(subject)
        took += thread_time() - began
    return took * 1e6 / (_PAGES * _FINDINGS)


def _collected(step: Step, bodies: list[bytes], *, as_python: bool) -> float:
    """Return the µs a finding of many pages, some of them alive, under a collector's setting."""
    gc.unfreeze()
    gc.collect()
    if not as_python:  # see harvester/commands.py
        gc.freeze()
    gc.set_threshold(*(_PYTHON if as_python else _COMMAND))
    alive = deque[object](maxlen=_ALIVE)
    began = thread_time()
    for body in bodies * _TIMES:
        alive.append(step(body))
    return (thread_time() - began) * 1e6 / (_PAGES * _FINDINGS * _TIMES)


def main() -> None:
    """Measure everything in turns, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.micro", description="See the source.")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="default: %(default)s")
    rounds: int = parser.parse_args().rounds
    bodies, figures = _bodies(), defaultdict[str, list[list[float]]](lambda: [[], []])
    for _ in range(rounds):
        for road, step in {"copied": _page, "decoded": _safe_page}.items():
            for who in ("the command", "Python"):
                took = _collected(step, bodies, as_python=who == "Python")
                figures[f"many pages {road}, collector as {who} sets it"][0].append(took)
        gc.set_threshold(*_COMMAND)
        for name in _STEPS:
            figures[name][0].append(_measure(name, bodies, cold=False))
            figures[name][1].append(_measure(name, bodies, cold=True))
    sys.stdout.write(f"{'µs a finding':52}   warm    cold\n")
    for name, columns in figures.items():
        row = "".join(f"{median(column):8.2f}" for column in columns if column)
        sys.stdout.write(f"{name:51}{row}\n")


if __name__ == "__main__":
    main()
