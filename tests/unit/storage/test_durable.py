from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from epochseal.storage.durable import (
    AppendFile,
    DiskFullError,
    DurabilityError,
    make_directory,
    replace_file,
    sync_directory,
)


@pytest.fixture(autouse=True)
def no_leaked_descriptor() -> Iterator[None]:
    """Fail a test that leaves a descriptor open: on an error path each must be closed too."""
    before = sorted(Path("/proc/self/fd").iterdir())
    yield
    assert sorted(Path("/proc/self/fd").iterdir()) == before


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a path at which no file is."""
    return tmp_path / "000001.log"


@contextlib.contextmanager
def opened(path: Path, *, create: bool = True) -> Iterator[AppendFile]:
    """Close the file at the end of the block."""
    file = AppendFile.open(path, create=create)
    try:
        yield file
    finally:
        file.close()


def test_short_writes_are_continued(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that takes 7 bytes at a time gets all of them, in order."""
    real = os.write
    data = bytes(range(256))
    with opened(path) as file:
        monkeypatch.setattr(os, "write", lambda fd, rest: real(fd, rest[:7]))
        file.append(data)
        assert file.length == 256
        file.check_length()
        replace_file(path.with_name("other"), data)
    assert path.read_bytes() == path.with_name("other").read_bytes() == data


def test_a_write_that_takes_nothing_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that takes no byte and reports no error does not make us spin."""
    with opened(path) as file:
        monkeypatch.setattr(os, "write", lambda _fd, _rest: 0)
        with pytest.raises(DurabilityError, match="took no byte"):
            file.append(b"line\n")


@pytest.fixture
def small_tmpfs(tmp_path: Path) -> Iterator[Path | None]:
    """Mount 64 KiB, or give None where that is not permitted."""
    where = tmp_path / "small"
    where.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", where], check=False).returncode:
        yield None
    else:
        yield where
        subprocess.run(["umount", where], check=True)


def test_a_full_disk_leaves_whole_lines(small_tmpfs: Path | None) -> None:
    """On ENOSPC the file ends with the last whole line, and goes on when there is room again."""
    if small_tmpfs is None:
        warnings.warn("mount is not permitted: /dev/full stands in for a full disk", stacklevel=1)
        write_to_dev_full()
        return
    line = b"x" * 999 + b"\n"
    filler = small_tmpfs / "filler"
    filler.write_bytes(bytes(20 * 1024))

    def fill(file: AppendFile) -> None:
        for _ in range(100):
            file.append(line)
            file.sync()

    with opened(small_tmpfs / "log") as file:
        with pytest.raises(DurabilityError, match=r"cannot write .*/log: No space left on device") as caught:
            fill(file)
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.hint == "free or add disk space"
        assert 40_000 <= file.length < 46_000
        assert (small_tmpfs / "log").read_bytes() == line * (file.length // 1000)
        file.check_length()
        filler.unlink()
        file.append(line)
        file.sync()
        assert (small_tmpfs / "log").read_bytes() == line * (file.length // 1000)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_without_descriptors_a_file_is_replaced_later(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As with a full disk: nothing of the call is left, and it may be made again."""
    replace_file(path, b"old")
    with monkeypatch.context() as patch:

        def refuse(*_: object) -> int:
            raise OSError(number, os.strerror(number))

        patch.setattr(os, "open", refuse)
        with pytest.raises(DiskFullError) as caught:
            replace_file(path, b"new")
        assert caught.value.hint is not None
        assert path.read_bytes() == b"old"
        with pytest.raises(DiskFullError):
            AppendFile.open(path.with_name("other"), create=True)
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"


def write_to_dev_full() -> None:
    """Appending to the device fails with ENOSPC; as a device cannot be cut back, that is final."""
    file = AppendFile(os.open("/dev/full", os.O_WRONLY), Path("/dev/full"), 0)
    try:
        with pytest.raises(DurabilityError, match="cannot write /dev/full: No space left") as caught:
            file.append(b"line\n")
        assert caught.value.errno == errno.ENOSPC
    finally:
        file.close()


