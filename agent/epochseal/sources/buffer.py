"""A buffer of lines that the sealer reads in place.

There is no work per entry: lines are found from the block's edges and counted by the C library (newlines.py).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from epochseal.errors import ConfigError
from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.limits import LongEntries, Piece
from epochseal.sources.newlines import count_newlines

READ_SIZE = 1 << 20
_SHORT = 1 << 11
_NEWLINE = b"\n"
_TELL_SECONDS = 10.0
_log = logging.getLogger(__name__)


class EntryTooLongError(ConfigError):
    """An entry is longer than the configured limit; what came before it can still be sealed."""


class LineBuffer:
    """Bytes of one source in order; pieces of at most `block_bytes`, but always at least one whole entry.

    Args:
        name: the source's name in the log.
        file: what the source is, where the name alone does not say (a tailed file's identity).
        offset: how many bytes of the source were sealed before.
        block_bytes, max_entry_bytes: limits of a block and of an entry.
        esc: whether the entries were escaped on their way in.
        on_long: what becomes of an entry that is longer. One that is skipped is let go of as it comes, up to
            its newline, so that it takes no memory beyond the limit; then a piece without entries says how
            many bytes it had. The parts of one that is split say `nolf`, all but the last.
        storage: memory of another one that is not used any more.
    """

    files = ()

    def __init__(
        self,
        name: str,
        *,
        block_bytes: int,
        max_entry_bytes: int,
        file: str = "",
        offset: int = 0,
        esc: int = 0,
        on_long: LongEntries = "stop",
        storage: bytearray | None = None,
    ) -> None:
        self.name = name
        self._file = file
        self._esc = esc
        self._block = block_bytes
        self._max_entry = max_entry_bytes
        self._least = max(2 * READ_SIZE, 2 * block_bytes)
        self._on_long = on_long
        self._buffer = bytearray(self._least) if storage is None else storage
        # The buffer: sealed up to start, cut into pieces up to begin, read up to end.
        self._start = 0
        self._begin = 0
        self._end = 0
        self._searched = 0
        self._parted = -1
        self._offset = offset
        self._whole = False
        self._view: memoryview | None = None
        self._added = 0
        # Bytes of the entry that is skipped, until a piece has told of it; whether its end has not come yet.
        self._skipped = 0
        self.skipping = False
        self._tell_at = 0.0
        self.eof = False

    @property
    def storage(self) -> bytearray:
        """Its memory, for another one when this one is not used any more."""
        return self._buffer

    @property
    def trouble(self) -> str:
        """Why nothing new reaches it at this moment; a subclass may know."""
        return ""

    @property
    def buffered(self) -> int:
        """Bytes that came and are not sealed yet."""
        return self._end - self._start

    @property
    def lag(self) -> int:
        """Bytes that wait to be sealed; where more of them can be known than was read, a subclass adds it."""
        return self.buffered

    @property
    def perishable(self) -> int:
        """None: it can be read again; a subclass may know better."""
        return 0

    @property
    def has_entry(self) -> bool:
        """Whether at least one whole entry is waiting; at the end of the stream also one without newline.

        So is a part of an entry that is split, and a piece that tells of one that was skipped.
        """
        if self._skipped:
            return self.eof or not self.skipping
        if not self._whole and self._searched < self._end:
            self._whole = self._buffer.find(_NEWLINE, max(self._searched, self._start), self._end) >= 0
            self._searched = self._end
        return self._whole or (self.eof and self.buffered > 0) or self._can_split

    @property
    def full_block(self) -> bool:
        """Whether a commit has nothing to wait for."""
        return self.has_entry and (self.eof or self.buffered >= self._block)

    @property
    def wants_more(self) -> bool:
        """Whether to read on: always while an entry is incomplete, else up to one buffer ahead."""
        return not self.eof and (not self.has_entry or self.buffered < max(READ_SIZE, self._block))

    def fill(self, read: Callable[[memoryview], int]) -> int:
        """Have `read` write up to `READ_SIZE` bytes into the buffer; how many there were.

        Raises:
            EntryTooLongError: more than `max_entry_bytes` have come without a newline, and are not skipped.
        """
        self._make_room()
        with memoryview(self._buffer) as whole, whole[self._end : self._end + READ_SIZE] as free:
            count = read(free)
        self._end += count
        if self.skipping:
            self._go_on_skipping(self._end - count)
        elif not self.has_entry and self.buffered > self._max_entry:
            self._begin_skipping()
        return count

    def cut_piece(self, entries: int, size: int, first: int) -> Piece | None:
        """The next piece within `entries` and `size` bytes; None if no entry fits (its bytes: `piece_bytes`).

        One without entries tells of an entry that was skipped before it.

        Args:
            entries: how many at the most.
            size: bytes at the most.
            first: bytes at the most if the piece is a single entry.

        Raises:
            EntryTooLongError: the next entry is longer than `max_entry_bytes`, none was cut before it, and
                it is not skipped.
        """
        if not self.has_entry or (self._begin == self._end and not self._skipped):
            return None
        cut = self._cut(min(size, self._block), max(size, first)) if not self._skipped else None
        if self._skipped:
            return self._skipped_piece()
        if cut is None:
            return None
        if cut - self._begin < _SHORT:
            count = self._buffer.count(_NEWLINE, self._begin, cut)
        else:
            with memoryview(self._buffer) as whole, whole[self._begin : cut] as piece:
                count = count_newlines(piece)
        if count > entries:
            cut, count = self._after_entries(entries, cut), entries
        added = 1 if self._added and cut == self._end else 0
        nolf = 1 if cut == self._parted else added
        length = cut - self._begin
        self._begin = cut
        self._parted = -1
        offset = self._offset + cut - self._start - added
        return Piece(length, count, SourceMark(self.name, offset, self._file, self._esc, nolf))

    def piece_bytes(self) -> memoryview:
        """The bytes of all pieces since the last `done`; valid until then."""
        self._view = memoryview(self._buffer)[self._start : self._begin]
        return self._view

    def done(self, _first_entry: int) -> None:
        """The pieces are sealed: their bytes may be overwritten."""
        if self._view is not None:
            self._view.release()
            self._view = None
        self._offset += self._begin - self._start
        self._start = self._searched = self._begin
        self._whole = False

    def _cut(self, wanted: int, first: int) -> int | None:
        """Where the piece ends: after the last newline within `wanted` bytes, else after the first entry."""
        found = self._buffer.rfind(_NEWLINE, self._begin, min(self._begin + wanted, self._end))
        if found < 0:
            found = self._buffer.find(_NEWLINE, self._begin + wanted, self._end)
            if found < 0 and not self.eof:
                return self._split(first) if self._can_split else None
            if found < 0:
                # The stream ended without a newline: one is added, and `src` says so.
                found = self._add_newline()
        cut = self._before_too_long(found + 1, first)
        return cut if cut is not None and cut - self._begin <= first else None

    def _before_too_long(self, cut: int, first: int) -> int | None:
        """End the piece before the first entry that is too long; if that is the first one, deal with it."""
        entry = self._begin
        while cut - 1 - entry > self._max_entry:
            # The last newline that an entry of the largest size can reach from here: every entry up to it is
            # within the limit, so they need not be looked at one by one.
            found = self._buffer.rfind(_NEWLINE, entry, entry + self._max_entry + 1)
            if found < 0:
                break
            entry = found + 1
        else:
            return cut
        if entry > self._begin:
            return entry
        if self._on_long == "split":
            return self._split(first)
        if self._begin == self._start:
            self._begin_skipping()
        return None

    # --- entries that are too long --------------------------------------------------------------------------

    @property
    def _can_split(self) -> bool:
        return self._on_long == "split" and self._end - self._begin > self._max_entry

    def _split(self, first: int) -> int | None:
        """Make the first part of an entry an entry, by a newline of ours; None if it does not fit."""
        if self._max_entry + 1 > first:
            return None
        cut = self._begin + self._max_entry
        self._buffer[cut:cut] = _NEWLINE
        self._end += 1
        # It is no byte of the source, and `offset` does not count it.
        self._offset -= 1
        self._parted = cut + 1
        return self._parted

    def _begin_skipping(self) -> None:
        """The entry at the start of the buffer is too long: let go of it, as far as it came."""
        if self._on_long == "stop":
            raise EntryTooLongError(
                f"an entry from {self.name} at byte {self._offset} is longer than {self._max_entry} bytes",
                "everything before it is sealed; raise --max-entry-bytes to take it",
            )
        if (now := time.monotonic()) >= self._tell_at:
            self._tell_at = now + _TELL_SECONDS
            _log.warning(
                "%s: the entry at byte %d is longer than %d bytes: it is skipped",
                self.name,
                self._offset,
                self._max_entry,
            )
        self.skipping = True
        self._go_on_skipping(self._start + self._max_entry)

    def _go_on_skipping(self, searched: int) -> None:
        """Let go of what came of the skipped entry; its newline, if it came, is not before `searched`."""
        found = self._buffer.find(_NEWLINE, searched, self._end)
        self.skipping = found < 0
        end = self._end if self.skipping else found + 1
        # A newline that was added at the end of the stream is no byte of the source.
        added = 1 if self._added and end == self._end else 0
        with memoryview(self._buffer) as whole, whole[self._start : end - added] as part:
            self.let_go(part)
        self._skipped += end - self._start - added
        if not self.skipping:
            self._offset += self._skipped
        self._start = self._begin = self._searched = end
        self._whole = False
        if end == self._end:
            # Perhaps it had grown up to the limit: an entry that is skipped takes no memory.
            self._buffer = bytearray(self._least)
            self._start = self._begin = self._end = self._searched = self._added = 0

    def let_go(self, skipped: memoryview) -> None:
        """Bytes are skipped; a subclass may look at them."""

    def _skipped_piece(self) -> Piece:
        """Tell of the skipped entry: no entries, and how many bytes are not sealed."""
        if self.skipping:
            # The stream ended before the entry did.
            self.skipping = False
            self._offset += self._skipped
        skipped, self._skipped = self._skipped, 0
        mark = SourceMark(self.name, self._offset, self._file, self._esc, gap=1, skipped=skipped)
        return Piece(0, 0, mark)

    def _add_newline(self) -> int:
        if not self._added:
            if self._end == len(self._buffer):
                self._buffer += bytes(1)
            self._buffer[self._end : self._end + 1] = _NEWLINE
            self._end += 1
            self._added = 1
        return self._end - 1

    def _after_entries(self, entries: int, cut: int) -> int:
        low, high = self._begin, cut
        while high - low > 1:
            middle = (low + high) // 2
            if self._buffer.count(_NEWLINE, self._begin, middle) >= entries:
                high = middle
            else:
                low = middle
        return high

    def _make_room(self) -> None:
        if len(self._buffer) - self._end >= READ_SIZE:
            return
        kept = self._end - self._start
        if self._start >= kept:
            # What is kept fits into the free part before it, so it is moved there once. If it did not fit,
            # moving it now would mean moving it again soon: then the buffer grows below.
            self._buffer[:kept] = self._buffer[self._start : self._end]
            self._searched -= self._start
            self._start, self._begin, self._end = 0, 0, kept
        if len(self._buffer) - self._end < READ_SIZE:
            self._buffer += bytes(max(len(self._buffer), READ_SIZE))
