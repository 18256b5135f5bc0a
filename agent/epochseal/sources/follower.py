"""One path of a tailed log, through all the files that stand there one after the other.

The files wait in a queue, the oldest first (`succession.py`); only the first is read. A file that was rotated
away is read on until nothing has been added to it for `GRACE` seconds, counted from when the next one
appeared, and the file after it has content: services go on writing to the old file until they are told to
open the new one. Nothing of the next file is sealed before.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.limits import Piece
from epochseal.sources.announcement import Announcement
from epochseal.sources.compressed_copy import CompressedCopy, Search
from epochseal.sources.file_reader import FileBuffers, FileReader
from epochseal.sources.left_files import LeftFiles
from epochseal.sources.log_file import LogFile, source_name
from epochseal.sources.resting_files import Resting
from epochseal.sources.rotated_names import RotatedNames
from epochseal.sources.succession import Succession
from epochseal.sources.watches import Watches

GRACE = 2.0
_FORGET = 600.0


class Follower:
    """Reads one path.

    Args:
        path: absolute.
        resting: what is known of it.
        watches: the news.
        names: of rotated files.
        buffers: makes them.
        is_foreign: whether a file, by device and inode, is read under another path.
        claim: whether a new file is to be read here; it is set to begin where it is sealed.
    """

    def __init__(
        self,
        path: str,
        resting: Resting,
        *,
        watches: Watches,
        names: RotatedNames,
        buffers: FileBuffers,
        is_foreign: Callable[[tuple[int, int]], bool],
        claim: Callable[[LogFile], bool],
    ) -> None:
        self.path = path
        self.name = source_name(path)
        self.told = Announcement(path, resting.said)
        self.succession = Succession(
            path,
            resting,
            self.told,
            watches=watches,
            names=names,
            is_foreign=is_foreign,
            claim=claim,
            begin=self._begin,
        )
        self._files = self.succession.files
        self._left = LeftFiles()
        self._buffers = buffers
        # Of the first file in the queue; None while nothing stood at the path yet.
        self._reader: FileReader | None = None
        self._hungry = False
        self._changed = time.monotonic()
        # When to look again, and for how long to wait after that if nothing changed.
        self.look_at = 0.0
        self.pause = 0.0

    # --- looking --------------------------------------------------------------------------------------------

    def look(self) -> None:
        """See whether files were rotated, truncated, or have grown."""
        self.succession.look()
        self.look_at_files()

    def look_at_files(self) -> None:
        """See whether what is open was truncated, or has grown."""
        try:
            grown = self._files.first_has_more()
            for _ in range(self._left.late()):
                self.told.gap(
                    f"lines were written to {self.path} more than {GRACE:.0f} s after it was rotated"
                )
        except OSError as exc:
            self.told.error(exc)
        else:
            self._hungry = self._hungry or grown

    # --- reading --------------------------------------------------------------------------------------------

    @property
    def wants_more(self) -> bool:
        """Whether there is something to read, and room for it."""
        if not self._hungry or self._reader is None or self.succession.is_searching:
            return False
        return not self.succession.is_abandoned and self._reader.wants_more

    @property
    def is_compressed(self) -> bool:
        """Whether what is read next is a compressed file."""
        return self._reader is not None and isinstance(self._reader.content, CompressedCopy)

    @property
    def holds_buffer(self) -> bool:
        """Whether entries wait for the sealer."""
        return self._reader is not None and self._reader.has_entry

    @property
    def has_entry(self) -> bool:
        """Whether an entry, or a new position, is to be sealed."""
        return self.told.due or self.holds_buffer

    @property
    def holding(self) -> bool:
        """Whether lines wait for more of their record, or for its time to be over."""
        return self._reader is not None and self._reader.holding

    @property
    def full_block(self) -> bool:
        """Whether a commit has nothing to wait for."""
        return self._reader is not None and self._reader.full_block

    @property
    def buffered(self) -> int:
        """Bytes read and not sealed."""
        return self._reader.buffered if self._reader is not None else 0

    @property
    def lag(self) -> int:
        """Bytes that are not sealed, in the file that is read and in those that wait behind it.

        Any thread may ask. While the next file takes its place, the first may be missing, or count whole.
        """
        if (reader := self._reader) is None:
            return 0
        try:
            return reader.lag + self._files.later_bytes
        except OSError:  # closed by the loop since the line above
            return reader.buffered

    def read(self) -> None:
        """Read on in the first file.

        Raises:
            EntryTooLongError: an entry is beyond the limit.
        """
        if (reader := self._reader) is None:
            return
        content = reader.content
        try:
            count = reader.read()
        except OSError as exc:
            self._hungry = False
            self.told.error(exc)
            if content.static:
                self.told.gap(f"a rotated file of {self.path} cannot be read to its end: {exc.strerror}")
                self._finish_file(reader)
            return
        if content.truncated and isinstance(content, LogFile):
            self.told.gap(f"{self.path} was truncated: lines that were written just before may be lost")
            # Looked at now: by that it shows if it is truncated once more while a copy is searched for.
            again = content.again()
            again.has_more()
            self.succession.search(self._follow_truncation(reader, content, again), [again])
        elif count:
            self._changed = time.monotonic()
        elif content.static or reader.is_last:
            if not content.has_more():
                self._finish_file(reader)
        else:
            self._hungry = False
            reader.drop_unfinished()

    def _follow_truncation(self, reader: FileReader, content: LogFile, again: LogFile) -> Search[None]:
        """The content is gone: a copy of it may have the rest, but not what came after the copy."""
        if (yield from self._files.queue_truncated(content, again, reader.position)):
            reader.content = self._files.first
            self._hungry = True
        else:
            self._finish_file(reader)

    def turn(self) -> None:
        """Leave a file that was rotated away, if it is finished."""
        if self.succession.is_searching or self.succession.is_abandoned:
            return
        reader = self._reader
        if reader is None:
            if self._files:
                # They were searched for while the one before them was sealed to its end.
                self._begin(*self._files.first.start, is_new=True)
            return
        if self._hungry or reader.at_end:
            return
        # Files that came and went in a burst are left one after the other, without a pause for each: every
        # one of them has been at rest in the queue.
        if self._files.later_has_more() and time.monotonic() - self._files.quiet_since() > GRACE:
            self._finish_file(reader)

    def _finish_file(self, reader: FileReader) -> None:
        """Nothing more comes from the first file: its last line is an entry, even without a newline."""
        self._hungry = False
        if reader.finish():
            self._next_file(reader)
        else:
            # A last line that waited in the file is read once more.
            self._hungry = not reader.at_end

    def _next_file(self, reader: FileReader) -> None:
        end = reader.mark()
        content = self._files.take_first()
        if isinstance(content, LogFile) and not content.truncated:
            self._left.add(content, end)
        else:
            content.close()
        if self._files:
            self._begin(*self._files.first.start, is_new=True)
        else:
            # A copy was read to its end, and nothing stands at the path.
            self._reader = None

    def _begin(self, offset: int, trail: bytes, *, is_new: bool) -> None:
        """Read the first file; of a new one the chain is told at once, so that it is known after a crash."""
        self._reader = FileReader(self.name, self._files.first, offset, trail, self._buffers)
        if is_new:
            self.told.position()
        self._hungry = True
        self._changed = time.monotonic()

    # --- sealing --------------------------------------------------------------------------------------------

    def position(self) -> SourceMark | None:
        """Up to where everything is sealed, if anything is known of this path."""
        if self.succession.resume is not None or self._reader is None:
            return self.succession.unfound
        return self._reader.mark()

    def cut_piece(self, entries: int, size: int, first: int) -> Piece | None:
        """The next piece; one without entries if only a new position is to be sealed."""
        # A gap is told where it is. A new position goes with the entries, if there are any.
        if self.told.has_gap or (self.told.due and not self.holds_buffer):
            return self.told.flagged(Piece(0, 0, self.position() or SourceMark(self.name, 0)))
        if self._reader is None or (piece := self._reader.cut_piece(entries, size, first)) is None:
            return None
        return self.told.flagged(piece)

    def piece_bytes(self) -> memoryview:
        """The bytes of the pieces since the last `done`."""
        return self._reader.piece_bytes() if self._reader is not None else memoryview(b"")

    def done(self) -> None:
        """All pieces are durable."""
        if self._reader is not None and self._reader.done():
            self._next_file(self._reader)

    # --- ending ---------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Read what the files hold at this moment, and no more."""
        self.look()
        self.succession.finish()
        self._files.limit()

    @property
    def ended(self) -> bool:
        """Whether all that was there at `finish` is sealed; an unfinished last line waits in its file."""
        if self.succession.is_abandoned:
            return not self.has_entry
        return not self._hungry and not self.has_entry and not self._files.later_has_more()

    def quiet_for(self) -> float:
        """Seconds since anything was read or came; 0 while there is something to do."""
        unread = self._reader is not None and (self._reader.buffered > 0 or self._reader.skipping)
        busy = (
            self._hungry or self.has_entry or len(self._files) > 1 or unread or self.succession.is_searching
        )
        return 0.0 if busy else time.monotonic() - self._changed

    def rest(self) -> Resting | None:
        """What to know of the path when its file is closed; None if that would lose sight of something."""
        if self._left or self.succession.is_searching:
            return None
        return self.succession.rest(self.position())

    @property
    def forgotten(self) -> bool:
        """Whether the file was removed for good: it has no name, no successor, and nobody writes to it."""
        return self._files.gone and self.quiet_for() > _FORGET

    def reads(self, key: tuple[int, int]) -> bool:
        """Whether a file, by device and inode, is being read or waits for it."""
        return self.succession.has(key)

    @property
    def heads(self) -> list[bytes]:
        """The first bytes of the files that were read lately, and of those that are read."""
        return self._files.heads

    def give_away(self, key: tuple[int, int]) -> SourceMark | None:
        """The position at the end of a file that was left a moment ago, for who goes on with it."""
        return self._left.give_away(key)

    def close(self) -> None:
        """Close all files."""
        self.succession.close()
        self._left.close()
