"""How a source is, for the health page and the metrics."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

State = Literal["open", "lagging", "unreadable"]
LAGGING_BYTES = 64 << 20
"""A source with more than this to be sealed is lagging."""


@dataclass(slots=True)
class SourceStatus:
    """Kept by the loop's thread; each field is replaced whole, so another thread may read it.

    Attributes:
        unreadable: why nothing can be read at this moment; empty if it can.
        skipped: bytes that came, or were to come, and were left out.
        gaps: how often entries may have been missed.
        last_read: when something was read last, in seconds since 1970; 0 if nothing was.
    """

    unreadable: str = ""
    skipped: int = 0
    gaps: int = 0
    last_read: float = field(default=0.0)

    def read(self) -> None:
        """Something was read."""
        self.last_read = time.time()

    def gap(self, skipped: int = 0) -> None:
        """Entries may have been missed, and so many bytes were."""
        self.gaps += 1
        self.skipped += skipped

    def state(self, lag: int) -> State:
        """In a word; `lag`: bytes that wait to be sealed."""
        if self.unreadable:
            return "unreadable"
        return "lagging" if lag > LAGGING_BYTES else "open"
