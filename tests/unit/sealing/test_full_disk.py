from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from epochseal.errors import StorageError
from epochseal.sealing.counters import Stats
from epochseal.sealing.full_disk import LONGEST_DELAY, Stall, Steps
from epochseal.service.commit_loop import Signals
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
    clock, stats = Clock(), Stats()
    stall = Stall(clock, stats)
    delays: list[float] = []
    lengths: list[float] = []
    told: list[str | None] = []

    def pause(seconds: float) -> bool:
        assert stall.cause is not None
        lengths.append(stall.seconds)
        delays.append(seconds)
        clock.seconds += seconds
        return True

    stall.pause = pause
    stall.tell = lambda cause: told.append(None if cause is None else str(cause))
    assert stall.retry(failing(8)) == "done"
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, LONGEST_DELAY, LONGEST_DELAY]
    assert lengths == pytest.approx([0, 0.1, 0.3, 0.7, 1.5, 3.1, 6.3, 11.3])
    assert told == ["cannot write a file", None]
    assert (stall.cause, stall.seconds, stats.errors["disk_full"]) == (None, 0.0, 1)
    assert stall.retry(failing(1)) == "done"
    assert delays[-1] == 0.1
    assert stats.errors["disk_full"] == 2


def test_a_stop_gives_the_step_up() -> None:
    """The error says that a stop came while there was no room, and the stall is still on for who looks."""
    stall = Stall(Clock(), Stats())
    with pytest.raises(StorageError, match="stopped while the disk was full: cannot write a file") as caught:
        stall.retry(failing(2))
    assert caught.value.hint is not None
    assert stall.cause is not None


def test_room_that_came_before_a_stop_is_used() -> None:
    """A step is tried once more when a stop ends the wait: there may be room since the last try."""
    stall = Stall(Clock(), Stats())
    assert stall.retry(failing(1)) == "done"
    assert stall.cause is None


def test_other_errors_are_not_waited_out() -> None:
    """A failed sync or a file that changed is final, even where the system's number says no space."""
    stall = Stall(Clock(), Stats())
    stall.pause = lambda _: pytest.fail("waited")

    def step() -> None:
        raise DurabilityError("cannot write a file", errno.ENOSPC)

    with pytest.raises(DurabilityError, match="cannot write a file"):
        stall.retry(step)


def test_a_step_left_half_way_was_the_last(tmp_path: Path) -> None:
    """Its length is seen while it lasts; after one that failed there is no other."""
    clock = Clock()
    steps = Steps(tmp_path, clock)
    with steps.step():
        clock.seconds += 7
        assert (steps.seconds, steps.failed) == (7.0, False)
    assert steps.seconds == 0
    with pytest.raises(KeyboardInterrupt), steps.step():
        raise KeyboardInterrupt
    assert steps.failed
    with pytest.raises(StorageError, match="an earlier write to"), steps.step():
        pytest.fail("taken")


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
