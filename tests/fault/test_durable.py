from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from epochseal.storage.durable import AppendFile, DurabilityError, make_directory, replace_file

CALLS = ("open", "write", "fdatasync", "fsync", "ftruncate", "rename", "unlink", "mkdir")
MODES = ("not done", "half done", "done")


class Faults:
    """Records the system calls, and fails one of them: before it is done, half-way, or after.

    Args:
        victim: the number of the call to fail, from 0; None for none.
        mode: of MODES; only a write can be half done.
        later: fail all the calls after it too, as a disk that is gone does.
    """

    def __init__(self, victim: int | None = None, mode: str = "not done", *, later: bool = False) -> None:
        self.victim = victim
        self.mode = mode
        self.later = later
        self.trace: list[str] = []

    @contextlib.contextmanager
    def active(self) -> Iterator[Faults]:
        """Put the faults between `os` and everything that calls it, for the length of the block."""
        with pytest.MonkeyPatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, partial(self._call, name, getattr(os, name)))
            yield self

    def _call(self, name: str, real: Callable[..., Any], *args: Any, **options: Any) -> Any:  # noqa: ANN401 - stands for eight functions
        number = len(self.trace)
        self.trace.append(name)
        if self.victim is None or number < self.victim or (number > self.victim and not self.later):
            return real(*args, **options)
        if self.mode == "done":
            result = real(*args, **options)
            if name == "open":
                os.close(result)
        elif self.mode == "half done" and name == "write":
            fd, data = args
            real(fd, data[: len(data) // 2])
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def faults_for(calls: int) -> list[Any]:
    """Every way to fail one of so many calls."""
    return [
        pytest.param(
            Faults(victim, mode, later=later), id=f"{victim}-{mode}{'-and-all-later' if later else ''}"
        )
        for victim in range(calls)
        for mode in MODES
        for later in (False, True)
    ]


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


def is_unusable(file: AppendFile) -> bool:
    """Whether every method refuses; it must be all of them or none."""
    refused = []
    for call in (partial(file.append, b""), file.check_length, file.sync):
        try:
            call()
            refused.append(False)
        except DurabilityError as exc:
            refused.append("an earlier write or sync failed" in str(exc))
    assert len(set(refused)) == 1
    return refused[0]


def test_the_system_calls_of_an_append_file_are_the_documented_ones(path: Path) -> None:
    """The name is durable before the first byte; a commit is one write and one fdatasync."""
    with Faults().active() as seen, opened(path) as file:
        assert seen.trace == ["open", "open", "fsync"]
        file.append(b"line\n")
        assert seen.trace[3:] == ["write"]
        file.sync()
        assert seen.trace[4:] == ["fdatasync"]
        file.check_length()
        assert len(seen.trace) == 5
        file.truncate(2)
        assert seen.trace[5:] == ["ftruncate", "fsync"]
    with Faults().active() as seen, opened(path, create=False):
        assert seen.trace == ["open", "open", "fsync"]


def test_the_system_calls_of_a_replacement_are_the_documented_ones(path: Path) -> None:
    """The new content is on the disk before the name points to it, the name before the call returns."""
    with Faults().active() as seen:
        replace_file(path, b"new")
    assert seen.trace == ["unlink", "open", "write", "fsync", "rename", "open", "fsync"]


def test_the_system_calls_of_a_new_directory_are_the_documented_ones(tmp_path: Path) -> None:
    """Each level is durable before the next one is made in it."""
    with Faults().active() as seen:
        make_directory(tmp_path / "a" / "b")
    assert seen.trace == ["open", "fsync"] + ["mkdir", "open", "fsync"] * 2


@pytest.mark.parametrize("faults", faults_for(7))
def test_a_replacement_that_fails_anywhere_leaves_old_or_new(faults: Faults, path: Path) -> None:
    """Whatever call fails, done or not, the file is whole; the next replacement works and leaves nothing."""
    old, new = b"old content", b"the new content"
    path.write_bytes(old)
    path.with_name(f".{path.name}.new").write_bytes(b"left by a crash")
    with faults.active(), pytest.raises(DurabilityError) as caught:
        replace_file(path, new)
    assert caught.value.errno == errno.EIO
    assert faults.victim is not None
    renamed = faults.victim > 4 or (faults.victim == 4 and faults.mode == "done")
    assert path.read_bytes() == (new if renamed else old)
    replace_file(path, b"newest")
    assert path.read_bytes() == b"newest"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("faults", faults_for(3))
def test_a_creation_that_fails_anywhere_can_be_repeated(faults: Faults, path: Path) -> None:
    """A file that could not be created durably is gone, or is empty where the disk let nothing be removed."""
    with faults.active(), pytest.raises(DurabilityError):
        AppendFile.open(path, create=True)
    left = path.exists()
    if left:
        assert path.read_bytes() == b""
        assert faults.later or (faults.victim == 0 and faults.mode == "done")
    with opened(path, create=not left) as file:
        file.append(b"line\n")
    assert path.read_bytes() == b"line\n"


@pytest.mark.parametrize("faults", faults_for(8))
def test_a_session_that_fails_anywhere_knows_what_is_on_disk(faults: Faults, path: Path) -> None:
    """Synced bytes stay; after an error the object refuses all work, or the file is exactly as it was before.

    A second fault may hit the cleaning up: `later` fails the ftruncate of a failed write as well.
    """
    content = synced = b""  # what was appended, and what of it must be on the disk

    def session(file: AppendFile) -> None:
        nonlocal content, synced
        for data in (b"first\n", b"second\n", b"third\n"):
            file.append(data)
            content += data
            file.sync()
            synced = content
        synced = content[:6]  # from here on the cut may be on the disk
        file.truncate(6)

    with opened(path) as file:
        with faults.active(), pytest.raises(DurabilityError):
            session(file)
        found = path.read_bytes()
        assert found.startswith(synced)
        if is_unusable(file):
            assert file.length <= len(content)
        else:
            assert found == content
            assert file.length == len(content)
            file.append(b"more\n")
            file.sync()
            assert path.read_bytes() == content + b"more\n"
    with opened(path, create=False) as again:
        again.truncate(len(synced))
        again.append(b"after\n")
        assert path.read_bytes() == synced + b"after\n"


@pytest.mark.parametrize("faults", faults_for(8))
def test_a_directory_that_fails_anywhere_can_be_made_again(faults: Faults, tmp_path: Path) -> None:
    """After a failed call the next one makes what is missing, and syncs what the failed one may not have."""
    wanted = tmp_path / "a" / "b"
    with faults.active():
        # The first two calls sync the level that is there already: its errors are not ours.
        if faults.victim in (0, 1) and not faults.later:
            make_directory(wanted)
        else:
            with pytest.raises(DurabilityError):
                make_directory(wanted)
    missing = sum(not level.exists() for level in (wanted, wanted.parent))
    with Faults().active() as seen:
        make_directory(wanted)
    assert wanted.is_dir()
    assert seen.trace == ["open", "fsync"] + ["mkdir", "open", "fsync"] * missing


def test_a_failed_write_is_cut_off_again(path: Path) -> None:
    """After a write that stopped half-way the file is as before, and the object goes on."""
    with opened(path) as file:
        file.append(b"whole\n")
        with Faults(0, "half done").active() as seen, pytest.raises(DurabilityError):
            file.append(b"torn line\n")
        assert seen.trace == ["write", "ftruncate"]
        assert path.read_bytes() == b"whole\n"
        assert file.length == 6
        assert not is_unusable(file)


def test_a_torn_line_that_cannot_be_cut_off_is_never_written_after(path: Path) -> None:
    """When the ftruncate fails as well, nothing is ever appended behind the torn bytes."""
    with opened(path) as file:
        with Faults(0, "half done", later=True).active(), pytest.raises(DurabilityError):
            file.append(b"torn line\n")
        assert path.read_bytes() == b"torn "
        assert is_unusable(file)
        with pytest.raises(DurabilityError, match="earlier write or sync failed: Input/output") as caught:
            file.append(b"next\n")
        assert caught.value.errno == errno.EIO
        assert "open the file again" in str(caught.value.hint)
        assert path.read_bytes() == b"torn "


def test_a_failed_sync_is_final(path: Path) -> None:
    """The kernel may have dropped the dirty pages: a second fdatasync that succeeds proves nothing."""
    with opened(path) as file:
        file.append(b"line\n")
        with Faults(0).active(), pytest.raises(DurabilityError, match=r"cannot write .*: Input/output error"):
            file.sync()
        with Faults().active() as seen:
            for call in (file.sync, partial(file.append, b"x"), file.check_length, partial(file.truncate, 0)):
                with pytest.raises(DurabilityError, match="an earlier write or sync failed"):
                    call()
        assert seen.trace == []


def test_a_file_that_shrank_is_not_filled_with_zeros(path: Path) -> None:
    """Cutting back after a failed write never makes a file longer that somebody else cut."""
    with opened(path) as file:
        file.append(b"whole\n")
        os.truncate(path, 2)
        with Faults(0).active(), pytest.raises(DurabilityError):
            file.append(b"more\n")
        assert path.read_bytes() == b"wh"
        assert is_unusable(file)
