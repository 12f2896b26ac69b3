"""plan, simulate, demo, the config file, and what is printed about the command itself."""

from __future__ import annotations

import asyncio
import shlex
import signal

import orjson
import pytest

from harvester.simulator import Faults, Simulator
from tests.e2e.support import (
    EVERYTHING,
    Command,
    Done,
    assert_same,
    multiset,
    organization,
    pages_asked,
    stop,
    truth,
)


async def test_a_plan_names_every_query_and_reads_no_finding(command: Command) -> None:
    one = organization()
    other = next(account.id for account in one.accounts[1:] if account.status == "ACTIVE")
    async with Simulator(one, faults=Faults(denied_accounts=frozenset({other}))) as simulator:
        options = (*EVERYTHING, "--pipeline", "*", "--filter", "severity=HIGH")
        done = await command(simulator, "plan", *options)
        assert pages_asked(simulator) == []
    assert done.code == 3
    assert other in done.err
    assert list(command.folder.iterdir()) == []
    planned = {(line["account"], line["region"]): line["queries"] for line in done.lines}
    assert set(planned) == {place for place in one.places() if place[0] != other}
    for place, queries in planned.items():
        assert [query["filters"] for query in queries] == [
            [{"name": "imagePipelineArn", "values": [pipeline.arn]}]
            for pipeline in one.target(*place).pipelines
        ]
        assert all(query["conditions"] == {"severity": ["HIGH"]} for query in queries)


async def test_a_plan_without_filters_is_one_query_a_target(command: Command) -> None:
    one = organization(accounts=1, suspended=0)
    async with Simulator(one) as simulator:
        done = await command(simulator, "plan", "--region", "all")
    assert done.code == 0
    assert [line["region"] for line in done.lines] == sorted(one.regions)
    assert all(line["queries"] == [{"filters": [], "conditions": {}}] for line in done.lines)


async def _swept(command: Command, exports: bytes) -> Done:
    words = [shlex.split(line) for line in exports.decode().splitlines()]
    assert words
    assert {word[0] for word in words} == {"export"}
    env = dict(word[1].split("=", 1) for word in words)
    return await command(None, "sweep", *EVERYTHING, env=env)


async def test_a_simulated_organization_can_be_swept_and_is_stopped_by_a_signal(
    command: Command,
) -> None:
    options = ("--accounts", "3", "--findings", "90", "--seed", "4", "--region", "eu-north-1")
    faults = ("--page-limit", "25", "--fault", "error_503=0.1", "--external-id", "let-me-in")
    async with command.start(None, "simulate", *options, *faults) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        head = await asyncio.wait_for(process.stderr.readline(), 20)
        assert b"3 accounts" in head
        lines = [await process.stdout.readline() for _ in range(7)]
        refused = await _swept(command, b"".join(lines))
        toml = '[accounts]\nexternal_id = "let-me-in"\n'
        (command.folder / "harvester.toml").write_text(toml)
        done = await _swept(command, b"".join(lines))
        ended = await command.finish(process, stop(process, signal.SIGTERM))
    one = organization(accounts=3, suspended=0, findings=90, seed=4, regions=("eu-north-1",))
    assert refused.code == 3
    assert done.code == 0, done.err
    assert_same(multiset(done.lines), truth(one))
    assert (ended.code, ended.out) == (0, b"")
    assert ended.seconds < 3


