"""Options that are looked for although the command line or the config file has an error."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from harvester.invocation import Invocation


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("sweep --log-format json", "json"),
        ("sweep --log-format=json --bogus", "json"),
        ("--log-format json", "json"),
        ("sweep --log-format text --log-format json", "json"),
        ("sweep --log-format json --log-format text", "text"),
        ("sweep -- --log-format json", "text"),
        ("sweep --log-format", "text"),
        ("sweep --log-format yaml", "text"),
        ("sweep", "text"),
        ("sweep -c json.toml", "json"),
        ("sweep -cjson.toml", "json"),
        ("sweep -vvc json.toml", "json"),
        ("sweep -qcjson.toml", "json"),
        ("sweep --config json.toml", "json"),
        ("sweep --config=json.toml", "json"),
        ("sweep --config=json.toml --log-format text", "text"),
        ("sweep -c nowhere.toml", "text"),
        ("sweep -c broken.toml", "text"),
        ("sweep -c odd.toml", "text"),
    ],
)
def test_the_log_format_is_found(folder: Path, arguments: str, expected: str) -> None:
    (folder / "json.toml").write_text('[log]\nformat = "json"\n[bogus]\nkey = 1\n')
    (folder / "broken.toml").write_text('[log\nformat = "json"\n')
    (folder / "odd.toml").write_text("log = 3\n[output]\nsummary = 5\n")

    assert Invocation(arguments.split()).log_format == expected


def test_a_config_file_that_nobody_named_counts(folder: Path) -> None:
    (folder / "harvester.toml").write_text('[log]\nformat = "json"\n')

    assert Invocation(["sweep"]).log_format == "json"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("sweep --summary s.json", "s.json"),
        ("sweep --bogus --summary=s.json", "s.json"),
        ("swep --summary s.json", "s.json"),
        ("plan --summary s.json", None),
        ("demo --summary s.json", None),
        ("sweep --summary -o out.ndjson", None),
        ("sweep --summary out.ndjson -o out.ndjson", None),
        ("sweep --summary ./out.ndjson -oout.ndjson", None),
        ("sweep --summary named.toml -c named.toml", None),
        ("sweep --summary harvester.toml", None),
        ("sweep -c named.toml", "from-config.json"),
        ("sweep -c named.toml --summary s.json", "s.json"),
        ("sweep", None),
        ("", None),
    ],
)
def test_the_summary_file_is_found_where_it_cannot_be_a_mistake(
    folder: Path, arguments: str, expected: str | None
) -> None:
    (folder / "named.toml").write_text('[output]\nsummary = "from-config.json"\n')

    assert Invocation(arguments.split()).summary == expected


def test_an_invalid_config_file_still_tells_the_summary_file_and_the_log_format(
    folder: Path,
) -> None:
    text = '[output]\nsummary = "s.json"\n[limits\nmax_rate = 3\n[log]\nformat = "json"\n'
    (folder / "named.toml").write_text(text)
    invocation = Invocation(["sweep", "-c", "named.toml"])

    assert (invocation.summary, invocation.log_format) == ("s.json", "json")


def test_the_run_id_stays_the_same() -> None:
    invocation = Invocation([])

    assert invocation.run_id == invocation.run_id == str(uuid.UUID(invocation.run_id))
    assert Invocation([]).run_id != invocation.run_id
