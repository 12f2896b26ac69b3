"""Errors about a key of the config file name the file and the line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.errors import SettingsError
from harvester.settings import Settings, check_settings, load_settings
from harvester.settings.toml_lines import lines_of_keys

ONE = "111122223333"


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


DOCUMENT = r'''
a = 1 # b = 2 [c]
"q.x" = """
[no]
d = 2 """""
d . e . 'f' = 1979-05-27 07:32:00
[table] # [other]
list = [ # x = 1
  "a,]", [1, {z = 1, y={}, "w" = [ {v=2}] }],
  """
k = 3""", ]
empty = {}
text = 'C:\' # not escaped
escaped = "a \" [x] = 1"
inline = { o = "}", p.q = 3 }
[[tables]]
x = 1
[[tables]]
x = 2
y = true
[ outer."b c".d ]
z = -inf
'''


def test_each_key_is_found_on_its_line() -> None:
    assert tomllib.loads(DOCUMENT)
    assert lines_of_keys(DOCUMENT) == {
        ("a",): 2,
        ("q.x",): 3,
        ("d",): 6,
        ("d", "e"): 6,
        ("d", "e", "f"): 6,
        ("table",): 7,
        ("table", "list"): 8,
        ("table", "list", "z"): 9,
        ("table", "list", "y"): 9,
        ("table", "list", "w"): 9,
        ("table", "list", "w", "v"): 9,
        ("table", "empty"): 12,
        ("table", "text"): 13,
        ("table", "escaped"): 14,
        ("table", "inline"): 15,
        ("table", "inline", "o"): 15,
        ("table", "inline", "p"): 15,
        ("table", "inline", "p", "q"): 15,
        ("tables",): 16,
        ("tables", "x"): 17,
        ("tables", "y"): 20,
        ("outer",): 21,
        ("outer", "b c"): 21,
        ("outer", "b c", "d"): 21,
        ("outer", "b c", "d", "z"): 22,
    }


def test_lines_that_end_in_carriage_return_and_newline_count_once() -> None:
    assert lines_of_keys("a = 1\r\n\r\n[b]\r\nc = '''x\r\n'''\r\nd = 2\r\n")["b", "d"] == 6


def test_deep_nesting_is_no_problem() -> None:
    text = f"a = {'[' * 400}{']' * 400}\nb = {'{c = ' * 100}1{'}' * 100}"
    tomllib.loads(text)
    assert lines_of_keys(text)["b",] == 2


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=5)
VALUES: st.SearchStrategy[str] = st.recursive(
    st.sampled_from(
        ["1", "-2.5e3", "true", "1979-05-27T07:32:00Z", "07:32:00", '"a#b"', "'[{'", '"\\""']
    )
    | st.sampled_from(['"""\nx = 1\n"""', "'''a\n[b]'''", '""""q"""""', "''''q'''''"]),
    lambda inner: st.lists(inner, max_size=3).map(
        lambda all_: "[ " + " , # x\n".join(all_) + "\n]"
    ),
    max_leaves=4,
)
TABLES = st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES, max_size=3), max_size=4)


def quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"').replace("\x7f", "\\u007F") + '"'


@given(TABLES)
def test_any_document_gives_each_key_its_line(tables: dict[str, dict[str, str]]) -> None:
    lines: list[str] = []
    expected: dict[tuple[str, ...], int] = {}
    for table, keys in tables.items():
        lines.append(f"[{quoted(table)}] # x")
        expected[table,] = len("\n".join(lines).split("\n"))
        for key, value in keys.items():
            lines.append(f"  {quoted(key)} = {value} # [y]")
            expected[table, key] = len("\n".join(lines[:-1]).split("\n")) + 1
    text = "\n".join(lines)
    assert {name: set(keys) for name, keys in tomllib.loads(text).items()} == {
        name: set(keys) for name, keys in tables.items()
    }
    assert lines_of_keys(text) == expected


@given(st.text(max_size=80))
def test_any_text_gives_lines_within_it(text: str) -> None:
    try:
        tomllib.loads(text)
    except ValueError:
        return
    assert all(1 <= line <= text.count("\n") + 1 for line in lines_of_keys(text).values())


def refused(text: str, name: str = "harvester.toml", **given: Any) -> str:
    Path(name).write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(None if name == "harvester.toml" else name, **given)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("[limits]\n\nmax_rate = 0", "3: limits.max_rate: 0 is not"),
        ("limits.max_rate = 0", "1: limits.max_rate: 0 is not"),
        ("\nlimits = {max_rate = 0}", "2: limits.max_rate: 0 is not"),
        ("[log]\n[acounts]", "2: acounts: unknown section"),
        ("[log]\n\nlevl = 1", "3: log.levl: unknown key"),
        ("[log]\n'a b' = 1", "2: log.'a b': unknown key"),
        ("\naccounts = 3", "2: accounts: 3 is not a table"),
        ("[findings.filters]\nSeverity = []", "2: findings.filters.Severity: unknown filter"),
        ("[findings]\nfilters.severity = ['high']", "2: findings.filters.severity: 'high'"),
        ("[aws]\n\nsecret_key = 'x'", "3: aws.secret_key: credentials have no key"),
        ("[output]\npath = 'x.csv'", "2: output.path: 'x.csv' is not"),
        (
            "[output]\npath = 'x.ndjson'\ncompression = 'zstd'",
            "3: output.compression: 'zstd' is for a folder, and output.path (harvester.toml:2) ",
        ),
        (
            f"[accounts]\ninclude = ['{ONE}']\norganization = true\nrole_name = 'R'",
            "3: accounts.organization and accounts.include (harvester.toml:2) ['1111",
        ),
        (
            "[accounts]\norganization = true",
            "accounts.role_name is needed with accounts.organization (harvester.toml:2)",
        ),
    ],
)
def test_an_error_about_a_key_begins_with_file_and_line(text: str, begins: str) -> None:
    place = "harvester.toml:" if begins[0].isdigit() else ""
    assert refused(text).startswith(place + begins)


def test_the_file_is_named_as_it_was_given() -> None:
    Path("conf").mkdir()
    assert refused("[log]\nlevel = 'x'", "conf/a.toml").startswith("conf/a.toml:2: log.level: ")


def test_an_override_is_named_without_the_file() -> None:
    overrides = {"limits.max_rate": 0}
    message = refused("[limits]\nmax_rate = 1", overrides=overrides)
    assert message.startswith("limits.max_rate: 0 is not")
    message = refused(
        "[limits]\nmax_rate = 1", overrides=overrides, origins={"limits.max_rate": "--max-rate"}
    )
    assert message.startswith("--max-rate: 0 is not")


def test_settings_know_their_file_and_what_an_error_calls_a_key() -> None:
    Path("harvester.toml").write_text("[regions]\ninclude = ['us-east-1']\n[log]\nlevel = 'info'\n")
    settings = load_settings(overrides={"log.level": "debug"}, origins={"log.level": "--verbose"})
    for each in (settings, check_settings(settings)):
        assert each.source == "harvester.toml"
        assert each.name_of("regions.include") == "harvester.toml:2: regions.include"
        assert each.name_of("log.level") == "--verbose"
        assert each.name_of("aws.profile") == "aws.profile"
    assert settings == Settings(regions={"include": ["us-east-1"]}, log={"level": "debug"})
    assert Settings().source is None
    with pytest.raises(AttributeError):
        settings.source = "x"  # type: ignore[misc]
