"""Findings that are odd and can be understood are written, whatever is in them."""

from __future__ import annotations

import json

import pytest

from harvester.simulator import Simulator
from tests.e2e.strangers import answering
from tests.e2e.support import Command, organization

_ODD = [
    r'{"title":"lone \ud800 and \udc00 surrogates","severity":"HIGH"}',
    r'{"title":"not a number","inspectorScore":NaN,"updatedAt":Infinity}',
    r'{"title":"huge numbers","inspectorScore":1e400,"big":123456789012345678901234567890}',
    r'{"title":"a huge time","firstObservedAt":1e20,"updatedAt":-99999999999999}',
    '{"title":"deep","nest":' + "[" * 200 + "]" * 200 + "}",
    '{"title":"' + "long" * 1_000_000 + '"}',
    r'{"title":"new fields","aFieldOfTomorrow":{"with":["more"]},"severity":"HIGH"}',
    r'{"title":"types of tomorrow","severity":["HIGH"],"packageVulnerabilityDetails":7}',
    r'{"title":"controls \u0000 \u001b \u2028 and \n"}',
    "{}",
]


def _expected() -> list[dict[str, object]]:
    found = [
        json.loads(text, parse_constant=str, parse_float=lambda x: x if "400" in x else float(x))
        for text in _ODD
    ]
    for one in found:
        for name in ("firstObservedAt", "updatedAt"):
            one.pop(name, None)  # what becomes of a time that is none: see test_timestamps.py
    return found


@pytest.mark.parametrize("output", ["-", "out.ndjson"])
async def test_odd_findings_are_written_as_they_are(command: Command, output: str) -> None:
    first = '{"findings":[' + ",".join(_ODD[:5]) + '],"nextToken":"1"}'
    second = '{"anotherField":1,"findings":[' + ",".join(_ODD[5:]) + "]}"
    async with (
        Simulator(organization(accounts=1, suspended=0)) as simulator,
        answering(first.encode(), second.encode()) as builder,
    ):
        env = {"AWS_ENDPOINT_URL_IMAGEBUILDER": builder}
        done = await command.sweep(simulator, "-o", output, env=env)
    assert done.code == 0, done.err
    data = done.out if output == "-" else (command.folder / output).read_bytes()
    lines = data.decode().split("\n")
    assert lines.pop() == ""
    found = [json.loads(line) for line in lines]
    for one in found:
        one.pop("firstObservedAt", None)
        one.pop("updatedAt", None)
    assert found == _expected()
    assert done.summary["findings"] == len(_ODD)
