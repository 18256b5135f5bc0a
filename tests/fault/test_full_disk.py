"""No room at any call that needs some, and a clock that jumps, by hand: the sealer waits and goes on."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from epochseal.errors import StorageError
from epochseal.sealing.sealer import Sealer
from tests.fault.samples import sample
from tests.fault.story import Clock, Host, Story, check, go_on, read_log


class NoRoom:
    """Counts the system calls that take room, once a sealer started; one of them finds none for some tries.

    Args:
        victim: the number of the call, from 0; -1 for none.
        tries: how often it fails before there is room again; a write does half of its work each time.
    """

    def __init__(self, victim: int = -1, tries: int = 3) -> None:
        self._victim, self._tries = victim, tries
        self._armed = False
        self.calls: list[str] = []
        self.pauses = 0
        self.gives_up = False

    @contextmanager
    def active(self) -> Iterator[NoRoom]:
        """Put them between the sealer and the system."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("write", "pwrite", "open", "mkdir", "rename"):
                patch.setattr(os, name, self._wrap(name, getattr(os, name)))
            patch.setattr(Sealer, "start", self._arming(Sealer.start))
            patch.setattr("epochseal.sealing.full_disk._stop", self._pause)
            yield self

    def _arming(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def start(*args: Any) -> Any:  # noqa: ANN401  # what a start takes and gives, handed through
            point = real(*args)
            self._armed = True
            return point

        return start

    def _pause(self, _seconds: float) -> bool:
        self.pauses += 1
        return not self.gives_up

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:  # noqa: ANN401  # stands for five functions
            if not self._armed or (name == "open" and not args[1] & os.O_CREAT):
                return real(*args, **options)
            if len(self.calls) != self._victim:
                self.calls.append(name)
                return real(*args, **options)
            if self._tries == 0:
                self.calls.append(name)
                return real(*args, **options)
            self._tries -= 1
            if name == "write":
                real(args[0], args[1][: len(args[1]) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        return call


def calls_of(story: Story) -> list[str]:
    """The calls that need room in a story that finds all it needs."""
    with NoRoom().active() as counted:
        story.tell()
    return counted.calls


def test_each_call_that_finds_no_room_is_waited_out(
    host: Host, directory: Path, runtime_dir: Path | None, here: str
) -> None:
    """Whatever the full disk interrupts, it goes on by itself: nothing lost, nothing twice, no new start."""
    calls = calls_of(Story(host, directory / "counted", runtime_dir, state_dir=directory / "state"))
    assert set(calls) == {"write", "open", "mkdir", "rename", "pwrite"}
    for victim in sample(range(len(calls)), here, calls.__getitem__):
        story = Story(host, directory / str(victim), runtime_dir, state_dir=directory / f"{victim}-state")
        with NoRoom(victim).active() as faults:
            story.tell()
        # What is tidied up after one of them may be another of the three calls that find no room.
        assert faults.pauses in {2, 3}
        assert story.running.counters.errors["disk_full"] == 1
        assert story.running.full_disk.cause is None
        assert story.acknowledged == story.sent
        assert read_log(story.logdir).content == b"".join(story.sent)
        check(story, gapless=True)


def test_a_stop_while_there_is_no_room_is_as_a_crash(
    host: Host, directory: Path, runtime_dir: Path | None, here: str
) -> None:
    """Given up at any of these calls, the log is left as it is; the next start goes on from there."""
    calls = calls_of(Story(host, directory / "counted", runtime_dir, state_dir=directory / "state"))
    for victim in sample(range(len(calls)), here, calls.__getitem__):
        story = Story(host, directory / str(victim), runtime_dir, state_dir=directory / f"{victim}-state")
        with NoRoom(victim).active() as faults:
            faults.gives_up = True
            with pytest.raises(StorageError, match="stopped while the disk was full"):
                story.tell()
        assert not story.running.live
        story.kill()
        go_on(story)
        check(story, gapless=runtime_dir is not None)


def test_a_sync_that_finds_no_room_is_final(host: Host, directory: Path, runtime_dir: Path | None) -> None:
    """What the kernel may have dropped is not synced again: a new start reads what is on the disk."""
    story = Story(host, directory / "log", runtime_dir)
    with NoRoom().active() as faults:
        story.start()
        story.commit(1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fdatasync", _no_space)
            with pytest.raises(StorageError, match="No space left on device"):
                story.commit(1)
        assert faults.pauses == 0
        with pytest.raises(StorageError):
            story.commit(1)
    story.kill()
    go_on(story)
    check(story, gapless=runtime_dir is not None)


def _no_space(_fd: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_bytes_are_set_aside_once_however_often_there_is_no_room(
    host: Host, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that has no room for a second megabyte takes the first one back: no try adds to the file."""
    story = Story(host, directory / "log", None)
    story.start()
    story.commit(1)
    story.kill()
    (log,) = story.logdir.glob("segments/*.log")
    foreign = random.Random(3).randbytes(3 << 19)
    with log.open("ab") as target:
        target.write(foreign)
    with monkeypatch.context() as patch:
        real, written = os.write, 0

        def write(fd: int, data: bytes) -> int:
            nonlocal written
            if written >= 1 << 20:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            count = real(fd, data)
            written += count
            return count

        patch.setattr(os, "write", write)
        for _ in range(3):
            written = 0
            with pytest.raises(StorageError, match="No space left on device"):
                story.start()
            story.kill()
            assert log.with_suffix(".unsealed").stat().st_size == 0
    assert story.start().set_aside == len(foreign)
    story.finish()
    assert log.with_suffix(".unsealed").read_bytes() == foreign
    check(story, gapless=False)


def test_a_clock_that_goes_back_an_hour(host: Host, directory: Path, runtime_dir: Path | None) -> None:
    """Entries, epochs, segments and a restart after the jump: all there, and no more than a warning."""
    clock = Clock()
    clock.ahead = 3_600_000
    story = Story(host, directory / "log", runtime_dir, state_dir=directory / "state", clock=clock)
    story.start()
    story.commit(2)
    clock.ahead = 0
    story.commit(1)
    clock.elapsed += 10_000
    story.running.tick()
    story.commit(1)
    story.running.request_next_epoch("interval")
    story.pump()
    story.commit(1)
    story.running.request_next_epoch("segment")
    story.pump()
    story.commit(1)
    story.finish()
    story.start()
    story.commit(1)
    story.finish()
    assert read_log(story.logdir).content == b"".join(story.sent)
    verdict = host.verify(story.logdir, clock.now)
    assert (verdict.verdict, verdict.problems) == ("verified", [])
    assert {warning.kind for warning in verdict.warnings} == {"clock_back"}
