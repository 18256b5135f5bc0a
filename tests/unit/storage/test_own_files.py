"""Files that decide what is believed: only our own are read, and nobody can keep us from writing them."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from epochseal.errors import ConfigError, StorageError
from epochseal.storage import own_files
from epochseal.storage.own_files import check_own_folder, locked, read_own


def a_link(path: Path) -> None:
    """To a file that is ours."""
    target = path.with_name("target")
    target.write_bytes(b"trusted")
    path.symlink_to(target)


def a_pipe(path: Path) -> None:
    """Nobody writes into it: who opened it would wait for ever."""
    os.mkfifo(path, 0o600)


def a_folder(path: Path) -> None:
    """In the place of a file."""
    path.mkdir(mode=0o700)


def writable_by_others(path: Path) -> None:
    """They would decide."""
    path.write_bytes(b"trusted")
    path.chmod(0o602)


def writable_by_a_group(path: Path) -> None:
    """As well."""
    path.write_bytes(b"trusted")
    path.chmod(0o620)


@pytest.mark.parametrize("make", [a_link, a_pipe, a_folder, writable_by_others, writable_by_a_group])
def test_what_is_not_ours_alone_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """At once, and by name."""
    path = tmp_path / "file"
    make(path)
    with pytest.raises(ConfigError, match=str(path)):
        read_own(path, 10)


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They could change it at any time, whatever its mode."""
    path = tmp_path / "file"
    path.write_bytes(b"trusted")
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(ConfigError, match="belongs to another user"):
        read_own(path, 10)


def test_what_is_ours_is_read_to_a_limit(tmp_path: Path) -> None:
    """One byte more than allowed says that there is more; what is not there is nothing."""
    path = tmp_path / "file"
    assert read_own(path, 4) is None
    path.write_bytes(b"trusted")
    path.chmod(0o644)
    assert (read_own(path, 4), read_own(path, 10)) == (b"trust", b"trusted")


def test_a_folder_that_others_may_write_is_refused(tmp_path: Path) -> None:
    """They could exchange the files in it."""
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o700)
    check_own_folder(folder)
    folder.chmod(0o777)
    with pytest.raises(ConfigError, match="others may write"):
        check_own_folder(folder)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(ConfigError, match="no folder"):
        check_own_folder(tmp_path / "link")


def test_a_lock_is_not_waited_for_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may read a file may lock it: that keeps nobody waiting."""
    monkeypatch.setattr(own_files, "LOCK_SECONDS", 0.1)
    path = tmp_path / "file"
    path.write_bytes(b"trusted")
    holder = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="another process has held it"), locked(path):
            pass
    finally:
        os.close(holder)
    with locked(path):
        pass


def test_what_is_locked_is_closed_to_others(tmp_path: Path) -> None:
    """A file that others may read could be locked by them, and is closed to them; so is a folder."""
    path, folder = tmp_path / "file", tmp_path / "folder"
    path.write_bytes(b"trusted")
    path.chmod(0o644)
    folder.mkdir(0o755)
    for place, mode in ((path, 0o600), (folder, 0o700)):
        with locked(place):
            assert stat.S_IMODE(place.stat().st_mode) == mode
    path.chmod(0o622)
    with locked(path):
        # Whoever reads it refuses it.
        assert stat.S_IMODE(path.stat().st_mode) == 0o622


def test_the_lock_is_on_the_file_of_that_name(tmp_path: Path) -> None:
    """A file that was replaced while it was held is held no more: the next one locks the new file."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with locked(path):
        (tmp_path / "new").write_bytes(b"new")
        (tmp_path / "new").rename(path)
        with locked(path):
            assert path.read_bytes() == b"new"
