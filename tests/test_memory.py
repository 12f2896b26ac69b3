from __future__ import annotations

import os
import time
from pathlib import Path

import orjson
import pytest

from harvester.memory import Memory, default_path
from harvester.model import Target
from harvester.paging.learned import Learned

ONE = Target("111122223333", "eu-west-1")
OTHER = Target("111122223333", "us-east-1")


def test_a_rate_is_there_in_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "rates.json"
    memory = Memory(path)
    memory.load()
    memory.learn(ONE, Learned(4.25, 3.0))
    memory.learn(OTHER, None)
    memory.save()
    later = Memory(path)
    later.load()
    assert later.recall(ONE) == Learned(4.25, 3.0)
    assert later.recall(OTHER) is None
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["rates.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"version": 3, "rates": {"111122223333/eu-west-1": [5.0, 99999999999]}}',
        b'{"version": 1, "rates": []}',
        b'{"version": 1, "rates": {"111122223333/eu-west-1": [0, 99999999999]}}',
        b'{"version": 1, "rates": {"111122223333/eu-west-1": [5.0]}}',
        b'{"version": 1, "rates": {"111122223333/eu-west-1": [true, 99999999999]}}',
        b'{"version": 1, "rates": {"111122223333/eu-west-1": [5.0, "now"]}}',
    ],
)
def test_a_damaged_file_is_taken_for_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rates.json"
    path.write_bytes(content)
    memory = Memory(path)
    memory.load()
    assert memory.recall(ONE) is None


def test_a_rate_is_forgotten_after_a_week(tmp_path: Path) -> None:
    path = tmp_path / "rates.json"
    old, new = time.time() - 8 * 86_400, time.time() - 6 * 86_400
    rates = {str(ONE): [5.0, old], str(OTHER): [6.0, new]}
    path.write_bytes(orjson.dumps({"version": 1, "rates": rates}))
    memory = Memory(path)
    memory.load()
    assert memory.recall(ONE) is None
    assert memory.recall(OTHER) == Learned(6.0)


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    memory = Memory(tmp_path / "file" / "rates.json")
    memory.load()
    memory.learn(ONE, Learned(3.0))
    memory.save()
    assert memory.recall(ONE) == Learned(3.0)


def test_large_targets_are_remembered_and_small_ones_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "rates.json"
    memory = Memory(path)
    memory.note_size(ONE, 200)
    memory.note_size(OTHER, 900)
    memory.note_size(Target("444455556666", "eu-west-1"), 3)
    memory.save()
    later = Memory(path)
    later.load()
    assert (later.size(ONE), later.size(OTHER)) == (200.0, 900.0)
    assert later.largest() == {ONE.account: 900.0}
    later.note_size(OTHER, 1)
    assert later.largest() == {ONE.account: 200.0}


def test_what_is_learned_at_one_endpoint_is_not_taken_for_another(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "rates.json")
    places = (None, "http://127.0.0.1:1", "http://127.0.0.1:2")
    for number, place in enumerate(places, 1):
        memory.keep_to(place)
        assert memory.recall(ONE) is None
        assert (memory.size(ONE), memory.largest()) == (0.0, {})
        memory.learn(ONE, Learned(float(number)))
        memory.note_size(ONE, 100 * number)
    memory.save()
    later = Memory(tmp_path / "rates.json")
    later.load()
    for number, place in enumerate(places, 1):
        later.keep_to(place)
        assert later.recall(ONE) == Learned(number)
        assert (later.size(ONE), later.largest()) == (100 * number, {ONE.account: 100 * number})


@pytest.mark.parametrize(
    ("cache", "path"),
    [
        ("/somewhere", "/somewhere/harvester/rates.json"),
        ("", "/home/me/.cache/harvester/rates.json"),
        ("relative", "/home/me/.cache/harvester/rates.json"),
    ],
)
def test_it_lies_below_the_cache_folder(
    monkeypatch: pytest.MonkeyPatch, cache: str, path: str
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    assert default_path() == Path(path)


def test_links_beside_it_and_in_its_place_are_not_followed(tmp_path: Path) -> None:
    path, precious = tmp_path / "rates.json", tmp_path / "precious"
    precious.write_text("not ours")
    path.symlink_to(precious)
    (tmp_path / f".rates.json.{os.getpid()}").symlink_to(precious)
    memory = Memory(path)
    memory.learn(ONE, Learned(3.0))
    memory.save()
    assert precious.read_text() == "not ours"
    assert not path.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600


def test_counts_that_differ_are_remembered_until_they_match(tmp_path: Path) -> None:
    path = tmp_path / "rates.json"
    memory = Memory(path)
    memory.keep_to("http://127.0.0.1:1")
    memory.note_counts(ONE, verified=False)
    memory.note_counts(OTHER, verified=True)
    memory.save()
    later = Memory(path)
    later.load()
    assert not later.doubts_counts(ONE), "that is another endpoint"
    later.keep_to("http://127.0.0.1:1")
    assert (later.doubts_counts(ONE), later.doubts_counts(OTHER)) == (True, False)
    later.note_counts(ONE, verified=None)
    assert later.doubts_counts(ONE), "not compared"
    later.note_counts(ONE, verified=True)
    later.save()
    last = Memory(path)
    last.load()
    last.keep_to("http://127.0.0.1:1")
    assert not last.doubts_counts(ONE)


def test_a_burst_is_forgotten_with_the_bucket_that_had_it(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "rates.json")
    memory.learn(ONE, Learned(2.0, 3.0))
    memory.learn(ONE, Learned(9.0))
    assert memory.recall(ONE) == Learned(9.0)


def test_a_file_of_version_1_still_gives_its_rates(tmp_path: Path) -> None:
    path = tmp_path / "rates.json"
    path.write_bytes(orjson.dumps({"version": 1, "rates": {str(ONE): [5.0, time.time()]}}))
    memory = Memory(path)
    memory.load()
    assert memory.recall(ONE) == Learned(5.0)


@pytest.mark.parametrize("bursts", [[], "3", {str(ONE): [0.0, 9e10]}, {str(ONE): [1e9, 9e10]}])
def test_a_damaged_burst_leaves_the_rate(tmp_path: Path, bursts: object) -> None:
    path = tmp_path / "rates.json"
    rates = {str(ONE): [5.0, time.time()]}
    path.write_bytes(orjson.dumps({"version": 2, "rates": rates, "bursts": bursts}))
    memory = Memory(path)
    memory.load()
    assert memory.recall(ONE) == Learned(5.0)
