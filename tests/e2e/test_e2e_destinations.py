"""Where output may go: parents, options against the config file, plan, demo, closed pipes."""

from __future__ import annotations

import os
import stat

import pytest

from harvester.demo_files import MARKER
from harvester.simulator import Behaviour, Faults, Simulator
from tests.e2e.support import (
    EVERYTHING,
    Command,
    Done,
    assert_same,
    by_two,
    everything_below,
    multiset,
    organization,
    pages_asked,
    truth,
)

SMALL = {"accounts": 1, "suspended": 0, "regions": ("us-east-1",), "findings": 60}
HERE = ("--region", "us-east-1")


async def test_a_missing_parent_is_refused_and_not_made(command: Command) -> None:
    cases = (
        ("-o", "missing/x.ndjson"),
        ("-o", "missing/deep/"),
        ("-o", "out.ndjson", "--summary", "missing/s.json"),
        ("-o", "missing/deep/", "--summary", "missing/deep/s.json"),
        ("-o", "-", "--summary", "missing/s.json"),
        ("-o", "out/", "--summary", "other/s.json"),
    )
    ended: dict[tuple[str, ...], Done] = {}

    async def run(options: tuple[str, ...]) -> None:
        ended[options] = await command(simulator, "sweep", *HERE, *options)

    async with Simulator(organization(**SMALL)) as simulator:
        await by_two(run, cases)
        assert simulator.requests == []
    for options, done in ended.items():
        assert (done.code, done.out) == (5, b""), (options, done.err)
        line, hint = done.err.splitlines()
        assert "there is no directory" in line
        assert "create the directory" in hint
    assert everything_below(command.folder) == set()


async def test_a_directory_named_with_a_slash_is_made_with_all_below_it(command: Command) -> None:
    one = organization(**SMALL)
    async with Simulator(one) as simulator:
        options = ("-o", "out/", "--summary", "out/logs/s.json")
        done = await command(simulator, "sweep", *HERE, *options)
    assert done.code == 0
    assert_same(command.found("out"), truth(one))
    made = {"out", "out/logs"}
    modes = {stat.S_IMODE((command.folder / name).stat().st_mode) for name in made}
    assert modes == {0o700}
    assert (command.folder / "out/logs/s.json").is_file()


_FOR_A_FOLDER = '[output]\npath = "findings/"\ncompression = "zstd"\nsummary = "s.json"\n'


@pytest.mark.parametrize("output", ["-", "x.ndjson", "x.ndjson.gz", "other/"])
async def test_an_option_beats_a_config_that_was_made_for_a_directory(
    command: Command, output: str
) -> None:
    (command.folder / "harvester.toml").write_text(_FOR_A_FOLDER)
    one = organization(**SMALL)
    async with Simulator(one) as simulator:
        done = await command(simulator, "sweep", *HERE, "-o", output)
    assert done.code == 0, done.err
    found = multiset(done.lines) if output == "-" else command.found(output)
    assert_same(found, truth(one))
    assert not (command.folder / "findings").exists()
    if output == "other/":
        assert [*(command.folder / "other").rglob("findings.ndjson.zst")], "still compressed"


async def test_a_contradiction_within_one_file_is_still_refused(command: Command) -> None:
    toml = '[output]\npath = "x.ndjson"\ncompression = "zstd"\n'
    (command.folder / "harvester.toml").write_text(toml)
    done = await command(None, "sweep", *HERE)
    assert done.code == 2
    assert done.err.startswith("harvester: harvester.toml:3: output.compression: 'zstd' is for a")


@pytest.mark.parametrize(
    "options",
    [
        ("-o", "x.ndjson"),
        ("-o", "x/"),
        ("--summary", "s.json"),
        ("--summary", "-"),
        ("--on-partial", "drop"),
    ],
)
async def test_a_plan_refuses_options_for_output(
    command: Command, options: tuple[str, ...]
) -> None:
    done = await command(None, "plan", *HERE, *options)
    assert (done.code, done.out) == (2, b"")
    (line,) = done.err.splitlines()
    assert "is for sweep" in line
    assert everything_below(command.folder) == set()