def test_dev_full_refuses_as_a_full_disk_does() -> None:
    """The stand-in for a full disk works, so that a machine that permits no mount tests something."""
    write_to_dev_full()


def test_a_replacement_on_a_full_disk_keeps_the_old_content(small_tmpfs: Path | None, tmp_path: Path) -> None:
    """On ENOSPC the old file stands and no temporary file takes up the last of the room."""
    directory = tmp_path if small_tmpfs is None else small_tmpfs
    path = directory / "checkpoint"
    replace_file(path, b"old")
    if small_tmpfs is None:
        warnings.warn("mount is not permitted: the write fails by /dev/full", stacklevel=1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "write", lambda _, data: real_write_to_dev_full(data))
            with pytest.raises(DurabilityError, match="No space left on device"):
                replace_file(path, bytes(100_000))
    else:
        with pytest.raises(DurabilityError, match="No space left on device"):
            replace_file(path, bytes(100_000))
    assert path.read_bytes() == b"old"
    assert [found.name for found in directory.iterdir() if not found.is_dir()] == ["checkpoint"]


def real_write_to_dev_full(data: bytes) -> int:
    """Write through another interface than os.write, which is replaced here."""
    with Path("/dev/full").open("wb", buffering=0) as full:
        return full.write(data) or 0


def test_appends_follow_each_other(path: Path) -> None:
    """All kinds of buffers are taken; the length is the file's, also after opening again."""
    with opened(path) as file:
        file.append(b"one\n")
        file.append(bytearray(b"two\n"))
        file.append(memoryview(b"three\n"))
        file.append(b"")
        assert file.length == 14
        file.check_length()
    with opened(path, create=False) as file:
        assert file.length == 14
        file.append(b"four\n")
        assert os.pread(file.fileno(), 100, 0) == b"one\ntwo\nthree\nfour\n"


def test_a_created_file_is_for_owner_and_group(path: Path) -> None:
    """Mode 0640, whatever a generous umask would allow; the descriptor is not inherited by programs."""
    before = os.umask(0)
    try:
        with opened(path) as file:
            assert path.stat().st_mode & 0o7777 == 0o640
            assert not os.get_inheritable(file.fileno())
    finally:
        os.umask(before)


def test_an_existing_file_is_never_created_over(path: Path) -> None:
    """`create` refuses a file that is there and leaves it alone."""
    path.write_bytes(b"line\n")
    with pytest.raises(DurabilityError, match="File exists") as caught:
        AppendFile.open(path, create=True)
    assert caught.value.errno == errno.EEXIST
    assert path.read_bytes() == b"line\n"


def test_a_missing_file_is_not_created_by_the_way(path: Path) -> None:
    """Without `create` a missing file is an error."""
    with pytest.raises(DurabilityError, match="No such file"):
        AppendFile.open(path, create=False)
    assert not path.exists()


@pytest.mark.parametrize("create", [False, True])
def test_a_symbolic_link_is_refused(create: bool, path: Path) -> None:  # noqa: FBT001 - a parameter of the test, passed by name
    """Bytes never go where a planted link points to."""
    target = path.with_name("target")
    target.write_bytes(b"precious")
    path.symlink_to(target)
    with pytest.raises(DurabilityError, match=r"symbolic link|File exists"):
        AppendFile.open(path, create=create)
    assert target.read_bytes() == b"precious"


def test_only_regular_files_are_opened(path: Path) -> None:
    """A FIFO or a directory in the place of the file is refused, without hanging, and stays."""
    os.mkfifo(path)
    with pytest.raises(DurabilityError, match="not a regular file"):
        AppendFile.open(path, create=False)
    assert path.is_fifo()
    with pytest.raises(DurabilityError, match="Is a directory"):
        AppendFile.open(path.parent, create=False)


