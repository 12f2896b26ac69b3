"""What passes by itself must not be seen in the output."""

from __future__ import annotations

from collections import Counter

import pytest

from harvester.simulator import Behaviour, Faults, Organization, Simulator
from tests.e2e.support import (
    EVERYTHING,
    ROLE,
    Command,
    assert_same,
    multiset,
    organization,
    roles_assumed,
    truth,
)

# One request at a time, so that a seed strikes the same requests each time.
_SERIAL = ("--page-size", "10", "--split", "none")


def _single(findings: int) -> Organization:
    return organization(accounts=1, suspended=0, findings=findings, regions=("us-east-1",))


async def test_all_faults_together_leave_an_organization_exact(command: Command) -> None:
    one = organization(findings=600, empty_share=0.0, skew=0.3)
    # Three repeated tokens in a row end a chain, and where they fall depends on the tasks' order.
    faults = Faults.everywhere(0.03, slow_seconds=0.05, seed=3, repeated_token=0.01)
    async with Simulator(one, faults=faults) as simulator:
        done = await command.sweep(simulator, *EVERYTHING, "--page-size", "10")
        struck = Counter(record.fault for record in simulator.requests)
        assert struck.total() - struck[None] > 20
    assert done.code == 0, done.err
    assert_same(command.found(), truth(one))
    assert done.summary["status"] == "complete"
    assert done.summary["problems"] == []
    assert done.summary["retries"] > 10
    assert done.summary["throttled"] > 0


@pytest.mark.parametrize("output", ["-", "out.ndjson.zst"])
async def test_a_query_that_starts_over_is_written_once(command: Command, output: str) -> None:
    one = _single(400)
    faults = Faults(refused_token=0.35, seed=2)
    async with Simulator(one, faults=faults) as simulator:
        done = await command.sweep(simulator, *_SERIAL, "--page-size", "20", "-o", output)
        asked = [record for record in simulator.requests if record.service == "imagebuilder"]
        starts = sum("nextToken" not in record.parameters for record in asked)
    assert starts > 1, "it should have started over"
    assert done.code == 0, done.err
    found = multiset(done.lines) if output == "-" else command.found(output)
    assert_same(found, truth(one))
    assert done.summary["findings"] == 400


async def test_full_last_pages_and_empty_pages_end_no_chain(command: Command) -> None:
    one = _single(200)
    behaviour, faults = Behaviour(trailing_page=True), Faults(empty_page=0.5, seed=1)
    async with Simulator(one, behaviour=behaviour, faults=faults) as simulator:
        done = await command.sweep(simulator, "--page-size", "20")
        assert simulator.count(fault="empty_page") > 5
    assert done.code == 0
    assert_same(command.found(), truth(one))


async def test_credentials_that_are_called_expired_are_renewed_once_each(command: Command) -> None:
    one = organization(
        accounts=2, suspended=0, findings=300, regions=("us-east-1",), skew=0.0, empty_share=0.0
    )
    account = one.accounts[1].id
    async with Simulator(one, faults=Faults(expired=0.2, seed=4)) as simulator:
        done = await command.sweep(simulator, "--account", account, *ROLE, *_SERIAL)
        struck, calls = simulator.count(fault="expired"), roles_assumed(simulator)
    assert struck > 2
    assert done.code == 0
    assert_same(command.found(), truth(one, [(account, "us-east-1")]))
    assert calls == {f"arn:aws:iam::{account}:role/Harvester": 1 + struck}


async def test_the_other_services_fail_now_and_then_as_well(command: Command) -> None:
    one = organization(accounts=12, findings=100)
    others = frozenset({"sts", "organizations", "ec2"})
    faults = Faults(throttling=0.1, error_503=0.1, reset=0.1, seed=7, services=others)
    async with Simulator(one, faults=faults) as simulator:
        done = await command.sweep(simulator, *EVERYTHING)
        struck = {record.service for record in simulator.requests if record.fault}
    assert done.code == 0, done.err
    assert_same(command.found(), truth(one))
    assert struck