async def test_a_plan_uses_no_output_of_the_config_file_and_names_that_file(
    command: Command,
) -> None:
    toml = '[output]\npath = "$NOWHERE/x.ndjson"\ncompression = "zstd"\nsummary = "no/s.json"\n'
    (command.folder / "harvester.toml").write_text(toml)
    async with Simulator(organization(**SMALL)) as simulator:
        for options in ((), ("-o", "-")):
            done = await command(simulator, "plan", *HERE, *options)
            assert done.code == 0, done.err
            assert [line["region"] for line in done.lines] == ["us-east-1"]
            assert "harvester.toml" in done.err.splitlines()[0]
        assert pages_asked(simulator) == []
    assert everything_below(command.folder) == {"harvester.toml"}


async def test_the_help_of_plan_names_no_option_for_output(command: Command) -> None:
    done = await command(None, "plan", "--help")
    assert b"\n  --region NAME " in done.out
    assert b"\n  -o, --output" not in done.out
    assert b"\n  --summary" not in done.out


async def test_a_plan_ends_at_its_deadline(command: Command) -> None:
    one = organization(**SMALL)
    faults = Faults(hung_operations=frozenset({"GetCallerIdentity"}))
    async with Simulator(one, faults=faults) as simulator:
        done = await command(simulator, "plan", *HERE, "--deadline", "0.5s")
    assert (done.code, done.out) == (3, b"")
    assert "stopped by the deadline of 0.5s" in done.err
    assert done.seconds < 15


async def test_the_config_file_is_named_at_the_start_of_a_sweep(command: Command) -> None:
    (command.folder / "harvester.toml").write_text("[limits]\nmax_rate = 50.0\n")
    async with Simulator(organization(**SMALL)) as simulator:
        done = await command.sweep(simulator, *HERE)
    assert done.code == 0
    assert "harvester.toml" in done.err.splitlines()[0]


async def test_a_config_file_that_others_may_write_is_2_unless_it_is_named(
    command: Command,
) -> None:
    path = command.folder / "harvester.toml"
    path.write_text("[limits]\nmax_rate = 50.0\n")
    path.chmod(0o666)
    async with Simulator(organization(**SMALL)) as simulator:
        refused = await command.sweep(simulator, *HERE)
        assert simulator.requests == []
        named = await command.sweep(simulator, *HERE, "-c", "harvester.toml")
    assert (refused.code, refused.out, named.code) == (2, b"", 0)
    (line,) = refused.err.splitlines()
    assert "writable by other users" in line
    assert "-c harvester.toml" in line


async def test_paths_of_options_are_expanded(command: Command) -> None:
    command.home.mkdir()
    one = organization(**SMALL)
    (command.folder / "conf.toml").write_text("[findings]\npage_size = 7\n")
    async with Simulator(one) as simulator:
        options = ("--config=$CONF", "--output=~/x.ndjson", "--summary=${WHERE}/s.json")
        env = {"CONF": "conf.toml", "WHERE": str(command.home)}
        done = await command(simulator, "sweep", *HERE, *options, env=env)
        assert {record.parameters["maxResults"] for record in pages_asked(simulator)} == {7}
    assert done.code == 0, done.err
    assert everything_below(command.home) >= {"x.ndjson", "s.json"}
    assert_same(command.found("../" + command.home.name + "/x.ndjson"), truth(one))


async def test_a_demo_replaces_nothing_of_the_user(command: Command) -> None:
    cases = {
        "findings.ndjson": "findings.ndjson",
        "new.ndjson": "summary.json",
        "unfinished.ndjson": ".unfinished.ndjson.harvester/spool",
        "odd.ndjson": "odd.ndjson.damaged/x.body",
        "folder": "folder/mine",
        "harvester-demo/findings.ndjson": "harvester-demo/summary.json",
    }
    for output, mine in cases.items():
        place = command.place(output.replace("/", "-").replace(".ndjson", ""))
        path = place.folder / mine
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
        before = everything_below(place.folder)
        done = await place(None, "demo", "-o", output)
        assert (done.code, done.out) == (2, b""), (output, done.err)
        (line,) = done.err.splitlines()
        assert "which no demo made" in line
        assert everything_below(place.folder) == before


