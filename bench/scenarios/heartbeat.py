"""How long the library holds up the event loop of the application that uses it."""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from typing import Final

from bench.contestants import HEART, Job
from bench.figures import Figure, Goal, Result, Run
from bench.process import PYTHON, BenchError, lines_in, measure
from bench.rig import Options
from bench.service import Plan, Service

_TIMEOUT: Final = 600.0
_MILLISECONDS: Final = 1000.0
_LARGE: Final = 40
_GOAL: Final = Goal("≤", 50)
_log = logging.getLogger("bench")


def heartbeat(options: Options) -> Result:
    """Dense pages, and pages forty times as large, to a compressed file."""
    plans = {
        "pages of 100 findings": Plan(
            accounts=8, regions=2, findings=options.scaled(100_000), replay=True
        ),
        "pages of 4,000 findings": Plan(
            accounts=4, regions=1, findings=options.scaled(2_000), replay=True, enlarge=_LARGE
        ),
    }
    figures: list[Figure] = []
    runs: dict[str, list[Run]] = {}
    for name, plan in plans.items():
        with Service(plan) as service:
            runs[name] = [_listen(service) for _ in range(options.times(3))]
        for count, what in (("turn", "CPU"), ("gap", "wall time")):
            values = [run.counts[count] * _MILLISECONDS for run in runs[name]]
            label = f"longest turn of the event loop, {what}: {name}"
            figures.append(Figure(label, values, "ms", _GOAL if count == "turn" else None))
    return Result("a heartbeat beside `run_sweep`, on the same event loop", figures, runs)


def _listen(service: Service) -> Run:
    expected = service.plan.findings * service.plan.enlarge
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        heard, output = Path(folder, "heard"), Path(folder, "findings.ndjson")
        job = Job(service.plan.names, output)
        command = [PYTHON, *HEART.arguments(job)]
        taken = measure(command, service.variables, timeout=_TIMEOUT, into=heard)
        counts = json.loads(heard.read_bytes())
        if (lines := lines_in(output)) != expected:
            raise BenchError(f"{HEART.name} wrote {lines} of {expected} findings")
    _log.info("  longest turn: CPU %.3f s, time %.3f s", counts["turn"], counts["gap"])
    return Run(taken, counts)
