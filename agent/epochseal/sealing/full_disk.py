"""A full disk is waited out: the step that found no room is held, whole, and taken again until there is.

Only steps that leave nothing behind when they fail are held (`DiskFullError`): an append that was cut back, a
file replaced whole, a new pair of files. A commit stands still between two of its steps then, just where a
kill would find it, so all that holds for a kill there holds for a stop. A failed sync is none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from epochseal.errors import StorageError
from epochseal.sealing.backend_calls import Clock
from epochseal.sealing.counters import Counters
from epochseal.storage.durable import DiskFullError

_T = TypeVar("_T")

FIRST_DELAY = 0.1
LONGEST_DELAY = 5.0


class FullDisk:
    """Holds the sealer of one log while there is no room for what it has to write.

    Attributes:
        pause: waits so many seconds, or less; whether to try again. It keeps the watchdog content and ends
            early when a stop is asked for. As made, it does not wait: a full disk ends the sealing at once.
        tell: is told when a stall begins (the error) and when it is over (None).
        cause: what found no room, while that lasts.
    """

    def __init__(self, clock: Clock, counters: Counters) -> None:
        self._clock = clock
        self._counters = counters
        self._since = 0.0
        self.pause: Callable[[float], bool] = _stop
        self.tell: Callable[[DiskFullError | None], None] = _say_nothing
        self.cause: DiskFullError | None = None

    @property
    def seconds(self) -> float:
        """For how long the stall has lasted; 0 outside of one."""
        return 0.0 if self.cause is None else self._clock.monotonic() - self._since

    def wait_out(self, step: Callable[[], _T]) -> _T:
        """Take `step` until there is room for it.

        Raises:
            StorageError: a stop was asked for, and there was no room even then; what stands on the disk is as
                after a crash. Any other error of `step` too.
        """
        delay, stopping = FIRST_DELAY, False
        while True:
            try:
                result = step()
            except DiskFullError as exc:
                self._begin(exc)
                if stopping:
                    raise StorageError(
                        f"stopped while the disk was full: {exc}",
                        "nothing that was acknowledged is lost: make room, then start again",
                    ) from exc
                # There may be room since the last try: a stop is no reason to leave the log as after a crash.
                stopping = not self.pause(delay)
                delay = min(2 * delay, LONGEST_DELAY)
            else:
                if self.cause is not None:
                    self._end()
                return result

    def _begin(self, exc: DiskFullError) -> None:
        if self.cause is None:
            self._since = self._clock.monotonic()
            self.cause = exc
            self._counters.errors["disk_full"] += 1
            self.tell(exc)

    def _end(self) -> None:
        self.cause = None
        self.tell(None)


def _stop(_seconds: float) -> bool:
    return False


def _say_nothing(_cause: DiskFullError | None) -> None:
    pass
