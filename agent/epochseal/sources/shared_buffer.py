"""One buffer for the entries of many connections, in the order in which they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.limits import Piece
from epochseal.sources.buffer import READ_SIZE, LineBuffer
from epochseal.sources.newlines import count_newlines

Owner = TypeVar("Owner")


@dataclass(slots=True)
class _Stretch:
    """Bytes in a row whose blocks say the same, `gap` only the first; none where only a gap is told.

    `skipped`: bytes that were left out at the gap.
    """

    esc: int
    nolf: int
    gap: int
    size: int
    skipped: int = 0


@dataclass(slots=True)
class Run(Generic[Owner]):
    """Entries in a row that came from one owner."""

    owner: Owner
    size: int
    entries: int = 0


class SharedBuffer(LineBuffer, Generic[Owner]):
    """Whole entries, each given with its newline and already within its limit.

    `offset` of a piece counts the bytes of this source since the agent was started, in stored form, and those
    that were left out; nothing is resumed from it, as a socket cannot be read again.

    Args:
        name: the source's name in the log.
        block_bytes, max_entry_bytes: limits of a block and of an entry, in stored form.
    """

    def __init__(self, name: str, *, block_bytes: int, max_entry_bytes: int) -> None:
        super().__init__(name, block_bytes=block_bytes, max_entry_bytes=max_entry_bytes)
        self._stretches: deque[_Stretch] = deque()
        # What was put in and not cut; what was cut since the last `done`.
        self._waiting: deque[Run[Owner]] = deque()
        self._taken: list[Run[Owner]] = []

    @property
    def perishable(self) -> int:
        """All of it: what came over a socket comes once."""
        return self.lag

    @property
    def has_entry(self) -> bool:
        """Whether at least one entry is waiting, or a gap that no entry follows: all of it is whole."""
        return bool(self._stretches)

    def put(self, lines: bytes, owner: Owner, *, esc: int = 0, nolf: int = 0) -> None:
        """Add whole entries of one owner; `taken` gives it back. With `nolf` the newline was added to it."""
        if not lines:
            return
        for start in range(0, len(lines), READ_SIZE):
            self._make_room()
            part = lines[start : start + READ_SIZE]
            self._buffer[self._end : self._end + len(part)] = part
            self._end += len(part)
        last = self._stretches[-1] if self._stretches else None
        if last is not None and not last.size:
            last.esc, last.nolf, last.size = esc, nolf, len(lines)
        elif last is not None and (last.esc, last.nolf, nolf) == (esc, 0, 0):
            last.size += len(lines)
        else:
            self._stretches.append(_Stretch(esc, nolf, 0, len(lines)))
        if self._waiting and self._waiting[-1].owner is owner:
            self._waiting[-1].size += len(lines)
        else:
            self._waiting.append(Run(owner, len(lines)))

    def put_gap(self, skipped: int = 0) -> None:
        """Say that entries may be missing here: the next block carries `gap`, if need be without entries.

        Args:
            skipped: bytes that came and are left out.
        """
        if not self._stretches or self._stretches[-1].size:
            self._stretches.append(_Stretch(0, 0, 1, 0))
        self._stretches[-1].skipped += skipped

    def cut_piece(self, entries: int, size: int, first: int) -> Piece | None:
        """The next piece, as `LineBuffer.cut_piece`; it ends where its flags do."""
        if not self._stretches:
            return None
        stretch = self._stretches[0]
        if not stretch.size:
            self._stretches.popleft()
            self._offset += stretch.skipped
            offset = self._offset + self._begin - self._start
            return Piece(0, 0, SourceMark(self.name, offset, gap=1, skipped=stretch.skipped))
        before = self._begin
        piece = super().cut_piece(entries, min(size, stretch.size), max(size, first))
        if piece is None:
            return None
        self._take_runs(before, piece)
        # What was left out are bytes of the source, a newline that was added is none.
        shift = stretch.skipped - stretch.nolf
        self._offset += shift
        offset, skipped = piece.src.offset + shift, stretch.skipped
        src = SourceMark(self.name, offset, "", stretch.esc, stretch.nolf, gap=stretch.gap, skipped=skipped)
        stretch.gap = stretch.skipped = 0
        stretch.size -= piece.size
        if not stretch.size:
            self._stretches.popleft()
        return Piece(piece.size, piece.entries, src)

    def taken(self) -> Iterator[Run[Owner]]:
        """Whose entries were cut since the last call, in order."""
        runs, self._taken = self._taken, []
        yield from runs

    def _take_runs(self, begin: int, piece: Piece) -> None:
        size, entries = piece.size, piece.entries
        while size:
            run = self._waiting[0]
            part = min(run.size, size)
            if part == size:
                count = entries
            else:
                with memoryview(self._buffer) as whole, whole[begin : begin + part] as view:
                    count = count_newlines(view)
            self._taken.append(Run(run.owner, part, count))
            begin, size, entries = begin + part, size - part, entries - count
            run.size -= part
            if not run.size:
                self._waiting.popleft()
