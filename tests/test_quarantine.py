"""Pages that cannot be understood are kept raw: few, bounded, private, and never in the way."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.aws.pagesizes import PageSizes
from harvester.clock import Clock
from harvester.errors import MOST_KEPT, DamagedAnswerError
from harvester.model import Query, Target
from harvester.output.quarantine import MOST_FILES, Quarantine, quarantine_for
from harvester.paging.channel import Call, Exchange
from harvester.paging.retry import RetryPolicy
from harvester.paging.slots import FairSlots
from harvester.reader import TargetReader
from harvester.settings import OutputSettings
from harvester.settings.sections import FindingSettings
from harvester.tally import Tally
from tests.test_splitting import TARGET, Streamed, no_wait

_KEY, _TOKEN = "canaryKey/9f2b+7c1d", "canaryToken//8e1c5d3b7a90"


def _damaged(body: bytes | None = b"<html>") -> DamagedAnswerError:
    error = DamagedAnswerError("DamagedAnswer", "words", operation="ListImageScanFindings")
    error.body = body
    return error


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_body_is_kept_raw_and_private(tmp_path: Path) -> None:
    folder = tmp_path / "out.ndjson.damaged"
    error = Quarantine(folder).set_aside(TARGET, _damaged(b"\x00\xff<html>"))

    path = folder / "111122223333-eu-west-1-1.body"
    assert _files(folder) == {path.name: b"\x00\xff<html>"}
    assert error.message == f"words; its body is kept in {path}"
    assert (error.code, error.operation) == ("DamagedAnswer", "ListImageScanFindings")
    assert error.body is None, "not held in memory any more"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_run_keeps_twenty_and_counts_the_rest(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    quarantine = Quarantine(folder)
    targets = [Target("111122223333", f"eu-west-{number % 5 + 1}") for number in range(25)]
    said = [quarantine.set_aside(target, _damaged()).message for target in targets]
    assert len(_files(folder)) == MOST_FILES == 20
    assert [text for text in said if "not kept" in text] == said[20:]
    assert said[-1] == "words; its body is not kept, beside 20 others"


def test_the_next_run_removes_what_this_one_kept_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    Quarantine(folder).set_aside(TARGET, _damaged())
    Quarantine(folder).clear()
    assert not folder.exists()

    Quarantine(folder).set_aside(TARGET, _damaged())
    for name in ("mine.txt", "111122223333-eu-west-1-1.body.bak"):
        (folder / name).write_text("mine")
    Quarantine(folder).clear()
    assert set(_files(folder)) == {"mine.txt", "111122223333-eu-west-1-1.body.bak"}


def test_nothing_is_there_until_it_is_needed(tmp_path: Path) -> None:
    Quarantine(tmp_path / "kept").clear()
    assert _files(tmp_path) == {}


@pytest.mark.parametrize("error", [_damaged(None), _damaged()])
def test_without_a_place_or_a_body_the_error_stays_as_it_is(
    tmp_path: Path, error: DamagedAnswerError
) -> None:
    place = None if error.body else tmp_path / "kept"
    assert Quarantine(place).set_aside(TARGET, error) is error
    assert _files(tmp_path) == {}


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "111122223333-eu-west-1-7.body").write_text("somebody's")
    folder = tmp_path / "kept"
    folder.symlink_to(elsewhere)
    Quarantine(folder).clear()
    error = Quarantine(folder).set_aside(TARGET, _damaged())
    assert error.message == "words; its body could not be kept"
    assert _files(elsewhere) == {"111122223333-eu-west-1-7.body": b"somebody's"}

    folder.unlink()
    folder.mkdir()
    (folder / "111122223333-eu-west-1-1.body").symlink_to(elsewhere / "new")
    error = Quarantine(folder).set_aside(TARGET, _damaged())
    assert set(_files(elsewhere)) == {"111122223333-eu-west-1-7.body"}
    assert (folder / "111122223333-eu-west-1-2.body").read_bytes() == b"<html>"


@pytest.mark.parametrize("in_the_way", ["kept", "kept/below"])
def test_a_place_that_cannot_be_used_stops_nothing(tmp_path: Path, in_the_way: str) -> None:
    (tmp_path / "kept").write_text("a file")
    quarantine = Quarantine(tmp_path / in_the_way)
    quarantine.clear()
    assert quarantine.set_aside(TARGET, _damaged()).message == "words; its body could not be kept"


@given(account=st.text(max_size=20), region=st.text(max_size=20))
def test_no_name_leads_out_of_the_folder(
    tmp_path_factory: pytest.TempPathFactory, account: str, region: str
) -> None:
    folder = tmp_path_factory.mktemp("names") / "kept"
    error = Quarantine(folder).set_aside(Target(account, region), _damaged())
    assert "body" in error.message
    assert {path.name for path in folder.parent.iterdir()} == {"kept"}
    assert all(path.is_file() for path in folder.iterdir())


@pytest.mark.parametrize(
    ("path", "summary", "stream", "place"),
    [
        ("out.ndjson", None, False, "out.ndjson.damaged"),
        ("out.ndjson.zst", "s.json", False, "out.ndjson.zst.damaged"),
        ("folder/", "s.json", False, "folder/.damaged"),
        ("-", "s.json", False, "s.json.damaged"),
        ("-", None, False, None),
        ("out.ndjson", None, True, None),
        ("out.ndjson", "s.json", True, "s.json.damaged"),
    ],
)
def test_where_it_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    summary: str | None,
    place: str | None,
    *,
    stream: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    quarantine = quarantine_for(OutputSettings(path=path, summary=summary), stream=stream)
    said = quarantine.set_aside(TARGET, _damaged()).message
    found = sorted(tmp_path.rglob("*.body"))
    assert [one.parent for one in found] == ([tmp_path / place] if place else [])
    assert (said != "words") is bool(place)


class Keys:
    secret_key, token = _KEY, _TOKEN

    async def current(self) -> Any:
        return self

    def expire(self, refused: Any) -> None:
        raise AssertionError(refused)


class Odd:
    """A service that answers everything with one body."""

    def __init__(self, body: bytes) -> None:
        self.body, self.calls = body, 0

    async def open(self, service: str, region: str) -> None:
        """Nothing to make ready."""

    async def call(self, call: Call, signer: Any) -> bytes:  # noqa: ARG002  # a protocol's method
        self.calls += 1
        return self.body


async def _read(body: bytes, folder: Path, calls: int = RetryPolicy().fault_attempts) -> Tally:
    tally = Tally(Clock().now)
    service = Odd(body)
    exchange = Exchange(service, FairSlots(64), tally, Clock(sleep=no_wait), RetryPolicy())
    channel = exchange.channel("imagebuilder", TARGET.region, Keys(), account=TARGET.account)
    reader = TargetReader(
        channel,
        PageSizes(None),
        Streamed(),
        tally,
        FindingSettings(),
        quarantine=Quarantine(folder),
    )
    tally.found(TARGET)
    with pytest.raises(DamagedAnswerError) as caught:
        await reader.read(TARGET, [Query(TARGET)])
    assert service.calls == calls, "asked for again first"
    tally.finish(TARGET, caught.value)
    return tally


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"<html><body>Sign in</body></html>",
        b'{"findings":{"a":1}}',
        b'{"findings":null}',
        b'{"findings":[{"title":"cut o',
        b'{"findings":[{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}]}",
        b'{"findings":[{"a":' + b"[" * 100_000,
        b"\x1f\x8b\x08",
    ],
    ids=lambda body: repr(body[:34]),
)
async def test_a_page_that_cannot_be_understood_makes_its_target_incomplete(
    tmp_path: Path, body: bytes
) -> None:
    tally = await _read(body, tmp_path / "kept")
    (problem,) = tally.problems
    assert (problem.status, problem.stage, problem.code) == (
        "incomplete",
        "findings",
        "DamagedAnswer",
    )
    path = tmp_path / "kept" / "111122223333-eu-west-1-1.body"
    assert problem.message.endswith(f"; its body is kept in {path}")
    assert path.read_bytes() == body


@pytest.mark.parametrize(
    ("body", "findings", "reason"),
    [
        (b'{"findings":[{},null]}', 1, "holds 2 findings, of which 1 are not objects"),
        (b'{"findings":["CVE-1"]}', 0, "holds 1 findings, of which 1 are not objects"),
        (b'{"findings":[{}],"nextToken":7}', 1, "has a nextToken that is a number"),
        (b'{"findings":[{}],"nextToken":["A"]}', 1, "has a nextToken that is a list"),
    ],
    ids=lambda one: repr(one)[:40],
)
async def test_an_odd_page_is_written_as_far_as_it_can_be_read_and_its_body_is_kept(
    tmp_path: Path, body: bytes, findings: int, reason: str
) -> None:
    tally = await _read(body, tmp_path / "kept", RetryPolicy().name_attempts)
    (problem,) = tally.problems
    assert (problem.status, problem.findings) == ("incomplete", findings)
    assert problem.code == "UnexpectedAnswer"
    path = tmp_path / "kept" / "111122223333-eu-west-1-1.body"
    assert reason in problem.message
    assert problem.message.endswith(f"; its body is kept in {path}")
    assert path.read_bytes() == body


async def test_what_is_kept_quotes_no_secret_and_has_a_bound(tmp_path: Path) -> None:
    quoting = f"<html>{_KEY} and {_TOKEN} ".encode()
    await _read(quoting * 100_000, tmp_path / "kept")
    (kept,) = _files(tmp_path / "kept").values()
    assert kept.startswith(b"<html>*** and *** ")
    assert b"canary" not in kept
    assert len(kept) <= MOST_KEPT


@given(
    before=st.integers(0, 60), quoted=st.sampled_from([0, 2000]), at=st.sampled_from([0, 1 << 14])
)
def test_a_secret_at_the_bound_is_not_cut_in_two(before: int, quoted: int, at: int) -> None:
    error = _damaged(None)
    body = _TOKEN.encode() * quoted
    body += b" " * (MOST_KEPT + at - before - len(body)) + _TOKEN.encode() + b" " * 200_000
    error.keep(body, (_KEY, _TOKEN))
    assert error.body is not None
    assert b"can" not in error.body
    assert len(error.body) <= MOST_KEPT


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
    else:
        folder = Path("/var")
    said = Quarantine(folder).set_aside(TARGET, _damaged()).message
    assert said == "words; its body could not be kept"
    assert not list(folder.glob("*.body"))
