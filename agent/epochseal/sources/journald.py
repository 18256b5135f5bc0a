"""Entries of the system journal, read by a child `journalctl`: one JSON line is one entry, as it is printed.

The journal gives each entry a cursor. The cursor of the last sealed entry stands in the chain (`file` of the
source, percent-encoded; `offset` counts entries), so that the next start goes on behind it.
"""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

import msgspec

from epochseal.descriptors import is_reserved
from epochseal.encoding import UNREADABLE
from epochseal.errors import EpochsealError
from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.limits import LongEntries, Piece
from epochseal.sources.buffer import LineBuffer
from epochseal.sources.log_file import percent_encode

NAME = "journald"
_PROGRAM = "journalctl"
_RETRY = 1.0
_STOP = 5.0
_log = logging.getLogger(__name__)


class _Address(msgspec.Struct):
    """Of an entry's fields only its place; programs cannot set a field whose name begins with `__`."""

    cursor: str = msgspec.field(name="__CURSOR")


class _JournalBuffer(LineBuffer):
    """Journal entries; `offset` of a piece is the number of entries, `file` the cursor of its last one."""

    def __init__(
        self, position: SourceMark, *, block_bytes: int, max_entry_bytes: int, on_long: LongEntries
    ) -> None:
        super().__init__(NAME, block_bytes=block_bytes, max_entry_bytes=max_entry_bytes, on_long=on_long)
        self.position = position
        self.gap = 0

    def cut_piece(self, entries: int, size: int, first: int) -> Piece | None:
        """As of any lines (see `LineBuffer.cut_piece`)."""
        if (piece := super().cut_piece(entries, size, first)) is None:
            return None
        count, file = self.position.offset + piece.entries, self.position.file
        if piece.size:
            last = self._buffer.rfind(b"\n", self._begin - piece.size, self._begin - 1) + 1
            cursor = read_cursor(bytes(self._buffer[max(last, self._begin - piece.size) : self._begin]))
            file = percent_encode(cursor.encode())
        # Of an entry that was skipped the cursor is not known: the next one tells where the journal is.
        self.position = SourceMark(NAME, count, file)
        src = SourceMark(NAME, count, file, gap=self.gap | piece.src.gap, skipped=piece.src.skipped)
        self.gap = 0
        return Piece(piece.size, piece.entries, src)


