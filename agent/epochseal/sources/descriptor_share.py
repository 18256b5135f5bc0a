"""The descriptors that all listening sources of this process share: who has most makes room for others."""

from __future__ import annotations

import time
from threading import Lock

_WAIT_SECONDS = 1.0
"""A newcomer that was not heard of for so long waits no more."""
_lock = Lock()
_shares: list[DescriptorShare] = []


class DescriptorShare:
    """What one source has of them; sources of other logs, in other threads, have theirs.

    Attributes:
        clients: how many it has, each with a descriptor.
        asked: whether one of them is to make room for a newcomer of another source.
        waits_until: until when a newcomer of this one waits for that, unless it asks again.
    """

    def __init__(self) -> None:
        self.clients = 0
        self.asked = False
        self.waits_until = 0.0
        with _lock:
            _shares.append(self)

    def ask_others(self) -> bool:
        """No descriptor is left for a newcomer: have the source with the most make room, if it has more."""
        with _lock:
            others = [share for share in _shares if share is not self]
            largest = max(others, key=lambda share: share.clients, default=None)
            if largest is None or largest.clients <= self.clients + 1:
                return False
            largest.asked = True
            self.waits_until = time.monotonic() + _WAIT_SECONDS
            return True

    def take_request(self) -> bool:
        """Whether a client is to make room for one of another source."""
        asked, self.asked = self.asked, False
        return asked

    @property
    def yields(self) -> bool:
        """Whether a descriptor that becomes free is for the newcomer of another source, which has fewer."""
        now = time.monotonic()
        with _lock:
            return any(share.waits_until > now and share.clients + 1 < self.clients for share in _shares)

    def let_in(self) -> None:
        """The newcomer has its descriptor, or is gone."""
        self.waits_until = 0.0

    def close(self) -> None:
        """Give it up; closing again does nothing."""
        with _lock:
            if self in _shares:
                _shares.remove(self)
