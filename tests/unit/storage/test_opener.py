"""Whatever stands under a name: it is a regular file, or it is refused at once."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from epochseal.errors import StorageError
from epochseal.storage.opener import GoneError, NotAFileError, open_file, read_file


def make(path: Path, kind: str) -> None:
    """Something that is no regular file."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.with_name("target").write_bytes(b"what its owner did not mean")
        path.symlink_to("target")
    elif kind == "dangling link":
        path.symlink_to("nowhere")
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))


@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "dangling link", "link to a device", "socket"])
def test_what_is_no_file(tmp_path: Path, kind: str) -> None:
    """It is refused, without waiting for anybody."""
    make(tmp_path / "name", kind)
    with pytest.raises(NotAFileError, match="no regular file"):
        open_file(tmp_path / "name")


def test_a_device() -> None:
    """It is refused before it is opened."""
    with pytest.raises(NotAFileError):
        open_file(Path("/dev/zero"))


def test_what_is_gone(tmp_path: Path) -> None:
    """Another error than that it cannot be read: it may have been there a moment ago."""
    with pytest.raises(GoneError):
        open_file(tmp_path / "name")


def test_what_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that says which file it is, and why."""
    (tmp_path / "name").write_bytes(b"")

    def refuse(path: Path, _flags: int) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageError, match="name: Permission denied"):
        open_file(tmp_path / "name")


@pytest.mark.parametrize(("size", "read"), [(0, 0), (9, 9), (10, 10), (11, 11), (12, 11)])
def test_a_limit(tmp_path: Path, size: int, read: int) -> None:
    """As much as the limit says, and one byte more where there is more, so that it shows."""
    (tmp_path / "name").write_bytes(b"x" * size)
    assert read_file(tmp_path / "name", 10) == b"x" * read


def test_a_link_that_is_put_there_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is exchanged for a link after it was looked at is not followed either."""
    path = tmp_path / "name"
    path.write_bytes(b"")
    real = os.stat

    def look(name: Path, *, follow_symlinks: bool) -> os.stat_result:
        found = real(name, follow_symlinks=follow_symlinks)
        path.unlink()
        path.symlink_to("/dev/zero")
        return found

    monkeypatch.setattr(os, "stat", look)
    with pytest.raises(NotAFileError):
        open_file(path)
