"""What an unfinished run left: taken up, thrown away with a warning, or refused."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import pytest

from harvester.errors import OutputError, SettingsError
from harvester.model import Target
from harvester.output.contents import Contents
from harvester.output.journal import Journal
from harvester.output.open import sink_for
from harvester.output.resume import Header, take_up
from harvester.output.spool import Segment
from harvester.output.workspace import Workspace
from harvester.settings import (
    AccountSettings,
    AwsSettings,
    FindingSettings,
    LimitSettings,
    OutputSettings,
    RegionSettings,
    Settings,
)
from tests.spooled import QUERIES, TWO, left_in, page, sink_of, text

_SETTINGS = {"accounts.include": ["111122223333"], "regions.include": ["eu-west-1"]}
_HOUR = 3600.0


@pytest.fixture
def work(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Workspace:
    caplog.set_level(logging.INFO, logger="harvester")
    (tmp_path / "work").mkdir()
    return Workspace(tmp_path / "work")


def _leave(work: Workspace, *, age: float = 60.0, spool: bytes | None = None, **more: Any) -> None:
    """Leave a journal that speaks of three pages, and a spool that holds them or this content."""
    contents, query, at = Contents(), QUERIES[TWO][0], time.time() - age
    contents.begin(TWO, [query], None, at)
    for number in range(3):
        one = page(query, number)
        contents.add(query, one, one.text, at)
    journal = Journal(work)
    header = Header(at, "run", _SETTINGS, segments=(Segment("spool", 0),))
    first = {**header.record(), **more}
    journal.rewrite([first, contents.everything()])
    journal.close()
    (work.folder / "spool").write_bytes(text(query, 3) if spool is None else spool)


def _take_up(work: Workspace, **changes: Any) -> Contents | None:
    left = take_up(work, Journal(work), {**_SETTINGS, **changes})
    return left[1] if left else None


def test_there_is_nothing_at_first(work: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    assert _take_up(work) is None
    (work.folder / "spool").write_bytes(b"what no journal speaks of is none")
    assert _take_up(work) is None
    assert not caplog.records


@pytest.mark.parametrize("more", [b"", b"written and not committed"])
def test_what_is_true_is_taken_up(
    work: Workspace, caplog: pytest.LogCaptureFixture, more: bytes
) -> None:
    whole = text(QUERIES[TWO][0], 3)
    _leave(work, spool=whole + more)
    contents = _take_up(work)

    assert contents is not None
    assert contents.end == len(whole)
    standing = contents.standing(TWO)
    assert standing is not None
    assert standing.cursors[QUERIES[TWO][0]].token == "3"
    assert not caplog.records, "the run tells that it resumes"


@pytest.mark.parametrize("spool", [b"", b"short", b"another sweep's" * 100, bytes(10_000)])
def test_a_spool_that_holds_other_data_is_damaged(
    work: Workspace, caplog: pytest.LogCaptureFixture, spool: bytes
) -> None:
    _leave(work, spool=spool)
    assert _take_up(work) is None
    assert f"{TWO}: findings of the unfinished sweep are damaged on the disk" in caplog.text
    assert "reading them again" in caplog.text


@pytest.mark.parametrize("kind", ["missing", "link", "folder"])
def test_a_spool_that_is_none_is_damage(work: Workspace, kind: str) -> None:
    _leave(work)
    spool = work.folder / "spool"
    spool.rename(work.folder.parent / "elsewhere")
    if kind == "link":
        spool.symlink_to(work.folder.parent / "elsewhere")
    if kind == "folder":
        spool.mkdir()
    assert _take_up(work) is None


def test_a_journal_that_is_a_link_is_an_error(work: Workspace) -> None:
    _leave(work)
    journal = work.folder / "journal"
    journal.rename(work.folder.parent / "elsewhere")
    journal.symlink_to(work.folder.parent / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        _take_up(work)


@pytest.mark.parametrize("age", [0.0, 3 * _HOUR, 5.9 * _HOUR, -30.0])
def test_findings_younger_than_the_limit_are_resumed(work: Workspace, age: float) -> None:
    _leave(work, age=age)
    assert _take_up(work) is not None


@pytest.mark.parametrize("age", [6.1 * _HOUR, 24 * _HOUR, 100 * _HOUR, -_HOUR])
def test_older_findings_and_those_of_the_future_are_not_resumed(
    work: Workspace, caplog: pytest.LogCaptureFixture, age: float
) -> None:
    _leave(work, age=age)
    assert _take_up(work) is None
    assert "too old: starting over" in caplog.text


@pytest.mark.parametrize("version", [0, 1, 3, "2", None])
def test_one_of_another_version_is_not_gone_on_with(
    work: Workspace, caplog: pytest.LogCaptureFixture, version: object
) -> None:
    _leave(work, version=version, settings="of whatever form")
    assert _take_up(work) is None
    assert "another version of harvester: starting over" in caplog.text


@pytest.mark.parametrize(
    "more",
    [
        {"settings": None},
        {"settings": {}},
        {"begun": None},
        {"begun": "now"},
        {"begun": [1]},
        {"segments": None},
        {"segments": [["spool"]]},
        {"segments": [["spool", "x"]]},
    ],
)
def test_a_header_of_another_form_is_damage(work: Workspace, more: dict[str, Any]) -> None:
    _leave(work, **more)
    assert _take_up(work) is None


@pytest.mark.parametrize("second", [{}, {"end": 0}, {"end": "0", "dropped": []}, {"queries": 1}])
def test_a_record_of_another_form_is_damage(
    work: Workspace, caplog: pytest.LogCaptureFixture, second: dict[str, Any]
) -> None:
    _leave(work)
    first = (work.folder / "journal").read_bytes().splitlines(keepends=True)[0]
    body = json.dumps({"number": 1, **second}).encode()
    (work.folder / "journal").write_bytes(first + b"%08x %b\n" % (crc32(body), body))
    assert _take_up(work) is None
    assert "damaged (" in caplog.text


def test_other_settings_are_refused_with_what_differs(work: Workspace) -> None:
    _leave(work)
    with pytest.raises(SettingsError) as caught:
        _take_up(work, **{"regions.include": ["eu-west-1", "us-east-1"]})

    assert caught.value.exit_code == 2
    message = str(caught.value)
    assert message.startswith("regions.include: ")
    assert "['eu-west-1']" in message
    assert "['eu-west-1', 'us-east-1']" in message
    assert "\n" not in message
    assert "--fresh" in (caught.value.hint or "")
    assert _take_up(work) is not None, "nothing was changed"


async def test_fresh_throws_away_what_is_there(tmp_path: Path) -> None:
    settings = Settings(output=OutputSettings(path=f"{tmp_path}/out.ndjson"))
    query = QUERIES[TWO][0]
    async with sink_for(settings) as sink:
        sink.begin(TWO, [query], None)
        await sink.write(query, page(query, 3))
    async with sink_for(settings) as sink:
        assert sink.standing(TWO) is not None
    async with sink_for(settings, fresh=True) as sink:
        assert sink.standing(TWO) is None
    assert _files(tmp_path) == {}


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


_UNIT = "ou-ab12-cdefgh34"
_CHANGES = {
    "accounts.organization": Settings(
        accounts=AccountSettings(organization=True, role_name="R"),
    ),
    "accounts.organizational_units": Settings(
        accounts=AccountSettings(organizational_units=(_UNIT,), role_name="R"),
    ),
    "accounts.include": Settings(
        accounts=AccountSettings(include=("111122223333",), role_name="R"),
    ),
    "accounts.exclude": Settings(accounts=AccountSettings(exclude=("111122223333",))),
    "regions.include": Settings(regions=RegionSettings(include=("eu-west-1",))),
    "regions.exclude": Settings(regions=RegionSettings(exclude=("eu-west-1",))),
    "findings.pipelines": Settings(findings=FindingSettings(pipelines=("golden-*",))),
    "findings.filters": Settings(findings=FindingSettings(filters={"severity": ("HIGH",)})),
}


async def _leave_for(settings: Settings) -> None:
    query = QUERIES[TWO][0]
    async with sink_for(settings) as sink:
        sink.begin(TWO, [query], None)
        await sink.write(query, page(query, 3))


@pytest.mark.parametrize("key", _CHANGES)
async def test_what_decides_what_is_read_must_be_the_same(tmp_path: Path, key: str) -> None:
    output = OutputSettings(path=f"{tmp_path}/out.ndjson")
    plain, changed = Settings(output=output), msgspec.structs.replace(_CHANGES[key], output=output)
    for first, second in [(plain, changed), (changed, plain)]:
        await _leave_for(first)
        before = _files(tmp_path)
        with pytest.raises(SettingsError, match=f"^{key}: "):
            await sink_for(second).__aenter__()
        assert _files(tmp_path) == before
        async with sink_for(first) as sink:
            assert sink.standing(TWO) is not None
        async with sink_for(first, fresh=True):
            pass


async def test_how_it_is_read_may_change(tmp_path: Path) -> None:
    output = OutputSettings(path=f"{tmp_path}/out.ndjson")
    await _leave_for(Settings(output=output))
    changed = Settings(
        accounts=AccountSettings(role_name="Other", external_id="x", session_name="other"),
        findings=FindingSettings(split="none", page_size=25),
        limits=LimitSettings(max_concurrency=3, max_rate=2.0),
        aws=AwsSettings(profile="other"),
        output=output,
    )
    async with sink_for(changed) as sink:
        assert sink.standing(TWO) is not None


async def test_an_output_that_cannot_be_opened_is_kept_as_it_was(tmp_path: Path) -> None:
    folder, out = tmp_path / "work", tmp_path / "out.ndjson"
    query = QUERIES[TWO][0]
    async with sink_of(folder, out) as sink:
        sink.begin(TWO, [query], None)
        await sink.write(query, page(query, 3))
    (folder / "owner").unlink()
    (folder / "owner").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        await sink_of(folder, out).__aenter__()
    (folder / "owner").rmdir()

    left = left_in(folder)
    assert left is not None
    assert left.held[query] == page(query, 3).text
    assert left.contents.standing(Target("111111111111", "eu-west-1")) is None
