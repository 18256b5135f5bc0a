"""A buffer of lines that the sealer reads in place.

There is no work per entry: lines are found from the block's edges and counted by the C library (newlines.py).
"""

from __future__ import annotations

from collections.abc import Callable

from epochseal.errors import ConfigError
from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.limits import Piece
from epochseal.sources.newlines import count_newlines

READ_SIZE = 1 << 20
_NEWLINE = b"\n"


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
    """

    def __init__(
        self,
        name: str,
        *,
        block_bytes: int,
        max_entry_bytes: int,
        file: str = "",
        offset: int = 0,
        esc: int = 0,
    ) -> None:
        self.name = name
        self._file = file
        self._esc = esc
        self._block = block_bytes
        self._max_entry = max_entry_bytes
        self._buffer = bytearray(max(2 * READ_SIZE, 2 * block_bytes))
        # The buffer: sealed up to start, cut into pieces up to begin, read up to end.
        self._start = 0
        self._begin = 0
        self._end = 0
        self._searched = 0
        self._offset = offset
        self._whole = False
        self._view: memoryview | None = None
        self._added = 0
        self.eof = False

    @property
    def buffered(self) -> int:
        """Bytes that came and are not sealed yet."""
        return self._end - self._start

    @property
    def lag(self) -> int:
        """Bytes that wait to be sealed; where more of them can be known than was read, a subclass adds it."""
        return self.buffered

    @property
    def has_entry(self) -> bool:
        """Whether at least one whole entry is waiting; at the end of the stream also one without newline."""
        if not self._whole and self._searched < self._end:
            self._whole = self._buffer.find(_NEWLINE, max(self._searched, self._start), self._end) >= 0
            self._searched = self._end
        return self._whole or (self.eof and self.buffered > 0)

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
            EntryTooLongError: more than `max_entry_bytes` have come without a newline.
        """
        self._make_room()
        with memoryview(self._buffer) as whole, whole[self._end : self._end + READ_SIZE] as free:
            count = read(free)
        self._end += count
        if not self.has_entry and self.buffered > self._max_entry:
            raise self._refusal()
        return count

    def cut_piece(self, entries: int, size: int, first: int) -> Piece | None:
        """The next piece within `entries` and `size` bytes; None if no entry fits (its bytes: `piece_bytes`).

        Args:
            entries: how many at the most.
            size: bytes at the most.
            first: bytes at the most if the piece is a single entry.

        Raises:
            EntryTooLongError: the next entry is longer than `max_entry_bytes`, and none was cut before it.
        """
        if self._begin == self._end or not self.has_entry:
            return None
        cut = self._cut(min(size, self._block), max(size, first))
        if cut is None:
            return None
        with memoryview(self._buffer) as whole, whole[self._begin : cut] as piece:
            count = count_newlines(piece)
        if count > entries:
            cut, count = self._after_entries(entries, cut), entries
        nolf = 1 if self._added and cut == self._end else 0
        length = cut - self._begin
        self._begin = cut
        offset = self._offset + cut - self._start - nolf
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
                return None
            if found < 0:
                # The stream ended without a newline: one is added, and `src` says so.
                found = self._add_newline()
        if found + 1 - self._begin > first:
            return None
        return self._before_too_long(found + 1)

    def _before_too_long(self, cut: int) -> int | None:
        """End the piece before the first entry that is too long; raise if that is the first one."""
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
        if self._begin > self._start:
            return None
        raise self._refusal()

    def _refusal(self) -> EntryTooLongError:
        return EntryTooLongError(
            f"an entry from {self.name} at byte {self._offset} is longer than {self._max_entry} bytes",
            "everything before it is sealed; raise --max-entry-bytes to take it",
        )

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
