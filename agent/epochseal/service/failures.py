"""What becomes of a log or a source that failed: waiting mends it, or only a person does."""

from __future__ import annotations

import time

from epochseal.errors import ConfigError, Denied, EpochsealError, WrongKey

TELL_SECONDS = 60.0
"""So often the journal is told of what is still not sealing."""


def needs_person(error: BaseException) -> bool:
    """Whether trying again cannot mend it, or does harm: a setting is wrong, a credential was refused."""
    return isinstance(error, ConfigError | Denied | WrongKey)


def failure_text(error: BaseException) -> str:
    """In a line, for the health page; of an error that is not ours the type: its text could hold a secret."""
    return str(error) if isinstance(error, EpochsealError) else type(error).__name__


class RetryDelay:
    """Grows from try to try, and begins anew where all went well for some time.

    Args:
        first, longest: in seconds.
    """

    def __init__(self, first: float = 1.0, longest: float = 60.0) -> None:
        self._first, self._longest = first, longest
        self._failures = 0
        self._last = 0.0

    def after_failure(self) -> float:
        """Seconds until the next try."""
        now = time.monotonic()
        if now - self._last > 2 * self._longest:
            self._failures = 0
        self._last = now
        self._failures += 1
        return min(self._longest, self._first * 2.0 ** min(self._failures - 1, 16))
