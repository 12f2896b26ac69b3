"""Files: whole or not at all, the same bytes whatever the timing was."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import zstandard

from harvester.aws.bodies import page_of
from harvester.errors import OutputBusyError, OutputError
from harvester.model import Condition, Finding, Page, Query, Target
from harvester.output.files import FileSink
from harvester.output.open import sink_for
from harvester.output.partitions import Partitions
from harvester.output.results import Results
from harvester.output.sink import Sink
from harvester.output.workspace import Workspace
from harvester.settings import OutputSettings, Settings
from tests.spooled import Watched

_ONE, _TWO = Target("111111111111", "eu-west-1"), Target("111111111111", "us-east-1")
_THREE = Target("222222222222", "eu-west-1")
_QUERIES = [
    Query(_ONE, "severity", "HIGH"),
    Query(_ONE, "severity", "LOW"),
    Query(_TWO),
    Query(_THREE, "imagePipelineArn", "a", (Condition("severity", ("HIGH",)),)),
    Query(_THREE, "imagePipelineArn", "a", (Condition("severity", ("LOW", "HIGH")),)),
]
NAMES = ("out.ndjson", "out.ndjson.gz", "out.ndjson.zst")


def _some(query: Query, page: int, *, size: int = 3) -> list[Finding]:
    return [{"where": f"{query}", "page": page, "n": n, "text": "漏洞 " * 20} for n in range(size)]


def _page(query: Query, page: int, *, size: int = 3) -> Page:
    return page_of(_some(query, page, size=size), f"{page + 1}")


def _sink(path: Path | str, **options: Any) -> Sink:
    return sink_for(Settings(output=OutputSettings(path=f"{path}", **options)))


def _read(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(content)
    if path.suffix == ".zst":
        # By default it stops at the end of the first frame: there must be no other.
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content)).read()
    return content


def _findings(path: Path) -> list[Finding]:
    return [json.loads(line) for line in _read(path).splitlines()]


def _files(folder: Path) -> list[str]:
    return sorted(f"{path.relative_to(folder)}" for path in folder.rglob("*") if path.is_file())


def _modes(folder: Path) -> list[tuple[bool, int]]:
    return [(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in folder.rglob("*")]


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def _sweep_in_random_order(sink: Sink, seed: int, *, pages: int = 4) -> None:
    """Write all pages of all queries; queries interleave, and some start over."""
    rng = random.Random(seed)
    waiting = [(query, iter(range(pages))) for query in _QUERIES]
    async with sink:
        while waiting:
            place = rng.randrange(len(waiting))
            query, numbers = waiting[place]
            number = next(numbers, None)
            if number is None:
                waiting.pop(place)
                if all(other.target != query.target for other, _ in waiting):
                    await sink.finished(query.target)
            elif rng.random() < 0.15:
                await sink.replace([query], query)
                waiting[place] = (query, iter(range(pages)))
            else:
                await sink.write(query, _page(query, number))
        await sink.publish(Results({_THREE, _ONE, _TWO}))


@pytest.mark.parametrize("name", NAMES)
async def test_a_file_holds_the_same_bytes_whatever_the_timing(tmp_path: Path, name: str) -> None:
    seen = set()
    for seed in range(10):
        await _sweep_in_random_order(_sink(tmp_path / name), seed)
        seen.add((tmp_path / name).read_bytes())
        assert _names(tmp_path) == [name], "nothing beside it"

    assert len(seen) == 1
    expected = [
        one for query in sorted(_QUERIES) for page in range(4) for one in _some(query, page)
    ]
    assert _findings(tmp_path / name) == expected


@pytest.mark.parametrize("compression", ["none", "zstd"])
async def test_a_folder_is_partitioned(tmp_path: Path, compression: str) -> None:
    folder = tmp_path / "out"
    for seed in range(3):
        await _sweep_in_random_order(_sink(f"{folder}/", compression=compression), seed)

    assert list(folder.glob(".*")) == [], "nothing beside the files"
    name = "findings.ndjson" + (".zst" if compression == "zstd" else "")
    assert _files(folder) == [
        f"account=111111111111/region=eu-west-1/{name}",
        f"account=111111111111/region=us-east-1/{name}",
        f"account=222222222222/region=eu-west-1/{name}",
    ]
    for target in (_ONE, _TWO, _THREE):
        path = folder / f"account={target.account}" / f"region={target.region}" / name
        queries = sorted(query for query in _QUERIES if query.target == target)
        expected = [one for query in queries for page in range(4) for one in _some(query, page)]
        assert _findings(path) == expected


@pytest.mark.parametrize("name", NAMES)
async def test_no_findings_are_an_empty_file(tmp_path: Path, name: str) -> None:
    async with _sink(tmp_path / name) as sink:
        await sink.publish(Results({_ONE}))
    assert _read(tmp_path / name) == b""


@pytest.mark.parametrize("name", NAMES)
async def test_megabytes_come_out_whole_and_in_one_frame(tmp_path: Path, name: str) -> None:
    async with _sink(tmp_path / name) as sink:
        for page in range(150):
            for query in _QUERIES[:3]:
                await sink.write(query, _page(query, page, size=100))
        await sink.publish(Results({_ONE, _TWO}))

    lines = _read(tmp_path / name).splitlines(keepends=True)
    assert (len(lines), sum(map(len, lines)) > 5 << 20) == (45_000, True)
    assert all(line.startswith(b"{") and line.endswith(b"}\n") for line in lines)


async def test_files_are_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with _sink(tmp_path / "out.ndjson") as sink:
            assert {*_modes(tmp_path)} == {(True, 0o700), (False, 0o600)}
            await sink.publish(Results({_ONE}))
        async with _sink(f"{tmp_path}/c/") as sink:
            await sink.write(_QUERIES[0], _page(_QUERIES[0], 0))
            await sink.publish(Results({_ONE}))
    finally:
        os.umask(before)

    assert {*_modes(tmp_path)} == {(True, 0o700), (False, 0o600)}


async def test_nothing_appears_before_it_is_published(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    path.write_text("old\n")
    async with _sink(path) as sink:
        await sink.write(_QUERIES[0], _page(_QUERIES[0], 1, size=20_000))

    assert path.read_text() == "old\n"
    assert sorted(_names(tmp_path)) == [".out.ndjson.harvester", path.name]


@contextmanager
def _files_no_larger_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("limit", [0, 1000, 300_000, 2_000_000])
@pytest.mark.parametrize("name", [*NAMES, "folder/"])
async def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, name: str, limit: int
) -> None:
    output = f"{tmp_path}/{name}"
    path = Path(output)
    if output.endswith("/"):
        path = path / "account=111111111111" / "region=eu-west-1" / "findings.ndjson"
        path.parent.mkdir(parents=True)
    path.write_text("old\n")
    noise = random.Random(0).randbytes(50_000)

    async def sweep() -> None:
        async with _sink(output) as sink:
            for _ in range(40):
                await sink.write(_QUERIES[0], page_of([{"noise": noise.hex()}], None))
            await sink.publish(Results({_ONE}))

    with pytest.raises(OutputError) as caught, _files_no_larger_than(limit):
        await sweep()

    assert caught.value.exit_code == 5
    assert path.read_text() == "old\n"
    beside = [name for name in _files(tmp_path) if ".harvester/" not in name]
    assert beside == [f"{path.relative_to(tmp_path)}"]


async def test_a_failure_between_two_files_leaves_no_half_of_one(tmp_path: Path) -> None:
    first, second = (
        tmp_path / f"account={one.account}" / f"region={one.region}" / "findings.ndjson"
        for one in (_ONE, _TWO)
    )
    (second / "in the way").mkdir(parents=True)
    layout = Partitions(tmp_path, ".ndjson")
    async with FileSink(Workspace(tmp_path / "work"), layout) as sink:
        for query in _QUERIES:
            await sink.write(query, _page(query, 0))
        with pytest.raises(OutputError, match="cannot be written"):
            await sink.publish(Results({_ONE, _TWO}))

    assert len(_findings(first)) == 6
    assert (tmp_path / "work" / "journal").exists(), "the same command goes on with it"


async def test_cancelled_publishing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    path.write_text("old\n")
    scope = anyio.CancelScope()

    layout = Watched(path, before=lambda: anyio.from_thread.run_sync(scope.cancel))
    with scope:
        async with FileSink(Workspace(tmp_path / "work"), layout) as sink:
            await sink.write(_QUERIES[0], _page(_QUERIES[0], 0))
            await sink.publish(Results({_ONE}))

    assert scope.cancelled_caught
    assert path.read_text() == "old\n"
    assert sorted(_names(tmp_path)) == [path.name, "work"]


async def test_what_is_cancelled_too_late_is_published_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    scope = anyio.CancelScope()

    layout = Watched(path, after=lambda: anyio.from_thread.run_sync(scope.cancel))
    with scope:
        async with FileSink(Workspace(tmp_path / "work"), layout) as sink:
            await sink.write(_QUERIES[0], _page(_QUERIES[0], 0))
            await sink.publish(Results({_ONE}))

    assert scope.cancelled_caught
    assert sink.published
    assert len(_findings(path)) == 3
    assert _names(tmp_path) == [path.name], "nothing is left to go on with"


async def test_files_of_complete_targets_without_findings_are_removed(tmp_path: Path) -> None:
    everywhere = [_ONE, _TWO, _THREE]
    old = {
        target: tmp_path / f"account={target.account}" / f"region={target.region}" / name
        for target, name in zip(
            everywhere, ("findings.ndjson", "findings.ndjson.zst", "findings.ndjson"), strict=True
        )
    }
    for path in old.values():
        path.parent.mkdir(parents=True)
        path.write_text("old\n")
    async with _sink(tmp_path) as sink:
        await sink.write(_QUERIES[2], _page(_QUERIES[2], 0))
        await sink.publish(Results({_ONE, _TWO}))

    assert not old[_ONE].exists(), "it has no findings any more"
    assert not old[_TWO].exists(), "the same findings would be there twice"
    assert len(_findings(old[_TWO].with_name("findings.ndjson"))) == 3
    assert old[_THREE].read_text() == "old\n", "nothing is known of it"


_ACCOUNTS = ("", ".", "..", "../../etc", "1" * 11, "1" * 12 + "\n", "\uff11" * 12)
_REGIONS = ("", "..", "../x-1", "/etc", "us-east-1/..", "us-east-1\n", "US-EAST-1", "a\0-b")


@pytest.mark.parametrize(
    "target",
    [Target(account, "us-east-1") for account in _ACCOUNTS]
    + [Target("111111111111", region) for region in _REGIONS],
)
async def test_a_hostile_name_never_becomes_a_path(tmp_path: Path, target: Target) -> None:
    folder = tmp_path / "a" / "b" / "out"
    folder.parent.mkdir(parents=True)
    async with _sink(f"{folder}/") as sink:
        await sink.write(Query(target), page_of([{"n": 1}], None))
        with pytest.raises(OutputError, match="cannot be part of a file name") as caught:
            await sink.publish(Results({target}))

    assert "\n" not in str(caught.value)
    assert {Path(name).parent for name in _files(tmp_path)} == {Path("a/b/out/.harvester")}


async def test_the_output_of_another_run_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    async with _sink(path) as first:
        await first.write(_QUERIES[0], _page(_QUERIES[0], 0))
        for _ in range(3):
            with pytest.raises(OutputBusyError) as caught:
                await _sink(path).__aenter__()
        await first.publish(Results({_ONE}))

    assert caught.value.hint
    assert len(_findings(path)) == 3
