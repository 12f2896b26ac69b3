"""Where a demo writes, and that it replaces files of earlier demos alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from harvester.demo_files import MARKER, claim, files_for
from harvester.errors import SettingsError


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("option", "output", "summary"),
    [
        ("x.ndjson", "x.ndjson", "summary.json"),
        ("a/x.ndjson", "a/x.ndjson", "a/summary.json"),
        ("a/", "a/", "a/summary.json"),
        ("there", "there", "there/summary.json"),
    ],
)
def test_the_summary_lies_beside_a_file_and_in_a_directory(
    option: str, output: str, summary: str
) -> None:
    Path("there").mkdir()
    files = files_for(option)
    assert (files.output, files.summary) == (output, summary)


def test_variables_are_expanded(tmp_path: Path) -> None:
    assert files_for("~/x.ndjson").output == f"{tmp_path}/x.ndjson"


@pytest.mark.parametrize("option", ["new/x.ndjson", "new/"])
def test_a_later_demo_may_replace_what_is_in_a_directory_that_a_demo_made(option: str) -> None:
    claim(files_for(option))
    assert Path("new", MARKER).is_file()
    for name in ("x.ndjson", "summary.json", "other"):
        Path("new", name).write_text("old")
    claim(files_for(option))


def test_a_directory_that_exists_is_never_marked() -> None:
    Path("mine").mkdir()
    claim(files_for("mine/x.ndjson"))
    claim(files_for("mine/"))
    assert [*Path("mine").iterdir()] == []
    Path("mine/x.ndjson").write_text("of the first demo, or of the user")
    for option in ("mine/x.ndjson", "mine/", "mine"):
        with pytest.raises(SettingsError, match=r"would replace .*x\.ndjson, which no demo made"):
            claim(files_for(option))


def test_a_link_with_a_name_that_the_demo_needs_is_refused() -> None:
    Path("summary.json").symlink_to("nowhere")
    with pytest.raises(SettingsError, match=r"would replace .*summary\.json"):
        claim(files_for("x.ndjson"))
