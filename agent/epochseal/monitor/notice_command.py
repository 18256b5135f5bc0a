"""The operator's own command, which is run at each change of a verdict (`on_change`)."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from tempfile import TemporaryFile

_LONGEST = 60.0
_MOST_AT_ONCE = 16


class NoticeCommand:
    """Runs it, without waiting for it: the monitor goes on meanwhile.

    Args:
        words: the program and its arguments; none: nothing is run. No shell is asked.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = list(words)
        self._running: list[tuple[subprocess.Popen[bytes], float]] = []
        self._waiting: list[tuple[bytes, Callable[[], None]]] = []

    def tell(self, notice: bytes, started: Callable[[], None]) -> None:
        """Run it with this on its standard input, at once or when one that runs has ended.

        `started` is called when it runs, or at once if there is none.
        """
        if self._words:
            self._waiting.append((notice, started))
        else:
            started()

    def tend(self) -> list[str]:
        """Start what waits, and end what runs for more than a minute; what failed since the last call."""
        failed: list[str] = []
        running, self._running = self._running, []
        for process, began in running:
            status = process.poll()
            if status is None and time.monotonic() - began > _LONGEST:
                process.kill()
                status = process.wait()
            if status is None:
                self._running.append((process, began))
            elif status:
                failed.append(f"it ended with status {status}")
        while self._waiting and len(self._running) < _MOST_AT_ONCE:
            notice, started = self._waiting.pop(0)
            try:
                self._running.append((self._start(notice), time.monotonic()))
            except OSError as exc:
                failed.append(f"it cannot be run: {exc.strerror}")
            else:
                started()
        return failed

    @property
    def busy(self) -> bool:
        """Whether one runs or waits."""
        return bool(self._running or self._waiting)

    def _start(self, notice: bytes) -> subprocess.Popen[bytes]:
        # A file, so that a command which does not read holds up nobody.
        with TemporaryFile() as given:
            given.write(notice)
            given.seek(0)
            with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  # a device
                return subprocess.Popen(self._words, stdin=given, stdout=nowhere)  # noqa: S603  # the operator's own

    def finish(self) -> None:
        """Wait for those that run, a minute at most."""
        deadline = time.monotonic() + _LONGEST
        while self.busy and time.monotonic() < deadline:
            self.tend()
            with suppress(subprocess.TimeoutExpired):
                if self._running:
                    self._running[0][0].wait(0.2)
