"""Time: under a throttle of unknown rate, against one long chain, and on a second core."""

from __future__ import annotations

import logging
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from bench.contestants import HARVESTER
from bench.figures import Figure, Goal, Result, Run, ratios, wall
from bench.process import PYTHON, measure
from bench.rig import Options, take_turn
from bench.service import Plan, Service

_TIMEOUT: Final = 900.0
_PAGE: Final = 25
#: Refill a second, burst, latency in seconds, and how many pages there are to read: some forty
#: seconds' worth each, since what is lost in finding out the rate is lost once.
_BUCKETS: Final = (
    (2, 10, 0.05, 120),
    (2, 100, 0.2, 200),
    (5, 20, 0.1, 220),
    (10, 10, 0.2, 410),
    (20, 100, 0.1, 900),
    (50, 100, 0.2, 2_100),
    (100, 10, 0.1, 4_000),
    (100, 50, 0.1, 4_000),
    (100, 100, 0.05, 4_000),
)
#: The same where the burst is small; read twice, since the burst is remembered.
_SMALL_BUCKETS: Final = (
    (2, 1, 0.05, 160),
    (2, 3, 0.05, 160),
    (2, 5, 0.2, 160),
    (5, 2, 0.1, 220),
    (10, 4, 0.1, 410),
)
_NIGHTS: Final = ("first night", "second night")
_MANY: Final = ("--split", "none")
_LOOP: Final = """
import orjson
text = orjson.dumps([{"title": "x" * 50, "number": number} for number in range(20_000)])
for _ in range(300):
    orjson.dumps(orjson.loads(text))
"""
_log = logging.getLogger("bench")


def throttled(options: Options) -> Result:
    """One target behind a bucket whose rate the sweep does not know, in real time."""
    runs: dict[str, list[Run]] = {}
    useful: list[Figure] = []
    lengths: list[Figure] = []
    for refill, burst, latency, pages in _BUCKETS:
        name = f"refill {refill}/s, burst {burst}, latency {1000 * latency:.0f} ms"
        shares, times = [], []
        for _ in range(options.times(2)):
            behaviour = {"rate": refill, "burst": burst, "latency": latency}
            ((run, ideal),) = _behind_bucket(behaviour, options.scaled(pages))
            counts = run.counts
            shares.append(100 * (1 - counts["throttled"] / counts["requests"]))
            times.append((counts["span"] + latency) / ideal)
            runs.setdefault(name, []).append(run)
        useful.append(Figure(f"calls that were useful: {name}", shares, "%", Goal("≥", 95)))
        lengths.append(Figure(f"time over the ideal: {name}", times, goal=Goal("≤", 1.15)))
    what = (
        "one target behind a token bucket, 22 queries; the ideal spends the burst at once, and "
        "then each token as it comes"
    )
    return Result(what, [*useful, *lengths], runs)


def small_buckets(options: Options) -> Result:
    """One target behind a bucket of a small burst, read by two sweeps one after the other."""
    runs: dict[str, list[Run]] = {}
    useful: dict[str, list[float]] = {}
    lengths: dict[str, list[float]] = {}
    for refill, burst, latency, pages in _SMALL_BUCKETS:
        behaviour = {"rate": refill, "burst": burst, "latency": latency}
        for _ in range(options.times(1)):
            nights = _behind_bucket(behaviour, options.scaled(pages), nights=len(_NIGHTS))
            for night, (run, ideal) in zip(_NIGHTS, nights, strict=True):
                name = f"refill {refill}/s, burst {burst}, {1000 * latency:.0f} ms, {night}"
                counts = run.counts
                share = 100 * (1 - counts["throttled"] / counts["requests"])
                useful.setdefault(name, []).append(share)
                lengths.setdefault(name, []).append((counts["span"] + latency) / ideal)
                runs.setdefault(name, []).append(run)
    return Result(
        "one target behind a token bucket of a small burst, 22 queries, read twice with one cache",
        [
            *(
                Figure(f"calls that were useful: {name}", shares, "%", Goal("≥", 95))
                for name, shares in useful.items()
            ),
            *(
                Figure(f"time over the ideal: {name}", times, goal=Goal("≤", 1.2))
                for name, times in lengths.items()
            ),
        ],
        runs,
    )


