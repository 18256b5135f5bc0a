from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from epochseal.errors import StorageError
from epochseal.sealing.counters import Counters
from epochseal.sealing.full_disk import LONGEST_DELAY, FullDisk
from epochseal.service.signals import Signals
from epochseal.storage.durable import DiskFullError, DurabilityError


class Clock:
    """Time that stands where a test puts it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> int:
        """Milliseconds since 1970."""
        return 0

    def monotonic(self) -> float:
        """Seconds."""
        return self.seconds


def failing(times: int) -> Callable[[], str]:
    """A step that finds no room so often."""
    left = times

    def step() -> str:
        nonlocal left
        left -= 1
        if left >= 0:
            raise DiskFullError("cannot write a file", errno.ENOSPC)
        return "done"

    return step


def test_a_stall_backs_off_and_is_told_of_once() -> None:
    """Delays double up to the longest; its begin, its length and its end are seen, and it is counted once."""
    clock, counters = Clock(), Counters()
    full_disk = FullDisk(clock, counters)
    delays: list[float] = []
    lengths: list[float] = []
    told: list[str | None] = []

    def pause(seconds: float) -> bool:
        assert full_disk.cause is not None
        lengths.append(full_disk.seconds)
        delays.append(seconds)
        clock.seconds += seconds
        return True

    full_disk.pause = pause
    full_disk.tell = lambda cause: told.append(None if cause is None else str(cause))
    assert full_disk.wait_out(failing(8)) == "done"
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, LONGEST_DELAY, LONGEST_DELAY]
    assert lengths == pytest.approx([0, 0.1, 0.3, 0.7, 1.5, 3.1, 6.3, 11.3])
    assert told == ["cannot write a file", None]
    assert (full_disk.cause, full_disk.seconds, counters.errors["disk_full"]) == (None, 0.0, 1)
    assert full_disk.wait_out(failing(1)) == "done"
    assert delays[-1] == 0.1
    assert counters.errors["disk_full"] == 2


def test_a_stop_gives_the_step_up() -> None:
    """The error says that a stop came while there was no room, and the stall is still on for who looks."""
    full_disk = FullDisk(Clock(), Counters())
    with pytest.raises(StorageError, match="stopped while the disk was full: cannot write a file") as caught:
        full_disk.wait_out(failing(2))
    assert caught.value.hint is not None
    assert full_disk.cause is not None


def test_room_that_came_before_a_stop_is_used() -> None:
    """A step is tried once more when a stop ends the wait: there may be room since the last try."""
    full_disk = FullDisk(Clock(), Counters())
    assert full_disk.wait_out(failing(1)) == "done"
    assert full_disk.cause is None


def test_other_errors_are_not_waited_out() -> None:
    """A failed sync or a file that changed is final, even where the system's number says no space."""
    full_disk = FullDisk(Clock(), Counters())
    full_disk.pause = lambda _: pytest.fail("waited")

    def step() -> None:
        raise DurabilityError("cannot write a file", errno.ENOSPC)

    with pytest.raises(DurabilityError, match="cannot write a file"):
        full_disk.wait_out(step)


def test_a_pause_ends_by_a_stop_and_by_nothing_else() -> None:
    """SIGTERM ends it at once; SIGHUP neither shortens it nor is forgotten."""
    with Signals().installed() as signals:
        began = time.monotonic()
        os.kill(os.getpid(), signal.SIGHUP)
        assert signals.pause(0.2)
        assert time.monotonic() - began >= 0.2
        assert signals.take_hangup()
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        began = time.monotonic()
        assert not signals.pause(30)
        assert time.monotonic() - began < 10
        assert not signals.pause(30)
