"""A config file that nobody named is read only if no other user can have written it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harvester.errors import SettingsError
from harvester.settings import load_settings

TEXT = "[limits]\nmax_rate = 3.0\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a config file."""
    folder = tmp_path / "work"
    folder.mkdir(mode=0o700)
    monkeypatch.chdir(folder)
    (folder / "harvester.toml").write_text(TEXT)
    (folder / "harvester.toml").chmod(0o600)
    return folder


def refused() -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings()
    message = str(caught.value)
    assert message.startswith("harvester.toml: not used, because ")
    assert "-c harvester.toml" in message
    assert message.isprintable()
    return message


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a path, and all others of this user, belong to another user who is not root."""
    if os.geteuid() == 0:
        os.chown(path, 12345, -1, follow_symlinks=False)
    else:
        other = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: other)


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o444])
def test_a_file_of_this_user_alone_is_read(folder: Path, mode: int) -> None:
    (folder / "harvester.toml").chmod(mode)
    folder.chmod(0o755)
    settings = load_settings()
    assert (settings.limits.max_rate, settings.source) == (3.0, "harvester.toml")


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_refused(folder: Path, mode: int) -> None:
    (folder / "harvester.toml").chmod(mode)
    assert "the file is writable by other users" in refused()


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_directory_in_which_others_may_write_is_refused(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    assert f"its directory {folder} is writable by other users" in refused()


def test_a_file_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_away(folder / "harvester.toml", monkeypatch)
    assert "the file belongs to another user (uid " in refused()


def test_a_directory_of_another_user_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_away(folder, monkeypatch)
    assert "belongs to another user" in refused()


def test_a_named_file_is_trusted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "harvester.toml").chmod(0o666)
    folder.chmod(0o777)
    give_away(folder / "harvester.toml", monkeypatch)
    assert load_settings("harvester.toml").limits.max_rate == 3.0


def linked(folder: Path, target: Path) -> Path:
    target.parent.mkdir(mode=0o700, exist_ok=True)
    (folder / "harvester.toml").rename(target)
    (folder / "harvester.toml").symlink_to(target)
    return target


def test_a_link_to_a_file_of_this_user_alone_is_followed(folder: Path, tmp_path: Path) -> None:
    linked(folder, tmp_path / "there" / "x.toml")
    assert load_settings().limits.max_rate == 3.0


def test_a_link_of_another_user_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked(folder, tmp_path / "there" / "x.toml")
    give_away(folder / "harvester.toml", monkeypatch)
    assert "belongs to another user" in refused()


def test_a_link_to_a_file_that_others_may_write_is_refused(folder: Path, tmp_path: Path) -> None:
    linked(folder, tmp_path / "there" / "x.toml").chmod(0o646)
    assert "the file is writable by other users" in refused()


def test_a_link_into_a_directory_in_which_others_may_write_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    linked(folder, tmp_path / "there" / "x.toml").parent.chmod(0o777)
    assert f"its directory {tmp_path}/there is writable by other users" in refused()


def test_a_link_that_leads_nowhere_is_refused(folder: Path) -> None:
    (folder / "harvester.toml").unlink()
    (folder / "harvester.toml").symlink_to("nowhere.toml")
    with pytest.raises(SettingsError, match="there is no such file"):
        load_settings()


def test_a_pipe_is_refused_at_once(folder: Path) -> None:
    (folder / "harvester.toml").unlink()
    os.mkfifo(folder / "harvester.toml", 0o600)
    assert "not a regular file" in refused()


def test_a_directory_with_the_name_is_refused(folder: Path) -> None:
    (folder / "harvester.toml").unlink()
    (folder / "harvester.toml").mkdir(0o700)
    assert "not a regular file" in refused()


def test_without_a_file_the_directory_does_not_matter(folder: Path) -> None:
    (folder / "harvester.toml").unlink()
    folder.chmod(0o777)
    assert load_settings().source is None
