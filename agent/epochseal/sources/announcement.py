"""What the chain is told of one path beside its entries: a new position, a gap; and what people are told."""

from __future__ import annotations

import logging

from msgspec.structs import replace

from epochseal.sealing.limits import Piece

_log = logging.getLogger(__name__)


class Announcement:
    """Of one path.

    Args:
        path: as it stands in messages.
        said: the error that was told last, if that is still so.
    """

    def __init__(self, path: str, said: str = "") -> None:
        self._path = path
        self._gap = False
        self.due = False
        self.said = said

    def position(self) -> None:
        """The position is to be sealed soon, by a block without entries if need be."""
        self.due = True

    def gap(self, message: str) -> None:
        """Entries may be missing: the chain is told at once."""
        self._gap = self.due = True
        _log.warning("%s", message)

    def flagged(self, piece: Piece) -> Piece:
        """The piece that goes into the chain next: it tells the position, and the gap if there is one."""
        gap, self._gap, self.due = self._gap, False, False
        return replace(piece, src=replace(piece.src, gap=1)) if gap else piece

    @property
    def has_gap(self) -> bool:
        """Whether a gap waits to be told."""
        return self._gap

    def error(self, error: OSError) -> None:
        """Tell of an error once, until it is over or another one."""
        if error.strerror != self.said:
            self.said = error.strerror or ""
            _log.warning("cannot read %s: %s; trying again", self._path, error.strerror)

    def well(self) -> None:
        """The error is over."""
        self.said = ""
