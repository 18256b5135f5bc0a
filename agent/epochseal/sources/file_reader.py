"""One file, read from where it is sealed; its entries are in memory only while they wait for the sealer."""

from __future__ import annotations

from msgspec.structs import replace

from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.limits import LongEntries, Piece
from epochseal.sources.buffer import READ_SIZE
from epochseal.sources.compressed_copy import Content
from epochseal.sources.file_identity import HEAD, TRAIL, Identity
from epochseal.sources.joining import JoiningBuffer
from epochseal.sources.log_file import LogFile
from epochseal.sources.records import Rule

_MOST_FREE, _MOST_FREE_BYTES = 16, 4 << 20


class FileBuffer(JoiningBuffer):
    """Lines of a file; `trail` are the last bytes of it that were cut into pieces, or skipped."""

    def __init__(
        self,
        name: str,
        *,
        block_bytes: int,
        max_entry_bytes: int,
        offset: int,
        on_long: LongEntries,
        storage: bytearray | None,
    ) -> None:
        super().__init__(
            name,
            block_bytes=block_bytes,
            max_entry_bytes=max_entry_bytes,
            offset=offset,
            on_long=on_long,
            storage=storage,
        )
        self.trail = b""

    def cut_piece(self, entries: int, size: int, first: int) -> Piece | None:
        """As of any lines (see `LineBuffer.cut_piece`)."""
        before = self._begin
        piece = super().cut_piece(entries, size, first)
        if piece is not None and piece.size:
            with memoryview(self._buffer) as whole:
                self.let_go(whole[before : self._begin - piece.src.nolf])
        return piece

    def let_go(self, skipped: memoryview) -> None:
        """The trail goes on behind these bytes."""
        self.trail = (self.trail + bytes(skipped[-TRAIL:]))[-TRAIL:]


class FileBuffers:
    """Makes the buffers of all files: their memory is used again, and not asked of the system for each.

    Args:
        block_bytes, max_entry_bytes, on_long: see `LineBuffer`.
        rule: see `JoiningBuffer`.
    """

    def __init__(
        self, *, block_bytes: int, max_entry_bytes: int, on_long: LongEntries, rule: Rule | None = None
    ) -> None:
        self._limits = block_bytes, max_entry_bytes, on_long
        self.longest = max_entry_bytes
        # Where lines are looked through that are not whole yet.
        self.scratch = bytearray(READ_SIZE)
        self._rule = rule
        self._free: list[bytearray] = []

    def take(self, name: str, offset: int) -> FileBuffer:
        """An empty buffer for a source of this name, from this byte of it on."""
        block, longest, on_long = self._limits
        storage = self._free.pop() if self._free else None
        made = FileBuffer(
            name, block_bytes=block, max_entry_bytes=longest, offset=offset, on_long=on_long, storage=storage
        )
        made.rule = self._rule
        return made

    def give_back(self, buffer: FileBuffer) -> None:
        """Nobody uses the buffer any more."""
        if len(self._free) < _MOST_FREE and len(buffer.storage) <= _MOST_FREE_BYTES:
            self._free.append(buffer.storage)

    def trim(self) -> None:
        """Give memory back that was not needed for a while, but for one buffer."""
        del self._free[1:]


