"""One buffer for the entries of many connections, in the order in which they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import partial

from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.limits import Piece
from epochseal.sources.buffer import READ_SIZE, LineBuffer


class SharedBuffer(LineBuffer):
    """Whole entries, each given with its newline and already within its limit.

    `offset` of a piece counts the stored bytes of this source since the agent was started, without newlines
    that were added: a socket cannot be read again, so nothing is resumed from it.

    Args:
        name: the source's name in the log.
        block_bytes, max_entry_bytes: limits of a block and of an entry, in stored form.
        esc: whether the entries are in escaped form.
    """

    def __init__(self, name: str, *, block_bytes: int, max_entry_bytes: int, esc: int = 0) -> None:
        super().__init__(name, block_bytes=block_bytes, max_entry_bytes=max_entry_bytes, esc=esc)
        # An edge is a position at which a piece has to end, counted in bytes that were ever put in, and
        # whether the bytes before it are an entry that its sender never finished.
        self._put_bytes = 0
        self._taken_bytes = 0
        self._edges: deque[tuple[int, bool]] = deque()
        self._runs: deque[list[int]] = deque()
        self._entries_taken = 0

    def put(self, entries: bytes, owner: int = 0) -> int:
        """Add whole entries of one connection, and count them; `numbered` gives `owner` back."""
        if not entries:
            return 0
        with memoryview(entries) as view:
            for start in range(0, len(view), READ_SIZE):
                self.fill(partial(_copy, view[start : start + READ_SIZE]))
        self._put_bytes += len(entries)
        count = entries.count(b"\n")
        if self._runs and self._runs[-1][0] == owner:
            self._runs[-1][1] += count
        else:
            self._runs.append([owner, count])
        return count

    def put_unfinished(self, entry: bytes, owner: int = 0) -> None:
        """Add an entry that its sender never finished: a block of its own, whose `src` says `nolf`."""
        self._edges.append((self._put_bytes, False))
        self.put(entry + b"\n", owner)
        self._edges.append((self._put_bytes, True))

    def cut_piece(self, entries: int, size: int, first: int) -> Piece | None:
        """The next piece, as `LineBuffer.cut_piece`; an unfinished entry is a piece of its own."""
        while self._edges and self._edges[0][0] <= self._taken_bytes:
            self._edges.popleft()
        edge, unfinished = self._edges[0] if self._edges else (self._put_bytes, False)
        piece = super().cut_piece(entries, min(size, edge - self._taken_bytes), max(size, first))
        if piece is None:
            return None
        self._taken_bytes += piece.size
        self._entries_taken += piece.entries
        if not unfinished:
            return piece
        self._offset -= 1
        src = piece.src
        return Piece(piece.size, piece.entries, SourceMark(src.name, src.offset - 1, src.file, src.esc, 1))

    def numbered(self, first_entry: int) -> Iterator[tuple[int, int, int]]:
        """Owner, first and last number of each run of entries of this commit; called once, in `done`."""
        left, self._entries_taken = self._entries_taken, 0
        while left:
            run = self._runs[0]
            count = min(run[1], left)
            yield run[0], first_entry, first_entry + count - 1
            first_entry, left = first_entry + count, left - count
            run[1] -= count
            if not run[1]:
                self._runs.popleft()


def _copy(part: memoryview, free: memoryview) -> int:
    free[: len(part)] = part
    return len(part)
