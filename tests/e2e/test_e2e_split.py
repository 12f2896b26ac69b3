"""However a large target is cut, each of its findings comes once."""

from __future__ import annotations

import pytest

from harvester.simulator import Behaviour, Organization, Simulator
from tests.e2e.support import (
    Command,
    assert_same,
    by_two,
    multiset,
    organization,
    pages_asked,
    truth,
)

_MODES = ("auto", "none", "severity", "pipeline", "image")


def _large(*, odd: str | None) -> Organization:
    """A large target, some of it outside any pipeline; with `odd` as the severity of some."""
    one = organization(
        accounts=1, suspended=0, findings=900, regions=("us-east-1",), without_pipeline=0.1
    )
    if odd is None:
        return one
    findings = one.all_findings()
    for finding in findings[::7]:
        finding["severity"] = odd
    for finding in findings[3::97]:
        del finding["severity"]
    return one.with_findings(one.management, "us-east-1", findings)


@pytest.mark.parametrize("odd", [None, "APOCALYPTIC"])
async def test_each_way_to_cut_gives_each_finding_once(command: Command, odd: str | None) -> None:
    one = _large(odd=odd)
    wanted = truth(one)

    async def run(mode: str) -> None:
        place, to_stdout = command.place(mode), mode in ("auto", "pipeline")
        async with Simulator(one, behaviour=Behaviour(latency=0.01)) as simulator:
            done = await place.sweep(
                simulator, "--split", mode, "--page-size", "15", *(("-o", "-") if to_stdout else ())
            )
            asked = [record.parameters for record in pages_asked(simulator)]
        assert done.code == 0, (mode, done.err)
        assert_same(multiset(done.lines) if to_stdout else place.found(), wanted)
        assert done.summary["findings"] == 900, mode
        assert done.summary["targets"]["complete"] == 1
        assert all(len(each.get("filters", ())) <= 1 for each in asked), mode
        cut = any("filters" in each for each in asked)
        assert mode != "none" or not cut
        assert mode != "severity" or odd or cut

    await by_two(run, _MODES)


async def test_a_cut_target_still_keeps_to_its_filters(command: Command) -> None:
    one = _large(odd=None)
    async with Simulator(one) as simulator:
        done = await command.sweep(
            simulator, "--split", "image", "--page-size", "15", "--filter", "severity=MEDIUM"
        )
    assert done.code == 0
    wanted = [finding for finding in one.expected() if finding["severity"] == "MEDIUM"]
    assert_same(command.found(), multiset(wanted))


async def test_the_order_is_the_same_whatever_the_pace_was(command: Command) -> None:
    one = organization(
        accounts=1, suspended=0, findings=750, regions=("us-east-1",), without_pipeline=0
    )
    files: dict[str, bytes] = {}

    async def run(pace: str) -> None:
        place = command.place(pace)
        behaviour = Behaviour() if pace == "free" else Behaviour(rate=10, burst=1)
        async with Simulator(one, behaviour=behaviour) as simulator:
            done = await place.sweep(simulator, "--page-size", "15")
            assert any("filters" in each.parameters for each in pages_asked(simulator)), pace
        assert done.code == 0, done.err
        assert (done.summary["throttled"] > 0) is (pace == "throttled")
        files[pace] = (place.folder / "out.ndjson").read_bytes()

    await by_two(run, ("free", "throttled"))
    assert files["free"] == files["throttled"]
