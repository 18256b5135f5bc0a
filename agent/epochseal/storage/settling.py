"""Reading what a living agent changes meanwhile: looked at again, for a limited time.

A segment may expire, be compressed or be begun after its name was read and before its file is opened. Whoever
reads a log looks again then, and says that it did not settle if that does not end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from epochseal.errors import StorageError
from epochseal.storage.opener import GoneError

SETTLE_SECONDS = 3.0
"""For so long it is looked again."""
_PAUSE_SECONDS = 0.1
_T = TypeVar("_T")


class UnsettledError(StorageError):
    """A file of the log was gone each time that the log was read, so nothing can be said of it."""


def settling_ends() -> float:
    """When whoever begins to read a log now no longer looks again, by the monotonic clock."""
    return time.monotonic() + SETTLE_SECONDS


def looks(until: float, *, sleep: Callable[[float], object] = time.sleep) -> Iterator[bool]:
    """Go round once for each look, with whether it is the last one: two at least, then `until` that time."""
    yield False
    while True:
        sleep(_PAUSE_SECONDS)
        last = time.monotonic() > until
        yield last
        if last:
            return


def read_settled(read: Callable[[], _T], *, expiring: type[Exception] = GoneError) -> _T:
    """What `read` gives, which begins anew when a file of the log is gone.

    `expiring` is another error that a segment may cause which is just about to go; in the end it is raised.

    Raises:
        UnsettledError: a file was gone each time.
    """
    for last in looks(settling_ends()):
        try:
            return read()
        except GoneError as exc:
            if last:
                raise UnsettledError(
                    f"the log does not settle: {exc}, each time another file is gone",
                    "try again when no segments expire",
                ) from exc
        except expiring:
            if last:
                raise
    raise AssertionError("looks() ends with a last one")