class FileReader:
    """Reads one file.

    Args:
        name: the source's name in the log.
        content: the file; another one may take its place that holds the same bytes, set to `position`.
        offset: bytes of it that are sealed.
        trail: the last of them, at most `TRAIL`.
        buffers: makes them.
    """

    def __init__(self, name: str, content: Content, offset: int, trail: bytes, buffers: FileBuffers) -> None:
        self.content = content
        self._name = name
        self._offset = offset
        self._trail = trail
        self._buffers = buffers
        self._buffer: FileBuffer | None = None
        self._cut: SourceMark | None = None
        self.is_last = False
        """Whether nothing more is written to the file."""

    @property
    def position(self) -> int:
        """Up to where the file need not be read again."""
        return self._offset if self._buffer is None else self.content.position

    @property
    def wants_more(self) -> bool:
        """Whether there is room for more."""
        return self._buffer is None or self._buffer.wants_more

    @property
    def has_entry(self) -> bool:
        """Whether entries wait for the sealer."""
        return self._buffer is not None and self._buffer.has_entry

    @property
    def full_block(self) -> bool:
        """Whether a commit has nothing to wait for."""
        return self._buffer is not None and self._buffer.full_block

    @property
    def buffered(self) -> int:
        """Bytes read and not sealed."""
        buffer = self._buffer
        return buffer.buffered if buffer is not None else 0

    @property
    def skipping(self) -> bool:
        """Whether it is within an entry that is left out, or waits for its lines: known nowhere else."""
        return self._buffer is not None and (self._buffer.skipping or self._buffer.holding)

    @property
    def holding(self) -> bool:
        """Whether lines wait for more of their record, or for its time to be over."""
        return self._buffer is not None and self._buffer.holding

    @property
    def lag(self) -> int:
        """Bytes of the file that are not sealed; of a compressed one only those that were read."""
        return max(self.content.size() - self._offset, self.buffered, 0)

    @property
    def at_end(self) -> bool:
        """Whether `finish` was called: what is in memory is the last of the file."""
        return self._buffer is not None and self._buffer.eof

    def read(self) -> int:
        """Read on; how many bytes there were.

        Raises:
            EntryTooLongError: an entry is beyond the limit.
            OSError: the file cannot be read.
        """
        if self._buffer is None:
            content = self.content
            if isinstance(content, LogFile):
                if not content.has_more():
                    return 0
                if content.position > self._offset and (count := self._look_for_newline(content)) is not None:
                    return count
            self._open_buffer()
        return self._fill()

    def _look_for_newline(self, content: LogFile) -> int | None:
        """Look at what has come of a line that waits in its file; None when it is to be read.

        So lines that come slowly take no memory, however long they are and in however many files.
        """
        scratch = self._buffers.scratch
        with memoryview(scratch) as free:
            count = content.read_into(free)
        is_whole = scratch.find(b"\n", 0, count) >= 0
        return None if is_whole or content.position - self._offset > self._buffers.longest else count

    def _open_buffer(self) -> None:
        self._buffer = self._buffers.take(self._name, self._offset)
        self._buffer.trail = self._trail
        if isinstance(self.content, LogFile):
            self.content.position = self._offset

    def _fill(self) -> int:
        return self._buffer.fill(self.content.read_into) if self._buffer is not None else 0

    def drop_unfinished(self) -> None:
        """An unfinished line waits in its file, and not in memory."""
        buffer = self._buffer
        if buffer is not None and not (buffer.has_entry or self.skipping):
            self._drop_buffer(buffer)

    def finish(self) -> bool:
        """Nothing more comes: the last line is an entry, even without a newline; whether all is sealed.

        A line that waited in its file is to be read again before that: then it is not `at_end` yet.
        """
        self.is_last = True
        content = self.content
        waits = self._buffer is None and content.position > self._offset and not content.truncated
        if waits:
            self._open_buffer()
            return False
        if self._buffer is None or not (self._buffer.buffered or self._buffer.skipping):
            return True
        self._buffer.eof = True
        return False

    # --- sealing --------------------------------------------------------------------------------------------

    def mark(self) -> SourceMark:
        """Up to where everything is sealed."""
        return self._mark(self._offset, self._trail)

    def cut_piece(self, entries: int, size: int, first: int) -> Piece | None:
        """The next piece (see `LineBuffer.cut_piece`)."""
        buffer = self._buffer
        if buffer is None or (piece := buffer.cut_piece(entries, size, first)) is None:
            return None
        mark, src = self._mark(piece.src.offset, buffer.trail), piece.src
        self._cut = replace(mark, esc=src.esc, nolf=src.nolf, gap=src.gap, skipped=src.skipped)
        return Piece(piece.size, piece.entries, self._cut)

    def piece_bytes(self) -> memoryview:
        """The bytes of the pieces since the last `done`."""
        if self._buffer is None or self._cut is None:
            return memoryview(b"")
        return self._buffer.piece_bytes()

    def done(self) -> bool:
        """All pieces are durable; whether they were the last of the file."""
        buffer, cut = self._buffer, self._cut
        if buffer is None or cut is None:
            return False
        buffer.done(0)
        self._offset, self._trail, self._cut = cut.offset, buffer.trail, None
        if buffer.buffered or buffer.skipping:
            return False
        self._drop_buffer(buffer)
        return buffer.eof

    def _drop_buffer(self, buffer: FileBuffer) -> None:
        self._buffer = None
        self._buffers.give_back(buffer)

    def _mark(self, offset: int, trail: bytes) -> SourceMark:
        content = self.content
        identity = Identity.of(content.origin, content.head[: min(HEAD, offset)], trail)
        return SourceMark(self._name, offset, str(identity))
