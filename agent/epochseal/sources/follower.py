"""One path of a tailed log, through all the files that stand there one after the other.

The files wait in a queue, the oldest first; only the first is read. A file that was rotated away is read on
until nothing has been added to it for `GRACE` seconds, counted from when the next one appeared, and the file
after it has content: services go on writing to the old file until they are told to open the new one. Nothing
of the next file is sealed before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.limits import Piece
from epochseal.sources.announcement import Announcement
from epochseal.sources.file_queue import FileQueue
from epochseal.sources.file_reader import FileBuffers, FileReader
from epochseal.sources.left_files import LeftFiles
from epochseal.sources.log_file import LogFile, source_name
from epochseal.sources.resting_files import Look, Resting
from epochseal.sources.sightings import Sight, Sighting
from epochseal.sources.watches import Watches

GRACE = 2.0
_FORGET = 600.0


class Follower:
    """Reads one path.

    Args:
        path: absolute.
        resting: what is known of it.
        watches: the news.
        buffers: makes them.
        is_foreign: whether a file, by device and inode, is read under another path.
    """

    def __init__(
        self,
        path: str,
        resting: Resting,
        *,
        watches: Watches,
        buffers: FileBuffers,
        is_foreign: Callable[[tuple[int, int]], bool],
    ) -> None:
        self.path = path
        self.name = source_name(path)
        self.told = Announcement(path, resting.said)
        self._sight = Sight(path, watches, resting.generation)
        self._buffers = buffers
        self._resume = resting.mark
        # Whether the file that was sealed last may be looked for under other names once; and whether it is to
        # be told if it is not found.
        self._to_find = self._resume is not None
        self._is_news = resting.seen is not None or resting.is_missing
        self._missing_said = resting.missing_said
        self._is_foreign = is_foreign
        self._files = FileQueue(path, self.told.gap, is_foreign)
        self._left = LeftFiles()
        # Of the first file in the queue; None while nothing stood at the path yet.
        self._reader: FileReader | None = None
        self._hungry = False
        self._changed = time.monotonic()
        # When to look again, and for how long to wait after that if nothing changed.
        self.look_at = 0.0
        self.pause = 0.0

    # --- what stands at the path ----------------------------------------------------------------------------

    def look(self) -> None:
        """See whether files were rotated, truncated, or have grown."""
        try:
            if (sighting := self._sight.look(self._files.keys)) is not None:
                self._see(sighting)
            self.told.well()
        except FileNotFoundError:
            self.told.well()
            self._find_moved()
        except OSError as exc:
            self.told.error(exc)
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

    def _see(self, sighting: Sighting) -> None:
        if sighting.lost:
            self.told.gap(f"{self.path} was rotated or removed before it could be opened: lines may be lost")
        sighting = self._own(sighting)
        if not sighting.files:
            return
        self._changed = time.monotonic()
        if self._resume is not None:
            mark, self._resume = self._resume, None
            self._start_again(mark, sighting)
        elif self._files:
            self._files.rotate(sighting)
        else:
            self._files.begin(sighting)
            self._begin()

    def _own(self, sighting: Sighting) -> Sighting:
        """What was sighted, but for files that are read under another path, which they had before."""
        own = []
        for content in sighting.files:
            if self._is_foreign(content.key):
                content.close()
            else:
                own.append(content)
        here = sighting.here if sighting.here in own else None
        between = [content for content in own if content is not here]
        return replace(sighting, between=between, here=here)

    def _start_again(self, mark: SourceMark, sighting: Sighting) -> None:
        if (trail := self._files.resume(mark, sighting)) is None:
            self._begin()
            self._say_missing(mark, sighting.here)
            return
        self._reader = FileReader(self.name, self._files.first, mark.offset, trail, self._buffers)
        self._hungry = True

    def _find_moved(self) -> None:
        """Nothing stands at the path: the file that was sealed last may go on under another name."""
        if self._resume is None or not self._to_find:
            return
        self._to_find = False
        if (trail := self._files.resume(self._resume, Sighting([], None))) is not None:
            offset, self._resume = self._resume.offset, None
            self._reader = FileReader(self.name, self._files.first, offset, trail, self._buffers)
            self._hungry = True
        elif self._is_news:
            self._say_missing(self._resume, None)

    def _say_missing(self, mark: SourceMark, here: LogFile | None) -> None:
        if self._missing_said or self._files.is_elsewhere:
            return
        self._missing_said = True
        if here is not None and mark.file.split("-")[1:2] == [str(here.key[1])]:
            self.told.gap(f"{self.path} was truncated: lines that were written just before may be lost")
        else:
            self.told.gap(
                f"{self.path}: the file that was sealed up to byte {mark.offset} is not there any more"
            )

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
        self.told.gap(f"{self.path} was truncated: lines that were written just before may be lost")
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
        if self._files:
            self._begin()
        else:
            # A copy was read to its end, and nothing stands at the path.
            self._reader = None

    def _begin(self) -> None:
        """The first file is a new one: the chain is told at once, so that it is known after a crash."""
        self._reader = FileReader(self.name, self._files.first, 0, b"", self._buffers)
        self.told.position()
        self._hungry = True
        self._changed = time.monotonic()

    # --- sealing --------------------------------------------------------------------------------------------

    def position(self) -> SourceMark | None:
        """Up to where everything is sealed, if anything is known of this path."""
        if self._resume is not None or self._reader is None:
            # A file that was told to be missing is not waited for beyond the next start.
            return None if self._missing_said else self._resume
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
        self._files.limit()

    @property
    def ended(self) -> bool:
        """Whether all that was there at `finish` is sealed; an unfinished last line waits in its file."""
        return not self._hungry and not self.has_entry and not self._files.later_has_more()

    def quiet_for(self) -> float:
        """Seconds since anything was read or came; 0 while there is something to do."""
        unread = self._reader is not None and (self._reader.buffered > 0 or self._reader.skipping)
        busy = self._hungry or self.has_entry or len(self._files) > 1 or unread
        return 0.0 if busy else time.monotonic() - self._changed

    def rest(self) -> Resting | None:
        """What to know of the path when its file is closed; None if that would lose sight of something."""
        found = Look.at(self.path)
        if not self._files:
            rested = Resting(
                self._resume, None, self._sight.generation, self.told.said, missing_said=self._missing_said
            )
            return rested if found is None or self.told.said else None
        content = self._files.first
        whole = isinstance(content, LogFile) and found == Look.of(content.stat()) and not content.has_more()
        if not whole or self._left:
            return None
        return Resting(self.position(), found, self._sight.generation)

    @property
    def forgotten(self) -> bool:
        """Whether the file was removed for good: it has no name, no successor, and nobody writes to it."""
        return self._files.gone and self.quiet_for() > _FORGET

    @property
    def keys(self) -> set[tuple[int, int]]:
        """Device and inode of every file that is being read or waits for it."""
        return self._files.keys

    @property
    def heads(self) -> list[bytes]:
        """The first bytes of the files that were read lately, and of those that are read."""
        return self._files.heads

    def give_away(self, key: tuple[int, int]) -> SourceMark | None:
        """The position at the end of a file that was left a moment ago, for who goes on with it."""
        return self._left.give_away(key)

    def close(self) -> None:
        """Close all files."""
        self._files.close()
        self._left.close()
