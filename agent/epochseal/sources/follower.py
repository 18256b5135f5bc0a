"""One path of a tailed log, through all the files that stand there one after the other.

The files wait in a queue, the oldest first; only the first is read. A file that was rotated away is read on
until nothing has been added to it for `GRACE` seconds and the file after it has content: services go on
writing to the old file until they are told to open the new one. Nothing of the next file is sealed before.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from msgspec.structs import replace

from epochseal.errors import FormatError
from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.limits import Piece
from epochseal.sources.log_file import HEAD, Content, FileBuffer, Identity, LogFile, open_content, source_name
from epochseal.sources.rotated_files import Rotated, find_file, list_rotated

GRACE = 2.0
LINGER = 60.0
_FORGET = 600.0
_SMALL = 64 << 10
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
        self.offset = position.offset if position is not None else 0
        self._new_buffer = new_buffer
        self._resume = position
        self._files: deque[Content] = deque()
        self._left: list[tuple[Content, SourceMark, float]] = []
        self._buffer: FileBuffer | None = None
        self._taken: SourceMark | None = None
        self._trail = b""
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
            grown = [content.has_more() or content.truncated for content in self._files]
            self._check_left()
        except OSError as exc:
            self._say(exc)
        else:
            self._hungry = self._hungry or grown[:1] == [True]

    def _look_at_path(self) -> None:
        found = Path(self.path).stat()
        # An older file may have been renamed back: it is being read already.
        if (found.st_dev, found.st_ino) in self.reading():
            return
        content = LogFile.open(self.path)
        self._said = ""
        if content.key in self.reading():
            content.close()
        elif self._resume is not None:
            position, self._resume = self._resume, None
            self._start_again(position, content, found)
        elif self._files:
            last = self._files[-1].key
            rotated = list_rotated(self.path)
            place = next((i for i, item in enumerate(rotated) if _key(item) == last), len(rotated))
            self._append_rotated(rotated[place + 1 :], content)
        else:
            self._files.append(content)
            self._begin()

    def _start_again(self, position: SourceMark, content: LogFile, found: os.stat_result) -> None:
        """Find the file that was being read, and queue it with all that came after it."""
        files = [*list_rotated(self.path), Rotated(self.path, found, (3, 0, 0))]
        try:
            wanted = Identity.parse(position.file)
        except FormatError:
            wanted = None
        place, old = len(files) - 1, None
        for copies in (False, True):
            if wanted is not None and old is None:
                place, old = find_file(files, wanted, position.offset, copies=copies) or (place, None)
        if old is None:
            self._files.append(content)
            self._begin()
            self._lost(
                f"{self.path}: the file that was sealed up to byte {position.offset} is not there any more"
            )
            return
        self.offset, (_, self._trail) = position.offset, old.ends(position.offset)
        old.go_to(self.offset)
        if wanted is not None and old.key != content.key and wanted.inode == content.key[1]:
            self._lost(f"{self.path} was truncated, or its inode given to a new file: lines may be lost")
        self._files.append(old)
        self._hungry = True
        if old.key == content.key:
            content.close()
        else:
            # Nobody writes to a copy.
            old.static = old.static or wanted is None or old.key[1] != wanted.inode
            self._append_rotated(files[place + 1 : -1], content)

    def _append_rotated(self, between: list[Rotated], content: LogFile) -> None:
        """Queue the files that stood at the path in between, and the one that stands there now."""
        for item in between:
            if item.found.st_size and _key(item) != content.key:
                try:
                    self._files.append(open_content(item.path))
                except OSError as exc:
                    self._lost(f"cannot read {item.path}: {exc.strerror}")
        self._files.append(content)
        self._changed = time.monotonic()

    # --- reading --------------------------------------------------------------------------------------------

    @property
    def wants_more(self) -> bool:
        """Whether there is something to read, and room for it."""
        return self._hungry and (self._buffer is None or self._buffer.wants_more)

    @property
    def holds_buffer(self) -> bool:
        """Whether entries wait for the sealer."""
        return self._buffer is not None and self._buffer.has_entry

    @property
    def has_entry(self) -> bool:
        """Whether an entry, or a new position, is to be sealed."""
        return self._announce or self.holds_buffer

    @property
    def full_block(self) -> bool:
        """Whether a commit has nothing to wait for."""
        return self._buffer is not None and self._buffer.full_block

    @property
    def buffered(self) -> int:
        """Bytes read and not sealed."""
        return self._buffer.buffered if self._buffer is not None else 0

    def read(self) -> None:
        """Read on in the first file.

        Raises:
            EntryTooLongError: an entry is beyond the limit.
        """
        content = self._files[0]
        try:
            count = self._open_buffer(content).fill(content.read_into)
        except OSError as exc:
            self._hungry = False
            self._say(exc)
            if content.static:
                self._lost(f"a rotated file of {self.path} cannot be read to its end: {exc.strerror}")
                self._finish_file()
            return
        if content.truncated and isinstance(content, LogFile):
            self._follow_truncation(content)
        elif count:
            self._changed = time.monotonic()
        else:
            self._hungry = False
            self._rest()

    def _open_buffer(self, content: Content) -> FileBuffer:
        if self._buffer is None:
            self._buffer = self._new_buffer(self.name, self.offset)
            self._buffer.trail = self._trail
            if isinstance(content, LogFile):
                # Bytes of an unfinished line were given up with the last buffer: they are read again.
                content.position = self.offset
        return self._buffer

    def _rest(self) -> None:
        """At the end of the file: an unfinished line waits, in the file and not in memory."""
        if self._files[0].static:
            self._finish_file()
        elif self._buffer is not None and not self._buffer.has_entry and self._buffer.buffered <= _SMALL:
            self._buffer = None

    def _follow_truncation(self, content: LogFile) -> None:
        """The content is gone: a copy of it may have the rest, but not what came after the copy."""
        self._lost(f"{self.path} was truncated: lines that were written just before may be lost")
        copy = self._find_copy(content)
        self._files.insert(1, content.again())
        self._hungry = True
        if copy is None:
            self._finish_file()
            return
        content.close()
        self._files[0] = copy

    def _find_copy(self, content: LogFile) -> Content | None:
        """A copy of what a file held before it was truncated, from where reading stopped."""
        wanted, seen = content.was
        if (found := find_file(list_rotated(self.path), wanted, seen, copies=True)) is None:
            return None
        copy = found[1]
        copy.static = True
        copy.go_to(content.position)
        return copy

    def turn(self) -> None:
        """Leave a file that was rotated away, if it is finished."""
        if self._hungry or (self._buffer is not None and self._buffer.eof):
            return
        if self._later_content() and time.monotonic() - self._changed > GRACE:
            self._finish_file()

    def _later_content(self) -> bool:
        return any(content.has_more() for content in islice(self._files, 1, None))

    def _finish_file(self) -> None:
        """Nothing more comes from the first file: its last line is an entry, even without a newline."""
        self._hungry = False
        content = self._files[0]
        if self._buffer is None and content.position > self.offset:
            self._open_buffer(content).fill(content.read_into)
        if self._buffer is not None and self._buffer.buffered:
            self._buffer.eof = True
        else:
            self._next_file()

    def _next_file(self) -> None:
        self._buffer = None
        position = self._position(self.offset, self._trail)
        content = self._files.popleft()
        if isinstance(content, LogFile) and not content.truncated:
            self._left.append((content, position, time.monotonic() + LINGER))
        else:
            content.close()
        self._begin()

    def _begin(self) -> None:
        """The first file is a new one: the chain is told at once, so that it is known after a crash."""
        self.offset, self._trail = 0, b""
        self._announce = True
        self._hungry = True
        self._changed = time.monotonic()

    def _check_left(self) -> None:
        """Somebody may write to a file after it was left: that is not sealed, so it must be said."""
        now, kept = time.monotonic(), []
        for content, position, until in self._left:
            if content.has_more():
                self._lost(f"lines were written to {self.path} more than {GRACE:.0f} s after it was rotated")
            elif now < until:
                kept.append((content, position, until))
                continue
            content.close()
        self._left = kept

    # --- sealing --------------------------------------------------------------------------------------------

    def position(self) -> SourceMark | None:
        """Up to where everything is sealed, if anything is known of this path."""
        if self._resume is not None or not self._files:
            return self._resume
        return self._position(self.offset, self._trail)

    def cut_piece(self, entries: int, size: int, first: int) -> Piece | None:
        """The next piece; one without entries if only a new position is to be sealed."""
        if self._announce and (position := self.position()) is not None:
            self._announce = False
            return Piece(0, 0, self._flagged(position))
        buffer = self._buffer
        if buffer is None or (piece := buffer.cut_piece(entries, size, first)) is None:
            return None
        position = self._position(piece.src.offset, buffer.trail)
        self._taken = self._flagged(replace(position, nolf=piece.src.nolf))
        return Piece(piece.size, piece.entries, self._taken)

    def piece_bytes(self) -> memoryview:
        """The bytes of the pieces since the last `done`."""
        if self._buffer is None or self._taken is None:
            return memoryview(b"")
        return self._buffer.piece_bytes()

    def done(self) -> None:
        """All pieces are durable."""
        if self._buffer is None or self._taken is None:
            return
        self._buffer.done(0)
        self.offset, self._trail, self._taken = self._taken.offset, self._buffer.trail, None
        if self._buffer.buffered == 0:
            if self._buffer.eof:
                self._next_file()
            else:
                self._buffer = None

    # --- ending ---------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Read what the files hold at this moment, and no more."""
        self.look()
        for content in self._files:
            if isinstance(content, LogFile):
                content.limit = content.size()

    @property
    def ended(self) -> bool:
        """Whether all that was there at `finish` is sealed; an unfinished last line waits in its file."""
        return not self._hungry and not self.has_entry and not self._later_content()

    @property
    def forgotten(self) -> bool:
        """Whether the file was removed for good: it has no name, no successor, and nobody writes to it."""
        return (
            len(self._files) == 1
            and self._files[0].removed
            and not self._hungry
            and not self.has_entry
            and not os.path.lexists(self.path)
            and time.monotonic() - self._changed > _FORGET
        )

    def reading(self) -> set[tuple[int, int]]:
        """Device and inode of every file that is being read or waits for it."""
        return {content.key for content in self._files}

    def give_away(self, key: tuple[int, int]) -> SourceMark | None:
        """The position at the end of a file that was left a moment ago, for who goes on with it."""
        for item in self._left:
            if item[0].key == key:
                self._left.remove(item)
                item[0].close()
                return item[1]
        return None

    def announce(self) -> None:
        """Have the chain told of the position."""
        self._announce = True

    def close(self) -> None:
        """Close all files."""
        for content in [*self._files, *(content for content, _, _ in self._left)]:
            content.close()

    def _position(self, offset: int, trail: bytes) -> SourceMark:
        content = self._files[0]
        identity = Identity.of(content.key, content.head[: min(HEAD, offset)], trail)
        return SourceMark(self.name, offset, str(identity))

    def _flagged(self, position: SourceMark) -> SourceMark:
        gap, self._gap = self._gap, False
        return replace(position, gap=1) if gap else position

    def _lost(self, message: str) -> None:
        """Entries may be missing: the chain is told at once."""
        self._gap = self._announce = True
        _log.warning("%s", message)

    def _say(self, error: OSError) -> None:
        """Tell of an error once, until it is over or another one."""
        if error.strerror != self._said:
            self._said = error.strerror or ""
            _log.warning("cannot read %s: %s; trying again", self.path, error.strerror)


def _key(item: Rotated) -> tuple[int, int]:
    return item.found.st_dev, item.found.st_ino
