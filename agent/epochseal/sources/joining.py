"""A buffer whose entries are records of several lines (records.py), between reading and sealing."""

from __future__ import annotations

import time
from itertools import pairwise

from epochseal.format.escaping import escape_entries
from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.limits import Piece
from epochseal.sources.buffer import LineBuffer
from epochseal.sources.records import Rule

QUIET_SECONDS = 1.0
"""A record that may go on, but has not for so long, is whole."""
MOST_JOINED = 1 << 20
"""Bytes of a record, as far as lines are joined; what follows is an entry of its own."""


class JoiningBuffer(LineBuffer):
    """Records as entries, escaped. Offsets are those of the bytes as they were read.

    Attributes:
        rule: which lines belong together; None for entries of one line each, as they are.
    """

    rule: Rule | None = None
    _joined = b""
    _read_at = 0.0
    _seen = (-1, -1)
    _has_record = False

    @property
    def holding(self) -> bool:
        """Whether whole lines wait for more of their record, or for its time to be over."""
        return self.rule is not None and self.buffered > 0 and super().has_entry and not self.has_entry

    @property
    def has_entry(self) -> bool:
        """As `LineBuffer.has_entry`, for records."""
        if self.rule is None or self._skipped or not super().has_entry:
            return super().has_entry
        if (self._begin, self._end) != self._seen:
            if self._end > self._seen[1] or self._begin < self._seen[0]:
                self._read_at = time.monotonic()
            self._seen = self._begin, self._end
            self._has_record = bool(self._ends(self._most))
        return self._has_record or self.eof or time.monotonic() - self._read_at >= QUIET_SECONDS

    def cut_piece(self, entries: int, size: int, first: int) -> Piece | None:
        """As `LineBuffer.cut_piece`, for records."""
        if self.rule is None or self._skipped or not self.has_entry:
            return super().cut_piece(entries, size, first)
        if self.eof and self._buffer[self._end - 1 : self._end] != b"\n":
            self._add_newline()
        if self._buffer.find(b"\n", self._begin, self._begin + self._max_entry + 1) < 0:
            return self._cut_long_line(entries, size, first)
        ends = self._ends(max(self._block, self._most)) or [self._last_line_end()]
        ends = [end for end in ends[:entries] if end <= min(size, self._block)] or ends[:1]
        while True:
            cut = self._begin + ends[-1]
            raw = bytes(self._buffer[self._begin : cut])
            joined = escape_entries([raw[low : high - 1] for low, high in pairwise([0, *ends])])
            if len(joined) <= size or len(ends) == 1:
                break
            ends = ends[: len(ends) // 2]
        if len(joined) > max(size, first):
            return None
        nolf = 1 if self._added and cut == self._end else 0
        self._begin = cut
        self._joined += joined
        offset = self._offset + cut - self._start - nolf
        return Piece(len(joined), len(ends), SourceMark(self.name, offset, self._file, 1, nolf))

    def _cut_long_line(self, entries: int, size: int, first: int) -> Piece | None:
        """A line beyond the limit is skipped or split, as it is without records."""
        piece = super().cut_piece(entries, size, first)
        if piece is not None:
            self._joined += self._buffer[self._begin - piece.size : self._begin]
        return piece

    def piece_bytes(self) -> memoryview:
        """As `LineBuffer.piece_bytes`."""
        return super().piece_bytes() if self.rule is None else memoryview(self._joined)

    def done(self, first_entry: int) -> None:
        """As `LineBuffer.done`."""
        self._joined = b""
        super().done(first_entry)

    @property
    def _most(self) -> int:
        return min(MOST_JOINED, self._max_entry)

    def _ends(self, most: int) -> list[int]:
        """Where the records end that are whole, from the beginning of the next piece on."""
        if self.rule is None:
            return []
        lines = bytes(self._buffer[self._begin : min(self._end, self._begin + most)])
        lines = lines[: lines.rfind(b"\n") + 1]
        ends = self.rule.ends(lines)
        if not ends and lines and self._end - self._begin >= most:
            # It is longer than what is joined: it ends with the last line that still belongs to it.
            ends = [len(lines)]
        return ends

    def _last_line_end(self) -> int:
        """The record's time is over: it ends with the last line that came."""
        last = self._buffer.rfind(b"\n", self._begin, min(self._end, self._begin + self._most))
        if last < 0:
            last = self._buffer.find(b"\n", self._begin, self._end)
        return last + 1 - self._begin
