"""Where epochs and segments end, and so how much of the input may be committed at a moment; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from epochseal.format.seal_lines import EndReason, SourceMark
from epochseal.sealing import defaults
from epochseal.sealing.chain import Chain

LongEntries = Literal["skip", "split", "stop"]
"""What becomes of an entry beyond the limit: left out and flagged, sealed in parts, or it ends the source."""
_UNBOUNDED = 2**62


class Piece(msgspec.Struct, frozen=True, gc=False):
    """Entries that make one block: `size` bytes, whole lines."""

    size: int
    entries: int
    src: SourceMark


@dataclass(frozen=True, slots=True)
class Room:
    """What may be committed now: so many entries, and bytes.

    An entry that is larger than any epoch or segment may be is sealed alone, at the beginning of one. So the
    first entry of a commit has a limit of its own: `first` bytes.
    """

    entries: int
    size: int
    first: int


NO_ROOM = Room(0, 0, 0)
UNBOUNDED_ROOM = Room(_UNBOUNDED, _UNBOUNDED, _UNBOUNDED)


@dataclass(frozen=True, slots=True)
class Limits:
    """Where an epoch or a segment ends: entries and bytes, exact, or an age in ms; None is no limit."""

    epoch_entries: int | None = None
    epoch_bytes: int | None = None
    segment_bytes: int = defaults.SEGMENT_BYTES
    segment_age: int | None = None

    def room(self, chain: Chain) -> Room:
        """What fits into the running epoch and segment."""
        entries, in_segment = _left(self.epoch_entries, chain.epoch_entries), self._in_segment(chain)
        size = min(_left(self.epoch_bytes, chain.epoch_bytes), in_segment)
        if entries == 0 or size == 0:
            return NO_ROOM
        if chain.segment_bytes == 0:
            return Room(entries, size, _UNBOUNDED)
        return Room(entries, size, in_segment if chain.epoch_bytes == 0 else size)

    def reached(self, chain: Chain) -> EndReason | None:
        """The limit that is used up, if one is."""
        if not _left(self.epoch_entries, chain.epoch_entries):
            return "entries"
        if self.segment_is_full(chain):
            return "segment"
        return None if _left(self.epoch_bytes, chain.epoch_bytes) else "bytes"

    def segment_is_full(self, chain: Chain) -> bool:
        """Whether the next epoch begins a segment."""
        return not self._in_segment(chain)

    def limit_in_the_way(self, chain: Chain) -> EndReason:
        """The limit that keeps an entry out although `room` offered some bytes: it is larger than those.

        The smaller of what is left in epoch and segment is in its way. But an epoch takes its first entry
        whatever the size, so before that one only the segment's limit can be.
        """
        by_segment = not chain.epoch_bytes or (
            self._in_segment(chain) <= _left(self.epoch_bytes, chain.epoch_bytes)
        )
        return "segment" if by_segment else "bytes"

    def _in_segment(self, chain: Chain) -> int:
        return _left(self.segment_bytes, chain.segment_bytes)


def _left(limit: int | None, used: int) -> int:
    return _UNBOUNDED if limit is None else max(limit - used, 0)
