"""Log files that other programs write, followed through rotation and truncation (docs/tailing.md).

While something is written to a file the pause between two looks at it is 10 ms; in silence it doubles up to
250 ms, and after a minute the file is at rest (`path_table.py`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from epochseal.errors import ConfigError
from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.limits import LongEntries, Piece
from epochseal.sources.file_reader import FileBuffers
from epochseal.sources.follower import Follower
from epochseal.sources.joining import QUIET_SECONDS
from epochseal.sources.log_file import source_name
from epochseal.sources.matched_paths import MatchedPaths
from epochseal.sources.path_table import MOST_NAME, SHORTEST, PathTable
from epochseal.sources.records import Rule
from epochseal.sources.source import FileLook
from epochseal.sources.tail_options import TailOptions

_MOST_BUFFERS = 16
# Bytes of all files that are read and not sealed. One file alone may go beyond, up to the end of a long line.
_MOST_BYTES = 32 << 20
_MOST_DECODERS = 4
_SEARCH_SECONDS = 0.02
# The seal lines of one commit are kept in one page beside the keys until they are durable, and the names of
# sources are their longest part: so the names of one commit are limited together, in bytes.
_MOST_NAMES = 8192


class TailSource:
    """All paths of one `tail` table, as one source.

    Args:
        paths: files, or globs; looked up again all the time.
        positions: where the chain says that sealing stopped, by source name (`positions.read_positions`).
        block_bytes, max_entry_bytes, on_long: see `LineBuffer`.
        rule: see `JoiningBuffer`.
        options: how files are followed.

    Raises:
        ConfigError: a path is not absolute or too long.
    """

    name = "tail"
    trouble = ""
    perishable = 0

    def __init__(
        self,
        paths: Sequence[str],
        positions: Mapping[str, SourceMark],
        *,
        block_bytes: int,
        max_entry_bytes: int,
        on_long: LongEntries = "stop",
        rule: Rule | None = None,
        options: TailOptions | None = None,
    ) -> None:
        for path in paths:
            if not Path(path).is_absolute() or len(source_name(path)) > MOST_NAME:
                raise ConfigError(f"tail: {path!r} is not an absolute path of at most {MOST_NAME} bytes")
        buffers = FileBuffers(
            block_bytes=block_bytes, max_entry_bytes=max_entry_bytes, on_long=on_long, rule=rule
        )
        options = options or TailOptions()
        matched = MatchedPaths([os.path.normpath(path) for path in paths], options.exclude)
        self._table = PathTable(matched, options, positions, buffers)
        self._givers: list[Follower] = []
        self._place = 0
        self._names = 0
        self._finishing = False

    # --- the loop's questions -------------------------------------------------------------------------------

    @property
    def has_entry(self) -> bool:
        """Whether anything is to be sealed."""
        return bool(self._table.ended) or any(follower.has_entry for follower in self._table.order)

    @property
    def full_block(self) -> bool:
        """Whether a commit has nothing to wait for."""
        return any(follower.full_block for follower in self._table.order)

    @property
    def buffered(self) -> int:
        """Bytes read and not sealed; a last line that waits for its newline is still in its file."""
        return 0 if self.ended else sum(follower.buffered for follower in self._table.order)

    @property
    def lag(self) -> int:
        """Bytes in all files that are followed, read or not, that are not sealed; any thread may ask."""
        return sum(look.lag for look in self.files)

    @property
    def files(self) -> list[FileLook]:
        """Those that cannot be read or have something to be sealed; any thread may ask."""
        return self._table.file_looks()

    @property
    def ended(self) -> bool:
        """Only after `finish`: whether all that was there then is sealed."""
        return (
            self._finishing
            and not self._table.has_due
            and all(follower.ended for follower in self._table.order)
        )

    def descriptors(self) -> list[int]:
        """News of the kernel."""
        return self._table.descriptors()

    def ready(self, _descriptor: int) -> None:
        """There is news."""
        self._table.take_news()

    def wait_seconds(self) -> float:
        """Until the next look; no time at all while there is more to read."""
        if self._table.has_due or self._searching() or self._readable():
            return 0.0
        wait = max(0.0, self._table.next_look() - time.monotonic())
        holding = any(follower.holding for follower in self._table.order)
        return min(wait, QUIET_SECONDS / 4) if holding else wait

    def tick(self) -> None:
        """Look, and read on.

        Raises:
            EntryTooLongError: an entry is beyond the limit.
        """
        self._table.look()
        self._search_on()
        for follower in self._readable():
            follower.read()
            follower.pause = 0.0
            follower.look_at = min(follower.look_at, time.monotonic() + SHORTEST)
        self._table.let_rest()

    def finish(self) -> None:
        """Take what the files hold now; a last line without newline stays for the next start."""
        self._table.finish()
        self._finishing = True

    # --- pieces ---------------------------------------------------------------------------------------------

    def cut_piece(self, entries: int, size: int, first: int) -> Piece | None:
        """The next piece of any file; the pieces of one file stand side by side.

        Raises:
            EntryTooLongError: the next entry is longer than the limit.
        """
        while self._place < len(self._table.order):
            follower = self._table.order[self._place]
            if follower.has_entry and self._names + len(follower.name) <= _MOST_NAMES:
                piece = follower.cut_piece(entries, size, first)
                if piece is not None:
                    self._names += len(follower.name)
                    if follower not in self._givers:
                        self._givers.append(follower)
                    return piece
            self._place += 1
        if self._table.ended and self._names < _MOST_NAMES:
            # Behind the position of the other name: a crash in between leaves both, and the file is known.
            self._names += len(self._table.ended[0].name)
            return Piece(0, 0, self._table.ended.pop(0))
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
        # The next commit begins with others: busy files must not keep them waiting.
        self._table.order.sort(key=lambda follower: follower in self._givers)
        self._givers, self._names, self._place = [], 0, 0

    def positions(self) -> list[SourceMark]:
        """Up to where each file is sealed; also of paths at which nothing stands at the moment."""
        return self._table.positions()

    def close(self) -> None:
        """Close all files."""
        self._table.close()

    # --- reading --------------------------------------------------------------------------------------------

    def _searching(self) -> list[Follower]:
        return [follower for follower in self._table.order if follower.succession.is_searching]

    def _search_on(self) -> None:
        """Go on with one search after the other, for so long that nobody waits for it."""
        until = time.monotonic() + _SEARCH_SECONDS
        for follower in self._searching():
            while follower.succession.is_searching:
                follower.succession.search_on()
                if time.monotonic() >= until:
                    return

    def _readable(self) -> list[Follower]:
        """Those that have something and may read it: only so many at a time hold entries in memory."""
        order = self._table.order
        holders = sum(follower.holds_buffer for follower in order)
        room = sum(follower.buffered for follower in order) < _MOST_BYTES
        decoders = _MOST_DECODERS
        readable = []
        # Where there is no room, the one that has read the most of a line goes on until it has all of it.
        largest = None if room else max(order, key=lambda follower: follower.buffered)
        for follower in order:
            # An idle file takes no place: behind many of them one that has something would never be read.
            if not (follower.wants_more and (room or follower is largest)):
                continue
            if follower.is_compressed:
                decoders -= 1
            if (follower.holds_buffer or holders < _MOST_BUFFERS) and not (
                follower.is_compressed and decoders < 0
            ):
                holders += not follower.holds_buffer
                readable.append(follower)
        return readable
