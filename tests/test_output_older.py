"""A single file: lines of targets that failed tonight stay from the file before."""

from __future__ import annotations

import gzip
import json
import random
import tracemalloc
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import zstandard

from harvester.errors import OutputError
from harvester.model import Finding, Page, Query, Target
from harvester.output.open import sink_for
from harvester.output.results import Published, Results
from harvester.settings import (
    FindingSettings,
    OutputSettings,
    Settings,
)

A1, A2 = Target("111111111111", "eu-west-1"), Target("111111111111", "us-east-1")
B1, C1 = Target("222222222222", "eu-west-1"), Target("333333333333", "eu-west-1")
NAMES = ("out.ndjson", "out.ndjson.gz", "out.ndjson.zst")


def finding(target: Target, number: int = 0, **fields: Any) -> Finding:
    image = f"arn:aws:imagebuilder:{target.region}:{target.account}:image/golden/1.0.0/1"
    return {
        "awsAccountId": target.account,
        "imageBuildVersionArn": image,
        "number": number,
        "text": "漏洞 " * 5,
        **fields,
    }


def lines(findings: Iterable[Finding]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in findings)


def packed(path: Path, data: bytes) -> bytes:
    if path.suffix == ".gz":
        return gzip.compress(data)
    return zstandard.compress(data) if path.suffix == ".zst" else data


def unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data


def names(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir()]


def found(path: Path) -> list[Finding]:
    return [json.loads(line) for line in unpacked(path).splitlines()]


async def sweep(
    path: Path,
    tonight: Mapping[Target, Sequence[Finding]],
    results: Results,
    *,
    on_partial: Any = "keep",
    **sections: Any,
) -> Published:
    output = OutputSettings(path=f"{path}", on_partial=on_partial)
    async with sink_for(Settings(output=output, **sections)) as sink:
        for target, findings in tonight.items():
            sink.begin(target, [Query(target)], None)
            if findings or target in results.complete:
                await sink.write(Query(target), Page(lines(findings), [], None))
            if target in results.complete:
                await sink.finished(target)
        return await sink.publish(results)