def _behind_bucket(
    behaviour: dict[str, float], pages: int, nights: int = 1
) -> list[tuple[Run, float]]:
    """Sweep, and return how long an all-knowing sweep of the same calls would have taken.

    The time is that of the calls to Image Builder alone: starting up is no part of it, and nothing
    is listed. The buckets of earlier runs are kept in a cache. It is empty on the first night.
    """
    refill, burst, latency = behaviour.values()
    # The target of seed 0 has 22 images of like size. Each is a query, since one chain alone
    # would be slower than the bucket.
    plan = Plan(accounts=1, findings=pages * _PAGE, behaviour=behaviour, keep=True)
    with Service(plan) as service, tempfile.TemporaryDirectory(prefix="bench-") as cache:
        service.variables["XDG_CACHE_HOME"] = cache
        filters = [
            word for arn in service.images for word in ("--filter", f"imageBuildVersionArn={arn}")
        ]
        more = ["--page-size", str(_PAGE), *filters]
        longest = -(-max(service.images.values()) // _PAGE)
        taken = []
        for _ in range(nights):
            _log.info(" %s", behaviour)
            run = take_turn(HARVESTER, service, timeout=_TIMEOUT, more=more)
            granted = run.counts["requests"] - run.counts["throttled"]
            taken.append((run, max((granted - burst) / refill + latency, longest * latency)))
            time.sleep(burst / refill)  # the next night begins with a full bucket
    return taken


def one_large(options: Options) -> Result:
    """One target, unthrottled, far from here: cut in pieces against read in one chain."""
    findings = options.scaled(60_000)
    behaviour = {"latency": 0.12}
    runs: dict[str, list[Run]] = {"auto": [], "none": []}
    with Service(Plan(accounts=1, findings=findings, behaviour=behaviour)) as service:
        for _ in range(options.times(2)):
            for mode, taken in runs.items():
                _log.info(" --split %s", mode)
                run = take_turn(HARVESTER, service, timeout=_TIMEOUT, more=["--split", mode])
                taken.append(run)
    return Result(
        f"{findings:,} findings in one target, 120 ms a call",
        [
            Figure(
                "time of one large target: --split none ÷ --split auto",
                ratios(runs["none"], runs["auto"], wall),
                goal=Goal("≥", 5),
            )
        ],
        runs,
    )


def _granted() -> float:
    """How much faster two busy processes are at once than one after the other."""
    command = [PYTHON, "-c", _LOOP]
    alone = measure(command, {}, timeout=_TIMEOUT).wall
    with ThreadPoolExecutor(2) as pool:
        both = pool.map(lambda _: measure(command, {}, timeout=_TIMEOUT).wall, range(2))
        return 2 * alone / max(both)


def processes(options: Options) -> Result:
    """Two processes against one, where the CPU is what limits."""
    findings = options.scaled(400_000)
    runs: dict[str, list[Run]] = {"1": [], "2": []}
    granted: list[float] = []
    # In one chain: a cut depends on the pace, and so would what can be answered from memory.
    with Service(Plan(accounts=8, regions=4, findings=findings, replay=True)) as service:
        # First so that it knows the answers.
        take_turn(HARVESTER, service, timeout=_TIMEOUT, more=_MANY, to="redirected")
        for _ in range(options.times(3)):
            granted.append(_granted())
            for count, taken in runs.items():
                more = [*_MANY, "--processes", count]
                taken.append(
                    take_turn(HARVESTER, service, timeout=_TIMEOUT, more=more, to="redirected")
                )
    one, two = runs["1"], runs["2"]
    served = [run.counts["cpu"] for run in two]
    return Result(
        f"{findings:,} findings in 32 targets, latency 0, to stdout, which is a file (so that no "
        "disk is waited for), from a server that gives the "
        "simulator's answers again from memory and runs on the same cores: its share is given",
        [
            Figure(
                "time: one process ÷ two processes", ratios(one, two, wall), goal=Goal("≥", 1.7)
            ),
            Figure(
                "what the machine grants: two processes that share nothing, one after the other ÷ "
                "at once",
                granted,
            ),
            Figure("CPU: two processes ÷ one process", ratios(two, one)),
            Figure(
                "the server's share of all CPU while two processes sweep",
                [100 * cpu / (cpu + run.measure.cpu) for cpu, run in zip(served, two, strict=True)],
                "%",
            ),
            Figure(
                "cores that were busy while two processes swept, the server included",
                [(cpu + run.measure.cpu) / wall(run) for cpu, run in zip(served, two, strict=True)],
                "",
            ),
        ],
        runs,
    )