async def test_a_demo_makes_no_deep_directories(command: Command) -> None:
    done = await command(None, "demo", "-o", "a/b/x.ndjson")
    assert done.code == 5
    assert "there is no directory" in done.err
    wrong = await command(None, "demo", "-o", "new/x.csv")
    assert wrong.code == 2
    assert wrong.err.startswith("harvester: --output: 'new/x.csv'")
    assert everything_below(command.folder) == set()


def test_the_marker_of_a_demo_is_hidden() -> None:
    assert MARKER.startswith(".")


async def _into_a_closed_pipe(command: Command, simulator: Simulator | None, *words: str) -> Done:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return await command(simulator, *words, stdout=writing)
    finally:
        os.close(writing)


async def test_a_reader_of_stdout_that_goes_away_is_a_quiet_141(command: Command) -> None:
    cases = (
        ("sweep", *EVERYTHING, "-q"),
        ("plan", *EVERYTHING, "-q"),
        ("simulate", "--accounts", "1", "--findings", "1"),
        ("--help",),
        ("sweep", "--help"),
        ("--version",),
    )
    ended: dict[tuple[str, ...], Done] = {}

    async def run(words: tuple[str, ...]) -> None:
        ended[words] = await _into_a_closed_pipe(command, simulator, *words)

    async with Simulator(organization()) as simulator:
        await by_two(run, cases)
    assert {words: (done.code, done.err) for words, done in ended.items()} == dict.fromkeys(
        cases, (141, "")
    )


async def test_a_sweep_into_a_closed_pipe_logs_its_beginning_alone(command: Command) -> None:
    async with Simulator(organization()) as simulator:
        done = await _into_a_closed_pipe(command, simulator, "sweep", *EVERYTHING)
    assert done.code == 141
    (line,) = done.err.splitlines()
    assert " info " in line


@pytest.mark.parametrize("words", [("--version",), ("sweep", "--help")])
async def test_a_full_disk_behind_help_is_5_in_one_line(
    command: Command, words: tuple[str, ...]
) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        done = await command(None, *words, stdout=full)
    finally:
        os.close(full)
    assert done.code == 5
    (line,) = done.err.splitlines()
    assert "standard output cannot be written" in line


async def test_a_misspelt_mode_of_progress_is_2_with_the_right_one(command: Command) -> None:
    for name in ("sweep", "demo"):
        done = await command(None, name, "--progress", "ON")
        assert done.code == 2
        assert done.err == (
            "harvester: --progress: 'ON' is not one of on, off, auto; did you mean on?\n"
        )


async def test_an_error_that_comes_late_names_the_option_or_the_line(command: Command) -> None:
    (command.folder / "p.toml").write_text('[aws]\n\nprofile = "nowhere"\n')
    for name in ("sweep", "plan"):
        option = await command(None, name, *HERE, "--profile", "nowhere")
        key = await command(None, name, *HERE, "-c", "p.toml")
        assert (option.code, key.code) == (2, 2)
        assert option.err.splitlines()[-1].startswith("harvester: --profile: ")
        assert "harvester: p.toml:3: aws.profile: " in key.err


async def test_an_unfinished_sweep_with_another_selection_names_the_option(
    command: Command,
) -> None:
    one = organization(**SMALL)

    async with Simulator(one, behaviour=Behaviour(latency=0.1)) as simulator:
        options = (*HERE, "-o", "x.ndjson", "--page-size", "1")
        await command(simulator, "sweep", *options, "--deadline", "2s")
        done = await command(simulator, "sweep", *options, "--filter", "severity=HIGH")
    assert done.code == 2
    assert "harvester: --filter: the unfinished sweep of this output" in done.err
