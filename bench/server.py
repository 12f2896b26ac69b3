"""The simulator as a process of its own, steered through its stdin; it ends with its parent.

The one argument is JSON: `spec`, `behaviour`, `keep`, `replay` and
`enlarge`. The first line it prints is what a
contestant has to know. Each line that it reads is answered by the counts since the last one.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any, Final

from harvester.simulator import Behaviour, Organization, OrganizationSpec, Simulator

from bench.replay import Replay

_CACHE_BYTES: Final = 1 << 30
_LONGEST_LIFE: Final = 7_200
_SERVICE: Final = "imagebuilder"


def main() -> None:
    """Serve until stdin ends."""
    asyncio.run(asyncio.wait_for(_serve(json.loads(sys.argv[1])), _LONGEST_LIFE))


async def _serve(plan: dict[str, Any]) -> None:
    spec = {**plan["spec"], "regions": tuple(plan["spec"]["regions"])}
    organization = Organization.generate(OrganizationSpec(**spec))
    behaviour = Behaviour(**plan.get("behaviour", {}))
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    simulator = Simulator(
        organization,
        behaviour=behaviour,
        keep_requests=plan.get("keep", False),
        page_cache_bytes=_CACHE_BYTES,
    )
    async with simulator, Replay(simulator.port, plan.get("enlarge", 1)) as replay:
        images = _images(organization) if plan.get("keep") else {}
        where = {"AWS_ENDPOINT_URL": replay.url} if plan.get("replay") else {}
        _say({"environment": simulator.environment() | where, "images": images})
        before = _counts(simulator, replay)
        while await orders.readline():
            now = _counts(simulator, replay)
            _say({name: now[name] - before[name] for name in now} | _span(simulator, before))
            before = now


def _images(organization: Organization) -> dict[str, int]:
    """How many findings each image of the first target has."""
    target = organization.target(*next(organization.places()))
    return Counter(str(target.facets(number).image) for number in range(len(target.findings)))


def _counts(simulator: Simulator, replay: Replay) -> dict[str, float]:
    throttle = simulator.behaviour.throttle_code
    return {
        "requests": simulator.count(service=_SERVICE),
        "throttled": simulator.count(service=_SERVICE, code=throttle),
        "replayed": replay.answered - replay.passed_on,
        "kept": len(simulator.requests),
        "cpu": time.process_time(),
    }


def _span(simulator: Simulator, before: dict[str, float]) -> dict[str, float]:
    """The seconds from the first to the last call, where the calls are kept."""
    new = simulator.requests[int(before["kept"]) :]
    times = [record.time for record in new if record.service == _SERVICE]
    return {"span": max(times) - min(times)} if times else {}


def _say(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
