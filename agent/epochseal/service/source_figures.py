"""What the health page and the metrics show of one source, and of its files."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.limits import Piece

State = Literal["open", "lagging", "unreadable"]
LAGGING_BYTES = 64 << 20
"""A source, or a file of it, with more than this to be sealed is lagging."""
MOST_FILES = 1024
"""So many files of a source are known by their figures: those that something was taken from last."""


@dataclass(slots=True)
class Figures:
    """Kept by the loop's thread; each field is replaced whole, so another thread may read it.

    Attributes:
        gaps: how often entries may have been missed.
        skipped: bytes that were left out.
        last_read: when an entry was last taken, in seconds since 1970; 0 before the first.
    """

    gaps: int = 0
    skipped: int = 0
    last_read: float = field(default=0.0)


@dataclass(slots=True)
class SourceFigures:
    """Of a source, and of its files.

    Attributes:
        total: of all that came from it.
        files: by what they are called in the log, the one that something was taken from last at the end.
    """

    total: Figures = field(default_factory=Figures)
    files: OrderedDict[str, Figures] = field(default_factory=OrderedDict)

    def took(self, piece: Piece) -> None:
        """A piece of it is about to be sealed."""
        if piece.entries:
            self.total.last_read = self._file(piece.src.name).last_read = time.time()
        if piece.src.gap:
            self.missed(piece.src)

    def missed(self, mark: SourceMark) -> None:
        """Entries may be missing there."""
        for figures in (self.total, self._file(mark.name)):
            figures.gaps += 1
            figures.skipped += mark.skipped

    def _file(self, name: str) -> Figures:
        file = self.files.setdefault(name, Figures())
        self.files.move_to_end(name)
        if len(self.files) > MOST_FILES:
            self.files.popitem(last=False)
        return file


def state_of(trouble: str, lag: int) -> State:
    """In a word: why nothing can be read, and how many bytes wait to be sealed."""
    if trouble:
        return "unreadable"
    return "lagging" if lag > LAGGING_BYTES else "open"