class JournaldSource:
    """The journal from the chain's position on, or from its beginning where the chain has none.

    Args:
        units: only these, by name; all where there are none.
        directory: read the journal files there instead of the system's.
        positions: where the chain says that sealing stopped (`positions.read_positions`).
        block_bytes, max_entry_bytes, on_long: see `LineBuffer`.

    Raises:
        EpochsealError: journalctl cannot be started.
    """

    name = NAME
    trouble = ""

    def __init__(
        self,
        units: Sequence[str],
        directory: Path | None,
        positions: Mapping[str, SourceMark],
        *,
        block_bytes: int,
        max_entry_bytes: int,
        on_long: LongEntries = "stop",
    ) -> None:
        self._select = [f"--unit={unit}" for unit in units]
        self._select += [f"--directory={directory}"] if directory is not None else []
        self._limits = block_bytes, max_entry_bytes, on_long
        self._sealed = positions.get(NAME, SourceMark(NAME, 0))
        self._child: subprocess.Popen[bytes] | None = None
        self._finishing = False
        self._retry_at = 0.0
        self._buffer = self._new_buffer()
        self._buffer.gap = int(self._is_lost())
        self._start()

    # --- the child ------------------------------------------------------------------------------------------

    def _start(self) -> None:
        cursor = unquote(self._buffer.position.file)
        place = [f"--after-cursor={cursor}"] if cursor else []
        words = [
            _PROGRAM,
            "--output=json",
            "--all",
            "--follow",
            "--no-tail",
            "--quiet",
            *place,
            *self._select,
        ]
        try:
            self._child = subprocess.Popen(  # noqa: S603  # our own words; a unit's name is an argument of its own
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, pipesize=1 << 20
            )
        except OSError as exc:
            if exc.errno in (errno.EMFILE, errno.ENFILE):
                self._wait_for_descriptors()
                return
            raise EpochsealError(
                f"cannot run {_PROGRAM}: {exc.strerror}", "install systemd, or remove the journald source"
            ) from exc
        if is_reserved(self._pipe()):
            self.close()
            self._wait_for_descriptors()
            return
        os.set_blocking(self._pipe(), False)

    def _wait_for_descriptors(self) -> None:
        # The journal keeps its entries; those that were taken already need the descriptors for being sealed.
        _log.warning("too few descriptors are left to run %s: trying again", _PROGRAM)
        self._retry_at = time.monotonic() + _RETRY

    def _is_lost(self) -> bool:
        """Whether the journal no longer has the entry that was sealed last."""
        if not (cursor := unquote(self._sealed.file)):
            return False
        words = [_PROGRAM, "--output=json", "--quiet", "--lines=1", f"--cursor={cursor}"]
        words += [word for word in self._select if word.startswith("--directory")]
        try:
            found = subprocess.run(words, capture_output=True, check=False, timeout=30)  # noqa: S603  # as above
            first = found.stdout.partition(b"\n")[0]
            lost = not first or read_cursor(first) != cursor
        except (OSError, subprocess.TimeoutExpired, EpochsealError):
            lost = True
        if lost:
            _log.warning("the journal no longer has the entry that was sealed last: entries may be missing")
        return lost

    def _pipe(self) -> int:
        if self._child is None or self._child.stdout is None:
            raise EpochsealError(f"{_PROGRAM} is not running")
        return self._child.stdout.fileno()

    def _reap(self) -> None:
        """The child closed its output: an unfinished line is dropped, and read again by the next child."""
        child, self._child = self._child, None
        if child is None:
            return
        if child.stdout is not None:
            child.stdout.close()
        status = child.wait()
        if not self._finishing:
            _log.warning("%s ended with status %d; starting it again", _PROGRAM, status)
            self._retry_at = time.monotonic() + _RETRY

    def _new_buffer(self) -> _JournalBuffer:
        block, longest, on_long = self._limits
        return _JournalBuffer(self._sealed, block_bytes=block, max_entry_bytes=longest, on_long=on_long)

    # --- the loop's questions -------------------------------------------------------------------------------

    @property
    def has_entry(self) -> bool:
        """Whether at least one entry is waiting."""
        return self._buffer.has_entry

    @property
    def full_block(self) -> bool:
        """Whether a commit has nothing to wait for."""
        return self._buffer.full_block or (self._child is None and self._buffer.has_entry)

    @property
    def buffered(self) -> int:
        """Bytes that came and are not sealed yet; they are still in the journal."""
        return 0 if self.ended else self._buffer.buffered

    @property
    def lag(self) -> int:
        """As `buffered`: how much the journal has beyond it, journalctl does not tell."""
        return self.buffered

    @property
    def ended(self) -> bool:
        """Only after `finish`: whether all that came is sealed."""
        return self._finishing and self._child is None and not self._buffer.has_entry

    def descriptors(self) -> list[int]:
        """The child's output, unless the buffer is full."""
        return [self._pipe()] if self._child is not None and self._buffer.wants_more else []

    def ready(self, descriptor: int) -> None:
        """The child's output is readable.

        Raises:
            EntryTooLongError: an entry is beyond the limit.
        """
        ended = False

        def read(free: memoryview) -> int:
            nonlocal ended
            try:
                count = os.readv(descriptor, [free])
            except BlockingIOError:
                return 0
            ended = count == 0
            return count

        self._buffer.fill(read)
        if ended:
            self._reap()

    def wait_seconds(self) -> float:
        """Until a child that died is started again."""
        return (
            60.0
            if self._child is not None or self._finishing
            else max(0.0, self._retry_at - time.monotonic())
        )

    def tick(self) -> None:
        """Start the child again if it died, once all that it gave is sealed."""
        due = self._child is None and not self._finishing and time.monotonic() >= self._retry_at
        if due and not self._buffer.has_entry:
            self._buffer = self._new_buffer()
            self._start()

    def finish(self) -> None:
        """What the child has given by now is sealed; the rest is for the next start."""
        self._finishing = True
        if self._child is not None:
            self._child.terminate()

    def positions(self) -> list[SourceMark]:
        """The cursor of the last sealed entry, if one was."""
        return [self._sealed] if self._sealed.file else []

    # --- pieces ---------------------------------------------------------------------------------------------

    def cut_piece(self, entries: int, size: int, first: int) -> Piece | None:
        """The next piece (see `LineBuffer.cut_piece`)."""
        return self._buffer.cut_piece(entries, size, first)

    def piece_bytes(self) -> memoryview:
        """The bytes of all pieces since the last `done`."""
        return self._buffer.piece_bytes()

    def done(self, first_entry: int) -> None:
        """All pieces are durable."""
        self._buffer.done(first_entry)
        self._sealed = self._buffer.position

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is None:
            return
        child.terminate()
        try:
            child.wait(_STOP)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()


def read_cursor(line: bytes) -> str:
    """The cursor of an entry as journalctl prints it.

    Raises:
        EpochsealError: it has none.
    """
    try:
        return msgspec.json.decode(line, type=_Address).cursor
    except UNREADABLE as exc:
        raise EpochsealError(f"{_PROGRAM} printed what is no entry: {line[:80]!r}") from exc
