"""One path of a tailed log, through all the files that stand there one after the other.

The files wait in a queue, the oldest first; only the first is read. A file that was rotated away is read on
until nothing has been added to it for `GRACE` seconds, counted from when the next one appeared, and the file
after it has content: services go on writing to the old file until they are told to open the new one. Nothing
of the next file is sealed before.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from msgspec.structs import replace as replace_fields

from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.limits import Piece
from epochseal.sources.file_queue import FileQueue
from epochseal.sources.file_reader import FileBuffer, FileReader
from epochseal.sources.left_files import LeftFiles
from epochseal.sources.log_file import LogFile, source_name

GRACE = 2.0
_FORGET = 600.0
_log = logging.getLogger(__name__)


class Follower:
    """Reads one path.

    Args:
        path: absolute.
        position: where the chain says that sealing stopped, if it speaks of this path.
        new_buffer: makes a buffer of the given name that begins at the given offset.
    """

    def __init__(
        self, path: str, position: SourceMark | None, new_buffer: Callable[[str, int], FileBuffer]
    ) -> None:
        self.path = path
        self.name = source_name(path)
        self._new_buffer = new_buffer
        self._resume = position
        self._files = FileQueue(path, self._lost)
        self._left = LeftFiles()
        # Of the first file in the queue; None while nothing stood at the path yet.
        self._reader: FileReader | None = None
        self._gap = False
        self._announce = False
        self._hungry = False
        self._changed = time.monotonic()
        self._said = ""

    # --- what stands at the path ----------------------------------------------------------------------------

    def look(self) -> None:
        """See whether files were rotated, truncated, or have grown."""
        try:
            self._look_at_path()
        except FileNotFoundError:
            self._said = ""
        except OSError as exc:
            self._say(exc)
        self.look_at_files()

    def look_at_files(self) -> None:
        """See whether what is open was truncated, or has grown."""
        try:
            grown = self._files.first_has_more()
            for _ in range(self._left.close_late()):
                self._lost(f"lines were written to {self.path} more than {GRACE:.0f} s after it was rotated")
        except OSError as exc:
            self._say(exc)
        else:
            self._hungry = self._hungry or grown

    def _look_at_path(self) -> None:
        if (content := self._files.open_path()) is None:
            return
        self._said = ""
        if self._resume is not None:
            mark, self._resume = self._resume, None
            self._start_again(mark, content)
        elif self._files:
            self._files.append_rotation(content)
            self._changed = time.monotonic()
        else:
            self._files.append(content)
            self._begin()

    def _start_again(self, mark: SourceMark, content: LogFile) -> None:
        if (trail := self._files.resume(mark, content)) is None:
            self._begin()
            self._lost(
                f"{self.path}: the file that was sealed up to byte {mark.offset} is not there any more"
            )
            return
        self._reader = FileReader(self.name, self._files.first, mark.offset, trail, self._new_buffer)
        self._hungry = True
        self._changed = time.monotonic()

    # --- reading --------------------------------------------------------------------------------------------

    @property
    def wants_more(self) -> bool:
        """Whether there is something to read, and room for it."""
        return self._hungry and self._reader is not None and self._reader.wants_more

    @property
    def holds_buffer(self) -> bool:
        """Whether entries wait for the sealer."""
        return self._reader is not None and self._reader.has_entry

    @property
    def has_entry(self) -> bool:
        """Whether an entry, or a new position, is to be sealed."""
        return self._announce or self.holds_buffer

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
            self._say(exc)
            if content.static:
                self._lost(f"a rotated file of {self.path} cannot be read to its end: {exc.strerror}")
                self._finish_file(reader)
            return
        if content.truncated and isinstance(content, LogFile):
            self._follow_truncation(reader, content)
        elif count:
            self._changed = time.monotonic()
        else:
            self._hungry = False
            if content.static:
                self._finish_file(reader)
            else:
                reader.drop_unfinished()

    def _follow_truncation(self, reader: FileReader, content: LogFile) -> None:
        """The content is gone: a copy of it may have the rest, but not what came after the copy."""
        self._lost(f"{self.path} was truncated: lines that were written just before may be lost")
        self._hungry = True
        if self._files.queue_truncated(content):
            reader.content = self._files.first
        else:
            self._finish_file(reader)

    def turn(self) -> None:
        """Leave a file that was rotated away, if it is finished."""
        if (reader := self._reader) is None or self._hungry or reader.at_end:
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

    def _next_file(self, reader: FileReader) -> None:
        end = reader.mark()
        content = self._files.take_first()
        if isinstance(content, LogFile) and not content.truncated:
            self._left.add(content, end)
        else:
            content.close()
        self._begin()

    def _begin(self) -> None:
        """The first file is a new one: the chain is told at once, so that it is known after a crash."""
        self._reader = FileReader(self.name, self._files.first, 0, b"", self._new_buffer)
        self._announce = True
        self._hungry = True
        self._changed = time.monotonic()

    # --- sealing --------------------------------------------------------------------------------------------

    def position(self) -> SourceMark | None:
        """Up to where everything is sealed, if anything is known of this path."""
        if self._resume is not None or self._reader is None:
            return self._resume
        return self._reader.mark()

    def cut_piece(self, entries: int, size: int, first: int) -> Piece | None:
        """The next piece; one without entries if only a new position is to be sealed."""
        if self._announce and (position := self.position()) is not None:
            self._announce = False
            return self._flagged(Piece(0, 0, position))
        if self._reader is None or (piece := self._reader.cut_piece(entries, size, first)) is None:
            return None
        return self._flagged(piece)

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
        self._files.limit()

    @property
    def ended(self) -> bool:
        """Whether all that was there at `finish` is sealed; an unfinished last line waits in its file."""
        return not self._hungry and not self.has_entry and not self._files.later_has_more()

    @property
    def forgotten(self) -> bool:
        """Whether the file was removed for good: it has no name, no successor, and nobody writes to it."""
        return (
            not self._hungry
            and not self.has_entry
            and self._files.gone
            and time.monotonic() - self._changed > _FORGET
        )

    def reading(self) -> set[tuple[int, int]]:
        """Device and inode of every file that is being read or waits for it."""
        return self._files.keys

    def give_away(self, key: tuple[int, int]) -> SourceMark | None:
        """The position at the end of a file that was left a moment ago, for who goes on with it."""
        return self._left.give_away(key)

    def announce(self) -> None:
        """Have the chain told of the position."""
        self._announce = True

    def close(self) -> None:
        """Close all files."""
        self._files.close()
        self._left.close()

    def _flagged(self, piece: Piece) -> Piece:
        gap, self._gap = self._gap, False
        return replace(piece, src=replace_fields(piece.src, gap=1)) if gap else piece

    def _lost(self, message: str) -> None:
        """Entries may be missing: the chain is told at once."""
        self._gap = self._announce = True
        _log.warning("%s", message)

    def _say(self, error: OSError) -> None:
        """Tell of an error once, until it is over or another one."""
        if error.strerror != self._said:
            self._said = error.strerror or ""
            _log.warning("cannot read %s: %s; trying again", self.path, error.strerror)
