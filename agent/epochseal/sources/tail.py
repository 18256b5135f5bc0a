"""Log files that other programs write, followed through rotation and truncation (docs/tailing.md).

Files are looked at, not waited for: looking works on every file system (inotify sees no write that comes from
another host or through another layer of an overlay) and has no queue that overflows. While something is
written the pause between two looks is 10 ms; in silence it doubles up to 250 ms.
"""

from __future__ import annotations

import glob
import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePath
from urllib.parse import unquote_to_bytes

from msgspec.structs import replace

from epochseal.errors import ConfigError
from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.limits import LongEntries, Piece
from epochseal.sources.file_reader import FileBuffer
from epochseal.sources.follower import Follower
from epochseal.sources.log_file import source_name
from epochseal.sources.rotated_files import COMPRESSED, base_names

SHORTEST, LONGEST = 0.01, 0.25
_SCAN_EVERY = 1.0
_MOST_BUFFERS = 16
_MOST_REMEMBERED = 1024
# The seal lines of one commit are kept in one page beside the keys until they are durable, and the names of
# sources are their longest part: so the names of one commit are limited together, in bytes.
_MOST_NAMES = 8192
_MOST_NAME = 4096
_log = logging.getLogger(__name__)


class TailSource:
    """All paths of one `tail` table, as one source.

    Args:
        paths: files, or globs; looked up again all the time.
        positions: where the chain says that sealing stopped, by source name (`positions.read_positions`).
        block_bytes, max_entry_bytes, on_long: see `LineBuffer`.

    Raises:
        ConfigError: a path is not absolute or too long.
    """

    name = "tail"

    def __init__(
        self,
        paths: Sequence[str],
        positions: Mapping[str, SourceMark],
        *,
        block_bytes: int,
        max_entry_bytes: int,
        on_long: LongEntries = "stop",
    ) -> None:
        for path in paths:
            if not Path(path).is_absolute() or len(source_name(path)) > _MOST_NAME:
                raise ConfigError(f"tail: {path!r} is not an absolute path of at most {_MOST_NAME} bytes")
        self._patterns = [os.path.normpath(path) for path in paths]
        # Only positions of files that these paths can name: others belong to another source of this log, or
        # to a file that the configuration does not name any more.
        self._positions = {name: src for name, src in positions.items() if self._is_ours(name)}
        self._limits = block_bytes, max_entry_bytes, on_long
        self._followers: dict[str, Follower] = {}
        self._order: list[Follower] = []
        self._givers: list[Follower] = []
        self._place = 0
        self._names = 0
        self._pause = SHORTEST
        self._look_at = self._scan_at = 0.0
        self._finishing = False
        self._told: set[str] = set()

    # --- the loop's questions -------------------------------------------------------------------------------

    @property
    def has_entry(self) -> bool:
        """Whether anything is to be sealed."""
        return any(follower.has_entry for follower in self._order)

    @property
    def full_block(self) -> bool:
        """Whether a commit has nothing to wait for."""
        return any(follower.full_block for follower in self._order)

    @property
    def buffered(self) -> int:
        """Bytes read and not sealed; a last line that waits for its newline is still in its file."""
        return 0 if self.ended else sum(follower.buffered for follower in self._order)

    @property
    def lag(self) -> int:
        """Bytes in all files that are followed, read or not, that are not sealed; any thread may ask."""
        return sum(follower.lag for follower in tuple(self._order))

    @property
    def ended(self) -> bool:
        """Only after `finish`: whether all that was there then is sealed."""
        return self._finishing and all(follower.ended for follower in self._order)

    def descriptors(self) -> list[int]:
        """Nothing to wait for."""
        return []

    def ready(self, _descriptor: int) -> None:
        """Never called."""

    def wait_seconds(self) -> float:
        """Until the next look; no time at all while there is more to read."""
        if self._readable():
            return 0.0
        return max(0.0, self._look_at - time.monotonic())

    def tick(self) -> None:
        """Look, and read on.

        Raises:
            EntryTooLongError: an entry is beyond the limit.
        """
        now = time.monotonic()
        if now >= self._scan_at and not self._finishing:
            self._scan_at = now + _SCAN_EVERY
            self._scan()
        if now >= self._look_at:
            for follower in self._order:
                if self._finishing:
                    follower.look_at_files()
                else:
                    follower.look()
                follower.turn()
            self._forget()
        busy = self._read()
        if busy or now >= self._look_at:
            self._pause = SHORTEST if busy else min(2 * self._pause, LONGEST)
            self._look_at = time.monotonic() + self._pause

    def finish(self) -> None:
        """Take what the files hold now; a last line without newline stays for the next start."""
        self._scan()
        for follower in self._order:
            follower.finish()
        self._finishing = True

    # --- pieces ---------------------------------------------------------------------------------------------

    def cut_piece(self, entries: int, size: int, first: int) -> Piece | None:
        """The next piece of any file; the pieces of one file stand side by side.

        Raises:
            EntryTooLongError: the next entry is longer than the limit.
        """
        while self._place < len(self._order):
            follower = self._order[self._place]
            if follower.has_entry and self._names + len(follower.name) <= _MOST_NAMES:
                piece = follower.cut_piece(entries, size, first)
                if piece is not None:
                    self._names += len(follower.name)
                    if follower not in self._givers:
                        self._givers.append(follower)
                    return piece
            self._place += 1
        if not self._givers:
            self._place = 0
        return None

    def piece_bytes(self) -> memoryview:
        """The bytes of all pieces since the last `done`."""
        views = [follower.piece_bytes() for follower in self._givers]
        return views[0] if len(views) == 1 else memoryview(b"".join(views))

    def done(self, _first_entry: int) -> None:
        """All pieces are durable."""
        for follower in self._givers:
            follower.done()
        self._givers, self._names, self._place = [], 0, 0
        # The next commit begins with another file: a busy one must not keep the others waiting.
        self._order.append(self._order.pop(0))

    def positions(self) -> list[SourceMark]:
        """Up to where each file is sealed; also of paths that are not followed at the moment."""
        known = [follower.position() for follower in self._order]
        remembered = list(self._positions.values())[-_MOST_REMEMBERED:]
        return [*remembered, *(position for position in known if position is not None)]

    def close(self) -> None:
        """Close all files."""
        for follower in self._order:
            follower.close()

    # --- files ----------------------------------------------------------------------------------------------

    def _scan(self) -> None:
        """Begin with files that are new; those that are only rotated forms of others are read as such."""
        matched = {pattern: _expand(pattern) for pattern in self._patterns}
        for pattern, paths in matched.items():
            if pattern not in self._told and not any(map(os.path.lexists, paths)):
                # A typo looks like a service that has not written yet: only a person can tell which it is.
                _log.warning("%s: no such file yet; it is followed once it is there", pattern)
            self._told.add(pattern)
        found = {path: None for paths in matched.values() for path in paths}
        for path in found:
            new = path not in self._followers and len(source_name(path)) <= _MOST_NAME
            if new and not self._is_rotated(path, found):
                self._add(path)

    def _is_ours(self, name: str) -> bool:
        kind, _, encoded = name.partition(":")
        path = PurePath(os.fsdecode(unquote_to_bytes(encoded)))
        return kind == "tail" and any(
            fnmatch(str(path), pattern) if "**" in pattern else path.match(pattern)
            for pattern in self._patterns
        )

    def _is_rotated(self, path: str, found: Iterable[str]) -> bool:
        if path in self._patterns:
            return False
        folder, name = os.path.split(path)
        bases = [f"{folder}/{base}" for base in base_names(name)]
        known = [base for base in bases if base in found or source_name(base) in self._positions]
        return bool(known) or name.endswith(COMPRESSED) or any(base in self._followers for base in bases)

    def _add(self, path: str) -> None:
        try:
            stat = Path(path).stat()
        except OSError:
            stat = None  # not there yet, or not readable: the follower waits for it
        position = self._positions.pop(source_name(path), None)
        if stat is not None and position is None:
            # A new name, but perhaps no new file: it was renamed, and both names match the globs, or it is
            # a hard link. Its lines must not be sealed twice.
            key = stat.st_dev, stat.st_ino
            if any(key in item.reading() for item in self._order):
                return
            left = next((left for item in self._order if (left := item.give_away(key)) is not None), None)
            position = replace(left, name=source_name(path)) if left is not None else None
        follower = Follower(path, position, self._new_buffer)
        self._followers[path] = follower
        self._order.append(follower)
        follower.look()
        if position is not None:
            follower.announce()

    def _forget(self) -> None:
        for follower in [item for item in self._order if item.forgotten and item.path not in self._patterns]:
            follower.close()
            self._order.remove(follower)
            del self._followers[follower.path]

    def _new_buffer(self, name: str, offset: int) -> FileBuffer:
        block, longest, on_long = self._limits
        return FileBuffer(name, block_bytes=block, max_entry_bytes=longest, offset=offset, on_long=on_long)

    def _readable(self) -> list[Follower]:
        """Those that have something and may read it: only so many at a time hold entries in memory."""
        holders = sum(follower.holds_buffer for follower in self._order)
        readable = []
        for follower in self._order:
            # An idle file takes no place: behind sixteen of them one that has something would never be read.
            if follower.wants_more and (follower.holds_buffer or holders < _MOST_BUFFERS):
                holders += not follower.holds_buffer
                readable.append(follower)
        return readable

    def _read(self) -> bool:
        busy = False
        for follower in self._readable():
            follower.read()
            busy = True
        return busy


def _expand(pattern: str) -> list[str]:
    if not glob.has_magic(pattern):
        return [pattern]
    found = glob.iglob(pattern, recursive=True)  # noqa: PTH207  # Path.glob takes no absolute pattern
    return sorted(path for path in found if Path(path).is_file())
