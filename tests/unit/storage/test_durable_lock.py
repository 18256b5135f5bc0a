from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from epochseal.errors import LogBusy
from epochseal.storage.durable import DirectoryLock, DurabilityError


@pytest.fixture(autouse=True)
def no_leaked_descriptor() -> Iterator[None]:
    """Fail a test that leaves a descriptor open: on an error path each must be closed too."""
    before = sorted(Path("/proc/self/fd").iterdir())
    yield
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def holder(directory: Path, after: Callable[[], object] = lambda: None) -> int:
    """Fork a process that takes the lock, acts, and then waits to be killed; it holds the lock on return."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            lock = DirectoryLock(directory)
            after()
            os.write(writer, b"x")
            signal.pause()
            lock.close()
        os._exit(1)
    os.close(writer)
    assert os.read(reader, 1) == b"x"
    os.close(reader)
    return child


def kill(child: int) -> None:
    """Kill -9, and wait until the process is gone."""
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_one_agent_a_directory(tmp_path: Path) -> None:
    """A second lock is refused with a hint; closing the first lets the next one in."""
    with DirectoryLock(tmp_path):
        with pytest.raises(LogBusy, match=f"another agent holds {tmp_path}") as caught:
            DirectoryLock(tmp_path)
        assert caught.value.hint is not None
        assert list(tmp_path.iterdir()) == []
        with DirectoryLock(tmp_path.parent):
            pass
    with DirectoryLock(tmp_path) as lock:
        lock.close()
        with DirectoryLock(tmp_path):
            lock.close()
            with pytest.raises(LogBusy):
                DirectoryLock(tmp_path)


def test_a_killed_agent_holds_nothing(tmp_path: Path) -> None:
    """After kill -9 the directory is free at once: there is no stale lock to remove."""
    child = holder(tmp_path)
    with pytest.raises(LogBusy):
        DirectoryLock(tmp_path)
    kill(child)
    with DirectoryLock(tmp_path):
        pass


def test_a_child_of_the_holder_keeps_the_lock(tmp_path: Path) -> None:
    """What the docstring warns of: a child forked under the lock holds it past the kill -9 of the agent."""
    reader, writer = os.pipe()

    def leave_a_child() -> None:
        grandchild = os.fork()
        if grandchild == 0:
            signal.pause()
        os.write(writer, str(grandchild).encode())

    child = holder(tmp_path, leave_a_child)
    grandchild = int(os.read(reader, 20))
    kill(child)
    with pytest.raises(LogBusy):
        DirectoryLock(tmp_path)
    # The grandchild is not ours to wait for: its end is seen at a pipe that only it still holds open.
    os.close(writer)
    os.kill(grandchild, signal.SIGKILL)
    assert os.read(reader, 1) == b""
    os.close(reader)
    with DirectoryLock(tmp_path):
        pass


def test_a_program_started_under_the_lock_does_not_keep_it(tmp_path: Path) -> None:
    """The descriptor is closed on exec, as it must be for `epochseal exec`, whose command may outlive it."""
    lock = DirectoryLock(tmp_path)
    code = "print('running', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"running\n"  # the exec is over
        lock.close()
        with DirectoryLock(tmp_path):
            pass
        program.communicate(b"\n")


def test_closing_in_a_child_does_not_release_the_parents_lock(tmp_path: Path) -> None:
    """A child that unwinds its `with` blocks takes nothing from the agent."""
    with DirectoryLock(tmp_path) as lock:
        child = os.fork()
        if child == 0:
            lock.close()
            os._exit(0)
        os.waitpid(child, 0)
        with pytest.raises(LogBusy):
            DirectoryLock(tmp_path)


def test_a_file_system_without_locks_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that cannot be had for another reason than a holder is not reported as busy."""

    def refuse(_fd: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(DurabilityError, match="No locks available"):
        DirectoryLock(tmp_path)


def test_only_a_directory_is_locked(tmp_path: Path) -> None:
    """A file or nothing in the place of a log directory is named as such, not as busy."""
    (tmp_path / "file").touch()
    for name, number in (("file", errno.ENOTDIR), ("missing", errno.ENOENT)):
        with pytest.raises(DurabilityError) as caught:
            DirectoryLock(tmp_path / name)
        assert caught.value.errno == number
