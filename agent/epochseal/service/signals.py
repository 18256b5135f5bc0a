"""The signals that stop a sealing loop or begin a new segment, as something to poll."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from epochseal.polling import WakePipe, is_readable


class Signals:
    """SIGTERM and SIGINT ask for a clean close, SIGHUP for a new segment; something to poll.

    Where `pass_on` is set (a command is run), it is told of the first signal instead: the command's output
    is sealed to its end. Only a second signal stops at once, or the first if it tells that nobody took it.
    """

    def __init__(self) -> None:
        self._pipe = WakePipe()
        self._hangup = False
        self.stopped_by: int | None = None
        self.pass_on: Callable[[int], bool] | None = None

    def fileno(self) -> int:
        """Readable when a signal came."""
        return self._pipe.fileno()

    @property
    def stop_asked(self) -> bool:
        """Whether a signal asked for a clean close: `stopped_by` has its number."""
        return self.stopped_by is not None

    def take_hangup(self) -> bool:
        """Whether a new segment was asked for since the last call."""
        self._pipe.clear()
        hangup, self._hangup = self._hangup, False
        return hangup

    def pause(self, seconds: float) -> bool:
        """Wait so long, or until a stop is asked for; whether none was (`FullDisk.pause`)."""
        deadline = time.monotonic() + seconds
        while not self.stop_asked and (left := deadline - time.monotonic()) > 0:
            if is_readable(self._pipe.fileno(), left):
                self._pipe.clear()
        if self._hangup:
            self._pipe.wake()  # `clear` above took the wake-up of a SIGHUP, which the loop has not seen yet
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
            self._pipe.close()

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._hangup = True
        else:
            pass_on, self.pass_on = self.pass_on, None
            if pass_on is None or not pass_on(number):
                self.stopped_by = number
        self._pipe.wake()
