from __future__ import annotations

import stat
from pathlib import Path

import orjson

from harvester.simulator import Organization, Simulator, Target, make_findings
from tests.e2e.support import (
    EVERYTHING,
    Command,
    assert_same,
    by_two,
    everything_below,
    held,
    multiset,
    organization,
    truth,
)

_ZSTD = '[output]\ncompression = "zstd"\n'


def _modes(folder: Path, names: set[str]) -> set[int]:
    return {stat.S_IMODE((folder / name).stat().st_mode) for name in names}


async def test_stdout_carries_every_finding_once_and_nothing_else(command: Command) -> None:
    async with Simulator(organization()) as simulator:
        done = await command(simulator, "sweep", *EVERYTHING, "--page-size", "20")
    assert done.code == 0
    assert done.out.endswith(b"}\n")
    assert all(line.startswith(b"{") for line in done.out.splitlines())
    assert_same(multiset(done.lines), truth(organization()))
    assert "complete: 1,000 findings" in done.err
    assert everything_below(command.folder) == set()


async def test_stdout_in_a_file_is_as_pure(command: Command) -> None:
    with (command.folder / "redirected").open("wb") as stream:
        async with Simulator(organization()) as simulator:
            done = await command(simulator, "sweep", *EVERYTHING, stdout=stream.fileno())
    assert done.code == 0
    assert_same(command.found("redirected"), truth(organization()))


async def test_a_file_holds_every_finding_once_and_is_private(command: Command) -> None:
    async with Simulator(organization()) as simulator:

        async def run(name: str) -> None:
            place = command.place(name.replace("/", "-"))
            done = await place.sweep(simulator, *EVERYTHING, "-o", name, umask=0)
            assert (done.code, done.out) == (0, b"")
            assert done.err
            assert_same(place.found(name), truth(organization()))
            assert everything_below(place.folder) == {name, "summary.json"}
            assert _modes(place.folder, {name, "summary.json"}) == {0o600}

        await by_two(run, ("out.ndjson", "out.ndjson.gz", "out.ndjson.zst"))


async def test_a_folder_is_partitioned_and_private(command: Command) -> None:
    one = organization()
    holding = [place for place in one.places() if held(one, *place)]
    assert 0 < len(holding) < len(list(one.places())), "some targets should be empty"
    names = [f"account={account}/region={name}/findings.ndjson" for account, name in holding]
    async with Simulator(one) as simulator:

        async def run(case: tuple[str, str]) -> None:
            output, config = case
            place = command.place(f"{len(config)}{output[:-1]}")
            there = place.folder / "there"
            there.mkdir(mode=0o755)
            (there / "notes.txt").write_text("mine")
            (place.folder / "harvester.toml").write_text(config)
            done = await place.sweep(simulator, *EVERYTHING, "-o", output, umask=0)
            assert done.code == 0
            assert_same(place.found(output), truth(one))
            files = {f"{name}.zst" if config else name for name in names}
            kept = {"notes.txt"} if output == "there" else set()
            folders = {str(parent) for name in files for parent in Path(name).parents} - {"."}
            folder = place.folder / output
            assert everything_below(folder) == files | folders | kept
            assert _modes(folder, files) == {0o600}
            assert _modes(folder, folders) == {0o700}
            assert _modes(folder, {"."}) == {0o755 if kept else 0o700}
            assert (there / "notes.txt").read_text() == "mine"

        await by_two(run, [("out/", ""), ("out/", _ZSTD), ("there", "")])


async def test_a_rerun_replaces_the_output_whole(command: Command) -> None:
    first = organization()
    places = [place for place in first.places() if held(first, *place)]
    gone, changed = places[0], places[1]
    image = held(first, *changed)[0]["imageBuildVersionArn"]
    stand_in = [
        {**finding, "awsAccountId": changed[0], "imageBuildVersionArn": image}
        for finding in make_findings(60, account=changed[0], region=changed[1], seed=99)
    ]
    second = first.with_target(*gone, Target()).with_findings(*changed, stand_in)
    for one in (first, second):
        async with Simulator(one) as simulator:

            async def run(
                output: str, one: Organization = one, simulator: Simulator = simulator
            ) -> None:
                done = await command(simulator, "sweep", *EVERYTHING, "-o", output)
                assert done.code == 0
                assert_same(command.found(output), truth(one))

            await by_two(run, ("out.ndjson.gz", "out/"))
    partition = f"out/account={gone[0]}/region={gone[1]}/findings.ndjson"
    assert partition not in everything_below(command.folder)


async def test_the_same_findings_make_the_same_bytes(command: Command) -> None:
    async with Simulator(organization()) as simulator:

        async def run(width: str) -> None:
            options = ("-o", f"{width}.ndjson.gz", "--max-concurrency", width)
            assert (await command(simulator, "sweep", *EVERYTHING, *options)).code == 0

        await by_two(run, ("64", "2"))
    first, second = ((command.folder / f"{width}.ndjson.gz").read_bytes() for width in (64, 2))
    assert first == second


async def test_a_line_is_the_finding_as_the_api_names_it(command: Command) -> None:
    wire = organization(accounts=1, suspended=0, findings=1, regions=("us-east-1",))
    account = wire.management
    odd = {
        **wire.all_findings()[0],
        "firstObservedAt": 1772368245.123,
        "newField": {"deep": [1, 2.5, None, True], "ключ": "значение 漢字 🙂"},
        "big": 18446744073709551615,
    }
    async with Simulator(wire.with_findings(account, "us-east-1", [odd])) as simulator:
        done = await command(simulator, "sweep")
    (line,) = done.out.splitlines()
    found = orjson.loads(line)
    assert found["firstObservedAt"] == "2026-03-01T12:30:45.123Z"
    assert found["newField"] == odd["newField"]
    assert found["big"] == 18446744073709551615
    assert "значение 漢字 🙂".encode() in line
    assert list(found) == list(odd)
