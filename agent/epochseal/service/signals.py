"""The signals that stop a sealing loop or begin a new segment, as something to poll."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType


class Signals:
    """SIGTERM and SIGINT ask for a clean close, SIGHUP for a new segment; something to poll.

    Where `pass_on` is set (a command is run), it is told of the first signal instead: the command's output
    is sealed to its end. Only a second signal stops at once, or the first if it tells that nobody took it.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._hangup = False
        self.stop_asked = False
        self.pass_on: Callable[[int], bool] | None = None

    def fileno(self) -> int:
        """Readable when a signal came."""
        return self._read

    def take_hangup(self) -> bool:
        """Whether a new segment was asked for since the last call."""
        with suppress(BlockingIOError):
            os.read(self._read, 512)
        hangup, self._hangup = self._hangup, False
        return hangup

    def pause(self, seconds: float) -> bool:
        """Wait so long, or until a stop is asked for; whether none was (`FullDisk.pause`)."""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        while not self.stop_asked and (left := deadline - time.monotonic()) > 0:
            if poll.poll(left * 1000):
                with suppress(BlockingIOError):
                    os.read(self._read, 512)
        if self._hangup:
            self._wake()  # the loop is still to see it
        return not self.stop_asked

    @contextmanager
    def installed(self) -> Iterator[Signals]:
        """Handle the signals inside of the block, once."""
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, self._take) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._read)
            os.close(self._write)

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._hangup = True
        else:
            pass_on, self.pass_on = self.pass_on, None
            self.stop_asked = pass_on is None or not pass_on(number)
        self._wake()

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # full: there is enough to wake up for
            os.write(self._write, b"s")
