"""`~` and variables in paths are expanded, or refused."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest

from harvester.errors import SettingsError
from harvester.settings import OutputSettings, Settings, check_settings, load_settings

HOME = "/home/some one"


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", HOME)
    monkeypatch.setenv("DAY", "monday")
    monkeypatch.setenv("PRICE", "$5")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("UNSET", raising=False)


ROOT = pwd.getpwuid(0)
EXPANDED = [
    ("~/x.ndjson", f"{HOME}/x.ndjson"),
    ("~/", f"{HOME}/"),
    (f"~{ROOT.pw_name}/x.ndjson", f"{ROOT.pw_dir}/x.ndjson"),
    ("out/$DAY.ndjson", "out/monday.ndjson"),
    ("out/${DAY}_1.ndjson", "out/monday_1.ndjson"),
    ("${DAY}/$DAY.ndjson.zst", "monday/monday.ndjson.zst"),
    ("$PRICE.ndjson", "$5.ndjson"),
    ("$$DAY.ndjson", "$DAY.ndjson"),
    ("a$.ndjson", "a$.ndjson"),
    ("a~b.ndjson", "a~b.ndjson"),
    ("./~x.ndjson", "./~x.ndjson"),
    ("-", "-"),
]


@pytest.mark.parametrize(("written", "meant"), EXPANDED)
def test_paths_of_options_are_expanded(written: str, meant: str) -> None:
    settings = load_settings(overrides={"output.path": written})
    assert settings.output.path == meant
    assert check_settings(check_settings(settings)) == settings, "once only"


def test_paths_of_the_config_file_are_expanded() -> None:
    Path("harvester.toml").write_text('[output]\npath = "~/$DAY/"\nsummary = "${DAY}.json"\n')
    output = load_settings().output
    assert (output.path, output.summary) == (f"{HOME}/monday/", "monday.json")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("$UNSET/x.ndjson", "$UNSET, which is not set or is empty"),
        ("${UNSET}/x.ndjson", "$UNSET, which is not set or is empty"),
        ("$EMPTY/x.ndjson", "$EMPTY, which is not set or is empty"),
        ("${DAY/x.ndjson", "malformed variable"),
        ("${}/x.ndjson", "malformed variable"),
        ("${DAY:-x}.ndjson", "malformed variable"),
        ("~nobody-of-this-name/x.ndjson", "'~nobody-of-this-name', whose home directory"),
        ("$AWS_SECRET_ACCESS_KEY.ndjson", "may be a secret"),
    ],
)
@pytest.mark.parametrize("key", ["output.path", "output.summary"])
def test_a_path_that_cannot_be_expanded_is_refused(
    written: str, said: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    with pytest.raises(SettingsError) as caught:
        load_settings(overrides={key: written}, origins={key: "--option"})
    message = str(caught.value)
    assert message.startswith("--option: ")
    assert said in message
    assert "hunter2" not in message
    section, _, name = key.partition(".")
    Path("harvester.toml").write_text(f"[{section}]\n{name} = '{written}'\n")
    with pytest.raises(SettingsError, match=rf"^harvester\.toml:2: {section}\.{name}: "):
        load_settings()


@pytest.mark.parametrize("home", ["", "relative"])
def test_a_home_that_is_no_absolute_path_is_refused(
    home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", home)
    with pytest.raises(SettingsError, match="home directory is unknown"):
        load_settings(overrides={"output.path": "~/x.ndjson"})


def test_paths_given_in_code_are_taken_as_they_are() -> None:
    settings = Settings(output=OutputSettings(path="~/$DAY.ndjson"))
    assert check_settings(settings).output.path == "~/$DAY.ndjson"


def test_an_expanded_path_is_checked_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAY", "a\nb")
    with pytest.raises(SettingsError, match="no control characters"):
        load_settings(overrides={"output.path": "$DAY.ndjson"})
