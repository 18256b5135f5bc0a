"""Waiting for descriptors: whether one can be read, and a pipe by which a thread wakes the one that waits."""

from __future__ import annotations

import os
import select
from contextlib import suppress


def is_readable(descriptor: int, seconds: float) -> bool:
    """Whether there is something to read, or the end of it, within so many seconds."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


class WakePipe:
    """Wakes whoever polls it; may be written to by any thread and by a signal handler."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def fileno(self) -> int:
        """Readable from `wake` until `clear`."""
        return self._read

    def wake(self) -> None:
        """Wake; never waits itself."""
        with suppress(BlockingIOError):  # it is full, so there is enough to wake up for
            os.write(self._write, b"w")

    def clear(self) -> None:
        """Forget all calls of `wake` up to now; what they told of is to be looked at after this."""
        with suppress(BlockingIOError):
            os.read(self._read, 1 << 16)

    def close(self) -> None:
        """Close both ends."""
        os.close(self._read)
        os.close(self._write)
