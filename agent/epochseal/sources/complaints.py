"""What a source tells of its clients, so that no client can fill the agent's journal."""

from __future__ import annotations

import logging
import time

_AT_ONCE = 10
_SECONDS = 10.0
_log = logging.getLogger(__name__)


class Complaints:
    """Messages of one source: at most ten in ten seconds, the others are counted.

    Args:
        name: of the source.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._since = -_SECONDS
        self._told = 0
        self._left_out = 0

    def tell(self, message: str, *, level: int = logging.WARNING) -> None:
        """Write a message, or count it."""
        self.tick()
        if self._told >= _AT_ONCE:
            self._left_out += 1
            return
        self._told += 1
        _log.log(level, "%s: %s", self._name, message)

    def tick(self) -> None:
        """Say how many were left out, once their time is over."""
        now = time.monotonic()
        if now - self._since < _SECONDS:
            return
        if self._left_out:
            _log.warning("%s: %d more messages of this kind were left out", self._name, self._left_out)
        self._since, self._told, self._left_out = now, 0, 0
