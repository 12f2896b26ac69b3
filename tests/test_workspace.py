"""The folder beside an output: private, one run at a time, no leftovers in the way."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from harvester.errors import OutputBusyError, OutputError
from harvester.output.workspace import (
    Workspace,
    cannot_write,
    check_replaceable,
    make_private,
    write_private,
)

_HOLD = """
import sys
from pathlib import Path
from harvester.output.workspace import Workspace

work = Workspace(Path(sys.argv[1]))
work.open()
work.create("spool")
print("held", flush=True)
sys.stdin.read()
"""


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_in_it_stays_when_it_is_closed(tmp_path: Path) -> None:
    work = Workspace(tmp_path / "a" / "work")
    work.open()
    file = work.create("spool")
    os.write(file, b"so far")
    os.close(file)
    work.close()
    work.close()
    assert _names(tmp_path / "a" / "work") == ["lock", "spool"]

    work.open()
    kept = work.create("spool", keep=True)
    assert os.read(kept, 100) == b"so far"
    os.close(kept)
    os.close(work.create("spool"))
    assert (work.folder / "spool").stat().st_size == 0
    work.close()


def test_it_is_gone_when_it_is_removed(tmp_path: Path) -> None:
    work = Workspace(tmp_path / "a" / "work")
    work.open()
    os.close(work.create("spool"))
    work.remove()
    work.close()

    assert _names(tmp_path / "a") == []


def test_who_does_not_hold_it_removes_nothing(tmp_path: Path) -> None:
    first, second = Workspace(tmp_path / "work"), Workspace(tmp_path / "work")
    first.open()
    os.close(first.create("spool"))
    second.remove()
    with pytest.raises(OutputBusyError):
        second.open()
    second.remove()
    first.close()
    first.remove()

    assert _names(tmp_path / "work") == ["lock", "spool"]


def test_one_run_at_a_time(tmp_path: Path) -> None:
    first, second = Workspace(tmp_path / "work"), Workspace(tmp_path / "work")
    first.open()
    os.close(first.create("spool"))
    with pytest.raises(OutputBusyError, match="another run"):
        second.open()
    second.close()
    assert (tmp_path / "work" / "spool").exists(), "who was refused clears nothing away"

    first.close()
    second.open()
    second.close()


def test_another_process_holds_it_until_it_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(OutputBusyError):
            Workspace(folder).open()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (folder / "lock").exists()
    assert (folder / "spool").exists()

    work = Workspace(folder)
    work.open()
    assert _names(folder) == ["lock", "spool"]
    work.close()


def test_whatever_is_in_it_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    (folder / "folder" / "inner").mkdir(parents=True)
    (folder / "file").write_text("left")
    (folder / "lock").write_text("pid 1")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("not ours")
    (folder / "link").symlink_to(elsewhere)
    (folder / "dangling").symlink_to(tmp_path / "nowhere")
    work = Workspace(folder)
    work.open()
    work.remove()
    work.close()

    assert _names(tmp_path) == ["elsewhere"]
    assert elsewhere.read_text() == "not ours"


def test_a_linked_folder_inside_is_unlinked_and_not_emptied(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "work", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("not ours")
    (folder / "spool").symlink_to(elsewhere, target_is_directory=True)
    work = Workspace(folder)
    work.open()
    work.remove()
    work.close()

    assert _names(tmp_path) == ["elsewhere"]
    assert (elsewhere / "precious").read_text() == "not ours"


@pytest.mark.parametrize("name", ["spool", "journal"])
def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path, name: str) -> None:
    precious = tmp_path / "precious"
    precious.write_text("not ours")
    work = Workspace(tmp_path / "work")
    work.open()
    (work.folder / name).symlink_to(precious)
    for keep in (True, False):
        with pytest.raises(OSError, match="symbolic links"):
            work.create(name, keep=keep)
    with pytest.raises(OSError, match="symbolic links"):
        work.open_file(name)
    work.close()

    assert precious.read_text() == "not ours"


@pytest.mark.parametrize("kind", ["link", "dangling link", "file"])
def test_what_is_in_the_way_is_refused_and_left(tmp_path: Path, kind: str) -> None:
    folder, elsewhere = tmp_path / "work", tmp_path / "elsewhere"
    if kind == "link":
        elsewhere.mkdir()
        (elsewhere / "precious").write_text("not ours")
    if kind == "file":
        folder.write_text("not ours")
    else:
        folder.symlink_to(elsewhere, target_is_directory=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError) as caught:
        Workspace(folder).open()

    assert not isinstance(caught.value, OutputBusyError)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_in_the_place_of_the_lock_is_refused(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("not ours")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "lock").symlink_to(precious)
    with pytest.raises(OutputError):
        Workspace(tmp_path / "work").open()

    assert precious.read_text() == "not ours"


@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
def test_what_others_may_have_written_is_not_trusted(tmp_path: Path, mode: int) -> None:
    folder, precious = tmp_path / "work", tmp_path / "precious"
    precious.write_text("not ours")
    folder.mkdir()
    folder.chmod(mode)
    for name in ("lock", "spool", "journal"):
        (folder / name).hardlink_to(precious)
    work = Workspace(folder)
    work.open()
    os.write(descriptor := work.create("spool"), b"findings")
    os.close(descriptor)

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name for path in folder.iterdir()} == {"lock", "spool"}
    assert precious.read_text() == "not ours"
    work.close()


def test_what_others_could_only_read_is_gone_on_with(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "journal").write_text("ours")
    work = Workspace(folder)
    work.open()
    work.close()

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / "journal").read_text() == "ours"


def test_what_is_made_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        work = Workspace(tmp_path / "new" / "work")
        work.open()
        os.close(work.create("spool"))
        write_private(tmp_path / "other" / "summary.json", b"{}")
    finally:
        os.umask(before)

    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in tmp_path.rglob("*")
        if path.exists()
    }
    work.close()
    assert modes == {
        **dict.fromkeys(("new", "work", "other"), 0o700),
        **dict.fromkeys(("lock", "spool", "summary.json"), 0o600),
    }


def test_a_folder_of_another_user_is_refused_and_left(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        folder = tmp_path / "work"
        folder.mkdir()
        (folder / "precious").write_text("not ours")
        os.chown(folder, 65534, 65534)
    else:
        folder = Path("/usr")
    before = sorted(folder.iterdir())
    with pytest.raises(OutputError, match="not a folder of this user"):
        Workspace(folder).open()

    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "folder"])
def test_what_a_finished_file_must_not_replace(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "out.ndjson"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path if kind == "link" else tmp_path / "nowhere")
    with pytest.raises(OutputError, match="would be replaced") as caught:
        check_replaceable(path)

    assert caught.value.exit_code == 5


def test_what_a_finished_file_may_replace(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    for name in ("old", "new", "new/deep", "link/new"):
        check_replaceable(tmp_path / name)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "there" / "full").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        write_private(tmp_path / "there", b"{}")

    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    for folder in (tmp_path / "file" / "work", Path("/proc/nowhere/work"), tmp_path / ("x" * 300)):
        with pytest.raises(OutputError, match="cannot be written") as caught:
            Workspace(folder).open()
        assert caught.value.hint


def test_folders_that_were_there_keep_their_mode(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(0o755)
    (tmp_path / "a").chmod(0o755)
    make_private(tmp_path / "a" / "b" / "c")

    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b", "a/b/c")]
    assert modes == [0o755, 0o700, 0o700]


def test_many_who_come_and_go_never_hold_it_together(tmp_path: Path) -> None:
    """Threads stand for processes: a lock belongs to an open file, not to a process."""
    guard, held, unexpected = threading.Lock(), list[int](), list[BaseException]()

    def come_and_go(number: int) -> None:
        for _ in range(150):
            work = Workspace(tmp_path / "work")
            try:
                work.open()
            except OutputBusyError:
                continue
            except BaseException as error:  # noqa: BLE001  # shown by the assertion below
                unexpected.append(error)
                continue
            with guard:
                held.append(number)
                if len(held) > 1:
                    unexpected.append(AssertionError("held twice"))
            os.close(work.create("spool"))
            with guard:
                held.remove(number)
            if number % 2:  # some are finished, others will go on
                work.remove()
            work.close()

    threads = [threading.Thread(target=come_and_go, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert unexpected == []


@pytest.mark.parametrize(
    "number", [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL]
)
def test_a_file_system_without_locks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    files = sum(1 for _ in Path("/proc/self/fd").iterdir())
    with pytest.raises(OutputError, match="does not support file locks") as caught:
        Workspace(tmp_path / "work").open()

    assert not isinstance(caught.value, OutputBusyError)
    assert os.strerror(number) in str(caught.value)
    assert caught.value.hint
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == files


def test_a_lock_that_fails_otherwise_is_an_output_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OutputError, match="cannot be written: Input/output error"):
        Workspace(tmp_path / "work").open()


def test_the_owner_of_a_folder_is_the_run_that_claimed_it_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    first, second = Workspace(tmp_path / "work"), Workspace(tmp_path / "work")
    first.open()
    first.claim()
    first.check_owner()
    second.open()
    first.check_owner()
    second.claim()
    second.check_owner()
    with pytest.raises(OutputBusyError, match="another run has taken over"):
        first.check_owner()
    assert isinstance(first.failure(OSError(errno.EIO, "")), OutputBusyError)
    assert not isinstance(second.failure(OSError(errno.EIO, "")), OutputBusyError)
    first.remove()
    assert _names(tmp_path / "work") == ["lock", "owner"]
    second.remove()
    with pytest.raises(OutputBusyError):
        first.check_owner()
    assert not (tmp_path / "work").exists()
    first.close()
    second.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_reported_with_the_room_that_a_sweep_needs(number: int) -> None:
    error = cannot_write(Path("out"), OSError(number, os.strerror(number)))
    assert os.strerror(number) in str(error)
    assert "about twice the size of its output" in (error.hint or "")
