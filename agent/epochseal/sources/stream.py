"""Entries from a stream of lines: standard input, or the output of a command."""

from __future__ import annotations

import logging
import math
import os

from epochseal.errors import EpochsealError
from epochseal.format.seal_lines import SourceMark
from epochseal.polling import is_readable
from epochseal.sealing.limits import LongEntries, Piece
from epochseal.sources.buffer import EntryTooLongError
from epochseal.sources.joining import QUIET_SECONDS, JoiningBuffer
from epochseal.sources.records import Rule
from epochseal.sources.unread_bytes import unread_bytes

__all__ = ["EntryTooLongError", "StreamSource"]

_log = logging.getLogger(__name__)


class StreamSource(JoiningBuffer):
    """Reads a file descriptor until its end, or until `finish` finds nothing more to read."""

    def __init__(
        self,
        fd: int,
        name: str,
        *,
        block_bytes: int,
        max_entry_bytes: int,
        on_long: LongEntries = "stop",
        rule: Rule | None = None,
    ) -> None:
        super().__init__(name, block_bytes=block_bytes, max_entry_bytes=max_entry_bytes, on_long=on_long)
        self.rule = rule
        self._fd = fd
        self._finishing = False
        self._terminal = os.isatty(fd)
        self._hung_up = False

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._fd

    def descriptors(self) -> list[int]:
        """What to wait for: nothing while the buffer is full, so that the writer waits."""
        return [self._fd] if self.wants_more else []

    def ready(self, _descriptor: int) -> None:
        """The descriptor is readable."""
        self.read()

    def read(self) -> None:
        """Read what is there, once.

        Raises:
            EntryTooLongError: more than `max_entry_bytes` have come without a newline.
            EpochsealError: the stream cannot be read.
        """
        self.fill(self._read_into)

    def wait_seconds(self) -> float:
        """Only input is waited for, and the end of a record's time."""
        return QUIET_SECONDS / 4 if self.holding else math.inf

    def tick(self) -> None:
        """While finishing: the stream ends where there is nothing to read."""
        if self._finishing and self.wants_more:
            self.eof = not is_readable(self._fd, 0)

    def finish(self) -> None:
        """A stop was asked for: what was written before it is still taken."""
        self._finishing = True

    @property
    def has_entry(self) -> bool:
        """As the buffer's; that a terminal hung up is to be told, too."""
        return super().has_entry or self._hung_up

    def cut_piece(self, entries: int, size: int, first: int) -> Piece | None:
        """As the buffer's; behind the last entry of a terminal that hung up comes a gap."""
        piece = super().cut_piece(entries, size, first)
        if piece is None and self._hung_up and self._begin == self._end:
            self._hung_up = False
            offset = self._offset + self._end - self._start - self._added
            return Piece(0, 0, SourceMark(self.name, offset, gap=1))
        return piece

    @property
    def lag(self) -> int:
        """With what still waits in the pipe, the socket or the file; any thread may ask."""
        return self.buffered + unread_bytes(self._fd)

    @property
    def perishable(self) -> int:
        """All of it."""
        return self.lag

    @property
    def ended(self) -> bool:
        """Whether nothing more will come, and all that came is sealed."""
        return self.eof and not self.has_entry

    def positions(self) -> list[SourceMark]:
        """None: what was read from a stream cannot be read again."""
        return []

    def close(self) -> None:
        """Close the descriptor; closing again does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _read_into(self, free: memoryview) -> int:
        try:
            count = os.readv(self._fd, [free])
        except BlockingIOError:
            return 0
        except OSError as exc:
            raise EpochsealError(f"cannot read {self.name}: {exc.strerror}") from exc
        self.eof = count == 0
        if self.eof and self._terminal and not os.isatty(self._fd):
            # Unlike at the end that somebody types: the system throws away what was not read.
            self._hung_up = True
            _log.error("%s: the terminal hung up: what was typed last may be missing", self.name)
        return count