@pytest.mark.parametrize(
    ("meddle", "reason"),
    [
        (lambda path: os.truncate(path, 3), "shrank behind our back: 3 bytes instead of 5"),
        (lambda path: path.open("ab", buffering=0).write(b"x"), "grew behind our back: 6 bytes instead of 5"),
        (lambda path: path.unlink(), "was deleted behind our back"),
        (lambda path: replace_file(path, b"line\n"), "was deleted behind our back"),
    ],
)
def test_meddling_is_noticed(meddle: Callable[[Path], object], reason: str, path: Path) -> None:
    """A file that was cut, written, deleted or replaced by somebody else does not pass."""
    with opened(path) as file:
        file.append(b"line\n")
        file.check_length()
        meddle(path)
        with pytest.raises(DurabilityError, match=reason) as caught:
            file.check_length()
        assert caught.value.errno is None


def test_cutting_never_lengthens(path: Path) -> None:
    """A cut beyond the end, or before the start, is a mistake of the caller."""
    with opened(path) as file:
        file.append(b"line\n")
        for length in (6, -1):
            with pytest.raises(ValueError, match="cannot cut 5 bytes"):
                file.truncate(length)
        file.truncate(5)
        file.truncate(0)
        assert (file.length, path.read_bytes()) == (0, b"")


def test_a_closed_file_takes_nothing(path: Path) -> None:
    """Closing twice is harmless; writing afterwards is an error, never a write to another open file."""
    with opened(path) as file:
        file.close()
        assert file.fileno() == -1
        with path.with_name("other").open("wb") as other:
            with pytest.raises(DurabilityError, match="Bad file descriptor"):
                file.append(b"line\n")
            with pytest.raises(DurabilityError):
                file.sync()
            assert other.tell() == 0
    assert path.read_bytes() == b""


def test_a_leftover_of_a_crash_is_removed(path: Path) -> None:
    """Whatever a temporary file is, a link included, it is removed and never written through."""
    precious = path.with_name("precious")
    precious.write_bytes(b"precious")
    temporary = path.with_name(f".{path.name}.new")
    temporary.hardlink_to(precious)
    replace_file(path, b"1")
    temporary.symlink_to(precious)
    replace_file(path, b"2")
    assert path.read_bytes() == b"2"
    assert precious.read_bytes() == b"precious"
    assert sorted(path.parent.iterdir()) == sorted([path, precious])


def test_a_replacement_has_the_mode_asked_for(path: Path) -> None:
    """The mode is there from the first moment, also over a file that had a wider one, less the umask."""
    path.write_bytes(b"old")
    path.chmod(0o666)
    replace_file(path, b"new", mode=0o600)
    assert path.stat().st_mode & 0o7777 == 0o600
    before = os.umask(0o027)
    try:
        replace_file(path, b"new")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o7777 == 0o640


def test_an_empty_replacement_is_a_replacement(path: Path) -> None:
    """No bytes are content too."""
    path.write_bytes(b"old")
    replace_file(path, b"")
    assert path.read_bytes() == b""


def test_directories_get_the_mode_asked_for(tmp_path: Path) -> None:
    """Every new level is closed to others; a level that is there stays as it is."""
    tmp_path.chmod(0o755)
    make_directory(tmp_path / "a" / "b")
    make_directory(tmp_path / "a" / "b")
    for level, mode in ((tmp_path, 0o755), (tmp_path / "a", 0o750), (tmp_path / "a" / "b", 0o750)):
        assert level.stat().st_mode & 0o7777 == mode


def test_a_relative_directory_is_made_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path without a leading slash counts from the working directory."""
    monkeypatch.chdir(tmp_path)
    make_directory(Path("a/b"))
    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("below", ["file", "file/deeper", "dangling"])
def test_a_file_in_the_way_of_a_directory_is_an_error(below: str, tmp_path: Path) -> None:
    """What is no directory is not taken for one."""
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DurabilityError, match="File exists"):
        make_directory(tmp_path / below)


def test_only_directories_are_synced_as_such(tmp_path: Path) -> None:
    """A file or nothing in the place of a directory is an error with its number."""
    (tmp_path / "file").touch()
    for name, number in (("file", errno.ENOTDIR), ("missing", errno.ENOENT)):
        with pytest.raises(DurabilityError, match=f"cannot write .*/{name}: ") as caught:
            sync_directory(tmp_path / name)
        assert caught.value.errno == number
