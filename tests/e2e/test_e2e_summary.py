from __future__ import annotations

import re
import uuid
from collections import Counter

import pytest

from harvester.simulator import Behaviour, Faults, Simulator
from tests.e2e.support import (
    EVERYTHING,
    Command,
    assert_same,
    multiset,
    organization,
    pages_asked,
    truth,
)

_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_KEYS = [
    "run_id",
    "started_at",
    "finished_at",
    "seconds",
    "status",
    "destination",
    "resumed_from",
    "oldest_read_at",
    "findings",
    "by_severity",
    "kept_findings",
    "output_since",
    "pages",
    "requests",
    "throttled",
    "retries",
    "targets",
    "problems",
    "skipped",
    "warnings",
    "version",
]


async def test_the_summary_says_what_happened(command: Command) -> None:
    one = organization(suspended=2, findings=400, skew=0.2)
    denied = one.accounts[1].id
    behaviour, faults = Behaviour(rate=20.0, burst=3), Faults(denied_accounts=frozenset({denied}))
    async with Simulator(one, behaviour=behaviour, faults=faults) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, "--page-size", "10", "-o", "-")
        good = [record for record in pages_asked(simulator) if record.code is None]
        throttled = simulator.count(code="CallRateLimitExceededException")
        asked = len(simulator.requests)
    summary = done.summary
    assert list(summary) == _KEYS
    assert str(uuid.UUID(summary["run_id"])) == summary["run_id"]
    assert _MOMENT.fullmatch(summary["started_at"])
    assert _MOMENT.fullmatch(summary["finished_at"])
    assert summary["started_at"] < summary["finished_at"]
    assert summary["status"] == "partial"
    assert summary["findings"] == len(done.lines)
    assert throttled > 0
    counted = (summary["pages"], summary["requests"], summary["throttled"], summary["retries"])
    assert counted == (len(good), asked, throttled, throttled)
    assert summary["targets"] == {
        "total": 2 * 2 + 1 + 2,
        "complete": 2 * 2,
        "incomplete": 0,
        "failed": 1,
        "skipped": 2,
        "stale": 0,
    }
    assert [one["code"] for one in summary["skipped"]] == ["NotActive"] * 2
    assert {one["message"] for one in summary["skipped"]} == {"the account is SUSPENDED"}
    (problem,) = summary["problems"]
    assert list(problem) == [
        *("account", "account_name", "region", "status", "stage", "code", "message", "hint")
    ]
    assert problem["account_name"] == one.accounts[1].name
    assert sum(summary["by_severity"].values()) == summary["findings"]
    assert (problem["account"], problem["region"]) == (denied, None)
    assert "sts:AssumeRole" in problem["message"]
    swept = [place for place in one.places() if place[0] != denied]
    assert_same(multiset(done.lines), truth(one, swept))


async def test_a_throttled_sweep_is_complete_and_has_no_problems(command: Command) -> None:
    one = organization(findings=300, empty_share=0.0)
    async with Simulator(one, behaviour=Behaviour(rate=10.0, burst=3)) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, "--page-size", "20")
        refused = simulator.count(code="CallRateLimitExceededException")
    assert done.code == 0
    assert (done.summary["status"], done.summary["problems"]) == ("complete", [])
    assert done.summary["throttled"] == refused
    assert_same(command.found(), truth(one))
    assert refused <= len(list(one.places())) * 6, "it should learn to be slower"


async def test_a_capped_rate_is_kept_in_each_account_and_region(command: Command) -> None:
    one = organization(accounts=1, suspended=0, findings=80, skew=0.0, empty_share=0.0)
    # Evenly spaced, but for the first of each query, which wait for the client and go together.
    rate, at_once = 20.0, 4
    async with Simulator(one) as simulator:
        severities = [f"--filter=severity={name}" for name in ("CRITICAL", "HIGH", "MEDIUM", "LOW")]
        done = await command.sweep(
            simulator, "--region", "all", "--page-size", "1", "--max-rate", "20", *severities
        )
        by_region: dict[str, list[float]] = {}
        for record in simulator.requests:
            if record.service == "imagebuilder":
                by_region.setdefault(record.region, []).append(record.time)
    assert done.code == 0
    assert len(by_region) == 2
    for times in by_region.values():
        assert len(times) > 25
        times.sort()
        for first, moment in enumerate(times):
            within = sum(moment <= other < moment + 0.5 for other in times[first:])
            assert within <= rate * 0.5 + 1 + at_once
        spent = times[-1] - times[0]
        assert spent >= (len(times) - 1 - at_once) / rate
        assert spent <= (len(times) - 1) / rate * 1.6 + 0.2, "the cap should be used"
    counts = Counter(len(times) for times in by_region.values())
    # Both at once: each has a pace of its own.
    assert done.summary["seconds"] < sum(counts.elements()) / rate


@pytest.mark.parametrize("size", [1, 37])
async def test_the_page_size_is_asked_for(command: Command, size: int) -> None:
    one = organization(accounts=1, suspended=0, findings=60, regions=("us-east-1",))
    async with Simulator(one) as simulator:
        done = await command.sweep(simulator, "--page-size", str(size), "--split", "none")
        sizes = [record.parameters["maxResults"] for record in pages_asked(simulator)]
    assert done.code == 0
    assert sizes == [size] * -(-60 // size)
    assert_same(command.found(), truth(one))


async def test_a_service_that_grants_less_costs_a_request_and_a_probe_a_region(
    command: Command,
) -> None:
    one = organization(empty_share=0.0, skew=0.0)
    async with Simulator(one, behaviour=Behaviour(page_limit=25)) as simulator:
        done = await command.sweep(simulator, *EVERYTHING)
        refused = Counter(
            record.region for record in pages_asked(simulator) if record.code is not None
        )
        sizes = {record.parameters["maxResults"] for record in pages_asked(simulator)}
    assert done.code == 0
    assert_same(command.found(), truth(one))
    assert sizes == {100, 25}
    assert done.summary["pages"] == sum(
        -(-len(one.findings(*place)) // 25) for place in one.places()
    )
    assert max(refused.values()) <= 2, refused


async def test_where_the_service_grants_100_that_is_asked_for(command: Command) -> None:
    one = organization()
    async with Simulator(one) as simulator:
        done = await command.sweep(simulator, *EVERYTHING)
        assert {record.parameters["maxResults"] for record in pages_asked(simulator)} == {100}
    assert done.summary["pages"] == sum(
        max(1, -(-len(one.findings(*place)) // 100)) for place in one.places()
    )