async def test_a_simulation_has_dark_places_odd_counts_and_last_tokens(command: Command) -> None:
    options = (
        *("--accounts", "2", "--findings", "60", "--seed", "4", "--empty-share", "0"),
        *("--region", "eu-north-1", "--region", "eu-west-1", "--rate", "0.5", "--burst", "4"),
        *("--dark", "throttle=eu-west-1", "--dark", "slow=sts:eu-north-1"),
        *("--dark-seconds", "0.2", "--last-token", "empty", "--odd-first-answer", "*"),
        *("--count-offset", "7", "--count-offset", "eu-west-1=-2", "--count-lag", "1"),
    )
    async with command.start(None, "simulate", *options) as process:
        assert process.stdout is not None
        lines = [await process.stdout.readline() for _ in range(7)]
        words = [shlex.split(line) for line in b"".join(lines).decode().splitlines()]
        env = dict(word[1].split("=", 1) for word in words)
        limited = ("--region", "eu-west-1", "--deadline", "2s", "--summary", "summary.json")
        throttled = await command(None, "sweep", *limited, env=env)
        stop(process, signal.SIGTERM)
    assert throttled.code == 3
    assert throttled.summary["throttled"] >= 1
    assert throttled.summary["findings"] == 0


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--dark", "hang", "'hang' is not KIND=[SERVICE:]PLACE"),
        ("--dark", "dim=eu-west-1", "unknown kind 'dim'; known: error, hang"),
        ("--dark", "hang=s3:eu-west-1", "unknown service 's3'; known: imagebuilder"),
        ("--count-offset", "eu-west-1=some", "'eu-west-1=some' is not [PLACE=]N"),
        ("--last-token", "none", "unknown last token 'none'; known: absent, empty, null"),
        ("--burst", "0", "a burst must be 1 or more, not 0"),
    ],
)
async def test_a_simulation_refuses_options_without_a_meaning(
    command: Command, option: str, value: str, said: str
) -> None:
    done = await command(None, "simulate", option, value)
    assert done.code == 2
    assert said in done.err


async def test_a_simulation_can_be_for_a_time(command: Command) -> None:
    done = await command(None, "simulate", "--accounts", "1", "--findings", "1", "--for", "1s")
    assert done.code == 0
    assert b"export AWS_ENDPOINT_URL=http://127.0.0.1:" in done.out
    assert done.seconds >= 1.0


_TOML = """
[accounts]
organization = true
role_name = "Harvester"
[regions]
include = ["all"]
[findings]
page_size = 9
[findings.filters]
severity = ["HIGH"]
[output]
path = "from-config.ndjson"
[log]
format = "json"
"""


async def test_a_config_file_is_read_by_itself_and_every_line_is_json(command: Command) -> None:
    (command.folder / "harvester.toml").write_text(_TOML)
    one = organization()
    async with Simulator(one) as simulator:
        done = await command(simulator, "sweep")
        assert {record.parameters["maxResults"] for record in pages_asked(simulator)} == {9}
    assert (done.code, done.out) == (0, b"")
    wanted = multiset(each for each in one.expected() if each["severity"] == "HIGH")
    assert wanted
    assert_same(command.found("from-config.ndjson"), wanted)
    assert all(isinstance(orjson.loads(line), dict) for line in done.err.splitlines())


async def test_an_option_beats_its_key_and_a_named_file_the_one_that_lies_there(
    command: Command,
) -> None:
    (command.folder / "harvester.toml").write_text("[bogus]\n")
    (command.folder / "other.toml").write_text(_TOML)
    one = organization()
    async with Simulator(one) as simulator:
        done = await command(
            simulator, "sweep", "-c", "other.toml", "-o", "out.ndjson", "--page-size", "11",
            "--filter", "severity=LOW", "--region", "us-east-1", "--account", one.management,
            "--log-format", "text",
        )  # fmt: skip
        assert {record.parameters["maxResults"] for record in pages_asked(simulator)} == {11}
        assert simulator.count(service="organizations") == 0
    assert done.code == 0
    own = one.expected(one.management, "us-east-1")
    assert_same(command.found(), multiset(each for each in own if each["severity"] == "LOW"))
    assert not done.err.startswith("{")
    assert not (command.folder / "from-config.ndjson").exists()


async def test_quiet_says_nothing_where_all_is_well(command: Command) -> None:
    async with Simulator(organization(accounts=1, suspended=0)) as simulator:
        done = await command.sweep(simulator, "-q")
    assert (done.code, done.out, done.err) == (0, b"", "")


async def test_the_endpoint_can_be_an_option(command: Command) -> None:
    one = organization(accounts=1, suspended=0, regions=("us-east-1",), findings=30)
    async with Simulator(one) as simulator:
        dead = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
        done = await command.sweep(simulator, "--endpoint-url", simulator.url, env=dead)
    assert done.code == 0
    assert_same(command.found(), truth(one))


@pytest.mark.parametrize("options", [("--help",), ("sweep", "--help"), ("--version",)])
async def test_help_and_version_are_on_stdout(command: Command, options: tuple[str, ...]) -> None:
    done = await command(None, *options)
    assert (done.code, done.err) == (0, "")
    assert b"harvester" in done.out


async def test_no_command_is_a_usage_error(command: Command) -> None:
    done = await command(None)
    assert (done.code, done.out) == (2, b"")
    assert "sweep" in done.err