@pytest.mark.parametrize("name", NAMES)
async def test_failed_target_keeps_its_older_lines_in_its_place(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    older = [finding(one, number) for one in (A1, A2, B1) for number in range(3)]
    path.write_bytes(packed(path, lines(older)))
    new = {A1: [finding(A1, 7)], B1: [finding(B1, 8)]}
    published = await sweep(path, new, Results({A1, B1}, {A2}))
    assert found(path) == [finding(A1, 7), *older[3:6], finding(B1, 8)]
    assert published == Published(stale={A2}, kept=3)
    assert names(tmp_path) == [name]


async def test_unordered_older_lines_stay_each_once(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    older = [finding(one, number) for number in range(4) for one in (B1, A2, A1)]
    path.write_bytes(lines(older))
    await sweep(path, {C1: []}, Results({C1}, {A1, A2, B1}))
    assert found(path) == [finding(one, number) for one in (A1, A2, B1) for number in range(4)]


async def test_incomplete_target_with_older_lines_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    older = [finding(A1, number) for number in range(5)]
    path.write_bytes(lines(older))
    new = {A1: [finding(A1, 9)], B1: [finding(B1)]}
    published = await sweep(path, new, Results({B1}, {A1}))
    assert found(path) == [*older, finding(B1)]
    aside = published.aside[A1].path
    assert aside == tmp_path.joinpath(
        "out.ndjson.incomplete", "account=111111111111", "region=eu-west-1", "findings.ndjson"
    )
    assert found(aside) == [finding(A1, 9)]
    assert published.stale == {A1}

    await sweep(path, {A1: [finding(A1)], B1: []}, Results({A1, B1}))
    assert found(path) == [finding(A1)]
    assert names(tmp_path) == ["out.ndjson"], "nothing is left aside"


async def test_incomplete_target_without_older_lines_is_written(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    path.write_bytes(lines([finding(B1)]))
    published = await sweep(path, {A1: [finding(A1)], B1: []}, Results({B1}, {A1}))
    assert found(path) == [finding(A1)]
    assert published == Published(stale=set())


async def test_account_without_regions_keeps_its_lines_of_selected_regions(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    path.write_bytes(lines([finding(A1), finding(A2), finding(B1)]))
    results = Results({C1}, accounts={A1.account}, regions={"eu-west-1"})
    published = await sweep(path, {C1: []}, results)
    assert found(path) == [finding(A1)], "the others are not selected, or not in the organization"
    assert published == Published(stale={A1.account}, kept=1)

    path.write_bytes(lines([finding(A1), finding(A2)]))
    results = Results({C1}, accounts={A1.account}, excluded_regions={"eu-west-1"})
    await sweep(path, {C1: []}, results)
    assert found(path) == [finding(A2)]


async def test_kept_lines_are_those_that_the_filters_select(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    older = [
        finding(A1, 1, severity="HIGH", packageVulnerabilityDetails={"vulnerabilityId": "CVE-1"}),
        finding(A1, 2, severity="HIGH", packageVulnerabilityDetails={"vulnerabilityId": "CVE-2"}),
        finding(A1, 3, severity="LOW", packageVulnerabilityDetails={"vulnerabilityId": "CVE-1"}),
        finding(A1, 4, severity="HIGH"),
        finding(A1, 5, packageVulnerabilityDetails={"vulnerabilityId": "CVE-1"}),
    ]
    path.write_bytes(lines(older))
    chosen = FindingSettings(filters={"severity": ("HIGH",), "vulnerabilityId": ("CVE-1", "x")})
    await sweep(path, {B1: []}, Results({B1}, {A1}), findings=chosen)
    assert found(path) == older[:1]


_PIPELINE = "arn:aws:imagebuilder:eu-west-1:111111111111:image-pipeline/golden-linux"


@pytest.mark.parametrize(
    ("glob", "stays"),
    [
        ("golden-*", True),
        ("Golden Linux", True),
        ("*:image-pipeline/golden-linux", True),
        ("silver-*", False),
        ("golden", False),
    ],
)
async def test_kept_lines_are_of_selected_pipelines(
    tmp_path: Path, glob: str, *, stays: bool
) -> None:
    path = tmp_path / "out.ndjson"
    older = [finding(A1, imagePipelineArn=_PIPELINE), finding(A1)]
    path.write_bytes(lines(older))
    chosen = FindingSettings(pipelines=("other", glob))
    await sweep(path, {B1: []}, Results({B1}, {A1}), findings=chosen)
    assert found(path) == (older[:1] if stays else [])


async def test_drop_leaves_older_lines_out(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    path.write_bytes(lines([finding(A1), finding(B1)]))
    new = {A1: [finding(A1, 1)], B1: []}
    published = await sweep(path, new, Results({B1}, {A1}), on_partial="drop")
    assert found(path) == [finding(A1, 1)]
    assert published == Published(stale=set())


@pytest.mark.parametrize("on_partial", ["keep", "drop"])
async def test_sweep_that_read_nothing_replaces_nothing(tmp_path: Path, on_partial: str) -> None:
    path = tmp_path / "out.ndjson"
    path.write_bytes(lines([finding(A1), finding(B1)]))
    before = path.stat()
    results = Results(broken={A1}, accounts={B1.account, C1.account})
    published = await sweep(path, {}, results, on_partial=on_partial)
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert published == Published(written=False, stale={A1, B1.account}, kept=2)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("out.ndjson", lines([finding(A1)]) + b'{"awsAccountId": "1111'),
        ("out.ndjson", lines([finding(A1)]) + b"[1]\n"),
        ("out.ndjson", b"\x00\xff" * 50),
        ("out.ndjson.gz", gzip.compress(lines([finding(A1)] * 50))[:-9]),
        ("out.ndjson.gz", lines([finding(A1)])),
        ("out.ndjson.gz", gzip.compress(lines([finding(A1)])) + b"\x1f"),
        ("out.ndjson.zst", zstandard.compress(lines([finding(A1)] * 50))[:-1]),
        ("out.ndjson.zst", b"(\xb5/\xfd" + b"\xff" * 20),
    ],
    ids=("cut", "list", "binary", "cut gz", "no gz", "cut header", "cut zst", "no zst"),
)
async def test_damaged_older_file_stands_and_the_run_resumes(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    new = {A1: [], B1: [finding(B1)]}
    with pytest.raises(OutputError, match="is left as it is") as caught:
        await sweep(path, new, Results({B1}, {A1}))
    assert "--on-partial drop" in f"{caught.value.hint}"
    assert path.read_bytes() == content

    output = OutputSettings(path=f"{path}", on_partial="drop")
    async with sink_for(Settings(output=output)) as sink:
        standing = sink.standing(B1)
        assert standing is not None
        assert standing.complete
        await sink.publish(Results({B1}, {A1}))
    assert found(path) == [finding(B1)]


async def test_damaged_older_file_is_replaced_by_a_complete_sweep(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson.gz"
    path.write_bytes(b"cut")
    await sweep(path, {A1: [finding(A1)]}, Results({A1}))
    assert found(path) == [finding(A1)]


@pytest.mark.parametrize("name", NAMES[1:])
async def test_older_file_of_several_members_is_read_to_its_end(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    older = [finding(A1, number) for number in range(3)]
    path.write_bytes(b"".join(packed(path, lines([one])) for one in older))
    await sweep(path, {B1: []}, Results({B1}, {A1}))
    assert found(path) == older


async def test_lines_without_a_target_stay_while_a_target_fails_and_never_twice(
    tmp_path: Path,
) -> None:
    path = tmp_path / "out.ndjson"
    odd: list[Finding] = [{"title": "a"}, {"title": "a"}, {"title": "b"}, {"imagePipelineArn": 7}]
    of_a, of_b = {"awsAccountId": A1.account, "n": 1}, {"awsAccountId": B1.account, "n": 1}
    path.write_bytes(lines([*odd, of_a, of_b, finding(A1)]))
    tonight: list[Finding] = [{"title": "a"}, of_b, finding(B1)]
    new = {B1: tonight}
    published = await sweep(path, new, Results({B1}, {A1}))
    assert published == Published(stale={A1}, kept=5, unattributed=4)
    assert found(path) == [finding(A1), *tonight, {"title": "a"}, *odd[2:], of_a]

    assert (await sweep(path, new, Results({B1}, {A1}))).kept == 5
    assert found(path) == [finding(A1), *tonight, {"title": "a"}, *odd[2:], of_a]

    await sweep(path, new, Results({A1, B1}))
    assert found(path) == tonight


async def test_odd_lines_stay_byte_by_byte(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson"
    account = f'"awsAccountId":"{A1.account}"'.encode()
    arn = b'"imagePipelineArn":"arn:aws:imagebuilder:eu-west-1:aws:image-pipeline/x"'
    odd = [
        b'{%b, %b, "text": "\\ud800 lone"}\n' % (account, arn),
        b'{ %b ,%b, "big": 123456789012345678901234567890}\n' % (account, arn),
        b'{%b,%b,"text":"\xe2\x80\xa8"}\n' % (account, arn),
    ]
    path.write_bytes(b"\n".join(odd) + odd[0].rstrip(b"\n"))
    await sweep(path, {B1: []}, Results({B1}, {A1}))
    assert path.read_bytes() == b"".join(odd) + odd[0]


async def test_account_of_a_line_is_taken_from_its_arn_where_it_has_no_other(
    tmp_path: Path,
) -> None:
    path = tmp_path / "out.ndjson"
    older = [finding(A1, awsAccountId=None), finding(A1, imageBuildVersionArn=None)]
    older[1]["imagePipelineArn"] = _PIPELINE
    path.write_bytes(lines([*older, finding(B1, awsAccountId="x")]))
    published = await sweep(path, {B1: []}, Results({B1}, {A1}))
    assert found(path) == older
    assert published.unattributed == 0


async def test_memory_does_not_grow_with_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "out.ndjson.zst"
    targets = [Target(f"{number:012d}", "eu-west-1") for number in range(10)]
    noise = random.Random(0)
    text = lines(
        finding(one, text=noise.randbytes(300).hex()) for one in targets for _ in range(3000)
    )
    path.write_bytes(zstandard.compress(text))
    size = len(text)
    del text
    tracemalloc.start()
    published = await sweep(path, {A1: []}, Results({A1}, targets))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert published.kept == 30_000
    assert peak < size // 4
