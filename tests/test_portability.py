"""Syncs and limits where a platform or a file system lacks something."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harvester import portability

_FULL_SYNC = 51
_Sync = Callable[[int], bool]
_SYNCS = [portability.sync_data, portability.sync_file]


def _failing(number: int) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The syncs that were called, all of which do nothing."""
    found: list[str] = []
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda _, name=name: found.append(name))
    return found


def test_content_alone_is_synced_by_fdatasync_where_it_exists(
    calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert portability.sync_data(1)
    assert portability.sync_file(1)
    monkeypatch.delattr(os, "fdatasync")
    assert portability.sync_data(1)
    assert calls == ["fdatasync", "fsync", "fsync"]


@pytest.mark.parametrize("sync", _SYNCS)
def test_the_drive_cache_is_flushed_where_that_takes_a_call_of_its_own(
    calls: list[str], monkeypatch: pytest.MonkeyPatch, sync: _Sync
) -> None:
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", _FULL_SYNC, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", lambda _, command: calls.append(f"{command}"))
    assert sync(1)
    assert calls == [f"{_FULL_SYNC}"]

    monkeypatch.setattr(fcntl, "fcntl", _failing(errno.ENOTSUP))
    assert sync(1)
    assert calls[1:] in (["fsync"], ["fdatasync"]), "as on a network file system"

    monkeypatch.setattr(fcntl, "fcntl", _failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        sync(1)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_sync_that_a_file_system_does_not_support_is_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int
) -> None:
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, _failing(number))
    assert [sync(1) for sync in _SYNCS] == [False, False]
    assert not portability.sync_folder(tmp_path)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_sync_that_fails_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int
) -> None:
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, _failing(number))
    for sync in _SYNCS:
        with pytest.raises(OSError, match=os.strerror(number)):
            sync(1)
    with pytest.raises(OSError, match=os.strerror(number)):
        portability.sync_folder(tmp_path)
