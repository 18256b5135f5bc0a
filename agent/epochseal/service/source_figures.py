"""What the health page and the metrics show of one source."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.limits import Piece

State = Literal["open", "lagging", "unreadable"]
LAGGING_BYTES = 64 << 20
"""A source with more than this to be sealed is lagging."""


@dataclass(slots=True)
class SourceFigures:
    """Kept by the loop's thread; each field is replaced whole, so another thread may read it.

    Attributes:
        gaps: how often entries may have been missed.
        skipped: bytes that were left out.
        last_read: when an entry was last taken from it, in seconds since 1970; 0 before the first.
    """

    gaps: int = 0
    skipped: int = 0
    last_read: float = field(default=0.0)

    def took(self, piece: Piece) -> None:
        """A piece of it is about to be sealed."""
        if piece.entries:
            self.last_read = time.time()
        if piece.src.gap:
            self.missed(piece.src)

    def missed(self, mark: SourceMark) -> None:
        """Entries may be missing there."""
        self.gaps += 1
        self.skipped += mark.skipped


def state_of(trouble: str, lag: int) -> State:
    """In a word: why nothing can be read, and how many bytes wait to be sealed."""
    if trouble:
        return "unreadable"
    return "lagging" if lag > LAGGING_BYTES else "open"
