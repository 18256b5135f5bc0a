"""Entries of the system journal, read by a child `journalctl`: one JSON line is one entry, as it is printed.

The journal is files, each with entries of one series, numbered (journal_files.py). One file at a time is read
by a child that is handed the open file: from the number behind the last one that is sealed, up to its end.
So boots, rotations and the clock play no part, and a file that a vacuum removes is still read. Where a series
goes on is in the chain: `name` has the series, `file` the cursor of its last entry, `offset` counts entries.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
from msgspec.structs import replace

from epochseal.decoders import json_decoder
from epochseal.encoding import UNREADABLE
from epochseal.errors import EpochsealError, FormatError
from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.limits import LongEntries, Piece
from epochseal.sources.buffer import READ_SIZE, LineBuffer
from epochseal.sources.journal_child import PROGRAM, JournalChild
from epochseal.sources.journal_files import JournalFile, JournalFiles
from epochseal.sources.journal_selection import Exclusion, Selection
from epochseal.sources.journal_series import NAME, Series, cursor_of, is_proven, read_cursor, series_of

UNREADABLE_SECONDS = 10.0
"""An entry that was counted so long ago and is not printed cannot be read."""
_LOOK_EVERY, _SCAN_EVERY, _RETRY, _MOST_TRIES = 0.25, 1.0, 1.0, 5
_SHARE = 10
"""A child that took some time is followed by a pause of so many times that."""
_MOST_SERIES = 256
_log = logging.getLogger(__name__)


class _Address(msgspec.Struct):
    """Of an entry's fields only its place; programs cannot set a field whose name begins with `__`."""

    cursor: str = msgspec.field(name="__CURSOR")


@dataclass(slots=True)
class _Reading:
    """What a child reads, or has read and is not sealed yet.

    Attributes:
        tail: number of the file's last entry when the child was started.
        last: number of the last entry that was cut; `entries` of the series up to there.
        status: how the child ended; None while it runs.
    """

    file: JournalFile
    series: Series
    tail: int
    last: int
    entries: int
    began: float
    status: int | None = None


class JournaldSource:
    """The journal from the chain's positions on, or from its beginning where the chain has none.

    Args:
        selection: which entries.
        directory: read the journal files there instead of the system's.
        positions: where the chain says that sealing stopped (`source_positions.read_positions`).
        block_bytes, max_entry_bytes, on_long: see `LineBuffer`.

    Raises:
        EpochsealError: there is no journalctl.
    """

    name, files, perishable = NAME, (), 0

    def __init__(
        self,
        selection: Selection,
        directory: Path | None,
        positions: Mapping[str, SourceMark],
        *,
        block_bytes: int,
        max_entry_bytes: int,
        on_long: LongEntries = "stop",
    ) -> None:
        if shutil.which(PROGRAM) is None:
            hint = "install systemd, or remove the journald source"
            raise EpochsealError(f"cannot run {PROGRAM}: it is not installed", hint)
        self._selection = selection
        self._limits = block_bytes, max_entry_bytes, on_long
        self._files = JournalFiles(directory)
        self._child: JournalChild | None = None
        self._reading: _Reading | None = None
        self._begin_buffer()
        self._announced: list[Series] = []
        self._finishing = False
        self._waits_for = ""
        self._look_at = self._scan_at = 0.0
        known = [series for mark in positions.values() if (series := series_of(mark)) is not None]
        self._series = {series.name: series for series in known}
        self._files.scan(time.monotonic())
        self._look_at_beginnings(first=not known)

    # --- the loop's questions -------------------------------------------------------------------------------

    @property
    def has_entry(self) -> bool:
        """Whether at least one entry, or a gap, is to be sealed."""
        return bool(self._announced) or self._buffer.has_entry

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
        """As `buffered`: of what is beyond it the journal tells the number, not the size."""
        return self.buffered

    @property
    def trouble(self) -> str:
        """Why nothing can be read; empty where it can."""
        return self._waits_for or ("" if self._files.files else "there is no journal file that can be read")

    @property
    def ended(self) -> bool:
        """Only after `finish`: whether all that came is sealed."""
        return self._finishing and self._child is None and not self.has_entry

    def descriptors(self) -> list[int]:
        """The child's output, unless the buffer is full."""
        return [self._child.fileno()] if self._child is not None and self._buffer.wants_more else []

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

        if self._exclusion is None:
            self._buffer.fill(read)
        else:
            chunk = bytearray(READ_SIZE)
            count = read(memoryview(chunk))
            if left := self._exclusion.feed(bytes(chunk[:count])):
                for start in range(0, len(left), READ_SIZE):
                    self._buffer.fill(partial(_copy, left[start : start + READ_SIZE]))
        if ended and self._child is not None and self._reading is not None:
            self._reading.status, self._child = self._child.reap(), None

    def wait_seconds(self) -> float:
        """Until the next look."""
        if self._child is not None or self._finishing:
            return 60.0
        return max(0.0, self._look_at - time.monotonic())

    def tick(self) -> None:
        """Go on with the next file that has more, once all that the last child gave is sealed."""
        if self._child is not None or self._finishing or self._buffer.has_entry:
            return
        now = time.monotonic()
        if (reading := self._reading) is not None:
            self._reading = None
            self._settle(reading, now)
        if now >= self._look_at:
            self._look_at = now + _LOOK_EVERY
            if now >= self._scan_at:
                self._scan(now)
            self._files.look(now)
            if (file := self._next_file()) is not None:
                self._begin(file, now)

    def finish(self) -> None:
        """What the child has given by now is sealed; the rest is for the next start."""
        self._finishing = True
        if self._child is not None:
            self._child.terminate()
        elif self._reading is None:
            # What was passed over is told, so that the next start need not look at it again.
            self._announced += [item for item in self._series.values() if item.passed > item.stated]

    def positions(self) -> list[SourceMark]:
        """The cursor of the last entry of each series that was sealed, or passed over."""
        there = [series for series in self._series.values() if series.passed and not series.over]
        marks = [series.mark(series.passed, series.entries) for series in there[-_MOST_SERIES:]]
        # Something has to be stated: else a start would look for older positions, of series that are over.
        return marks or [SourceMark(NAME, 0)]

    # --- pieces ---------------------------------------------------------------------------------------------

    def cut_piece(self, entries: int, size: int, first: int) -> Piece | None:
        """The next piece (see `LineBuffer.cut_piece`); one without entries tells of a gap, or a position."""
        if self._announced:
            series = self._announced.pop(0)
            series.stated = series.passed
            return Piece(0, 0, _flagged(series, series.mark(series.passed, series.entries)))
        reading = self._reading
        if reading is None or (piece := self._buffer.cut_piece(entries, size, first)) is None:
            return None
        if piece.size:
            reading.last = self._number(self._buffer.last_line(piece.size), reading.series)
        # Of an entry that was skipped the number is not known: the next one tells it.
        reading.entries += piece.entries
        mark = reading.series.mark(reading.last, reading.entries)
        src = replace(mark, gap=piece.src.gap, skipped=piece.src.skipped)
        return Piece(piece.size, piece.entries, _flagged(reading.series, src))

    def piece_bytes(self) -> memoryview:
        """The bytes of all pieces since the last `done`."""
        return self._buffer.piece_bytes()

    def done(self, first_entry: int) -> None:
        """All pieces are durable."""
        self._buffer.done(first_entry)
        if (reading := self._reading) is not None:
            series = reading.series
            series.entries = reading.entries
            series.passed = series.stated = max(series.passed, reading.last)

    def close(self) -> None:
        """End the child, let go of all files."""
        child, self._child = self._child, None
        if child is not None:
            child.close()
        self._files.close()

    # --- files ----------------------------------------------------------------------------------------------

    def _look_at_beginnings(self, *, first: bool) -> None:
        there = self._files.files
        for file in there if first else ():
            # A journal that is read for the first time begins where it begins.
            series = self._series.setdefault(file.series, Series(file.series, passed=max(file.head - 1, 0)))
            series.passed = min(series.passed, max(file.head - 1, 0))
        for series in list(self._series.values()):
            if all(file.series != series.name for file in there):
                series.over = True
                self._lost(series, "the journal no longer has the entry that was sealed last")

    def _scan(self, now: float) -> None:
        self._scan_at = now + _SCAN_EVERY
        for file in self._files.scan(now):
            if self._has_more(file):
                self._lost(self._of(file), f"{file.path} was removed before it was read to its end")
        for file in self._files.files:
            if file.gone and not self._has_more(file):
                self._files.forget(file)
        there = {file.series for file in self._files.files}
        for series in self._series.values():
            series.over = series.name not in there

    def _of(self, file: JournalFile) -> Series:
        return self._series.setdefault(file.series, Series(file.series))

    def _has_more(self, file: JournalFile) -> bool:
        series = self._series.get(file.series)
        return file.tail > (series.passed if series is not None else 0)

    def _next_file(self) -> JournalFile | None:
        """The one that was read longest ago, of new ones the oldest; of a series the lowest head."""
        waiting: dict[str, JournalFile] = {}
        for file in sorted(self._files.files, key=lambda file: file.head):
            if self._has_more(file):
                waiting.setdefault(file.series, file)
        return min(waiting.values(), key=lambda file: (file.began, file.time), default=None)

    def _begin(self, file: JournalFile, now: float) -> None:
        file.began = now
        try:
            file.open()
        except FileNotFoundError:
            # It was renamed or removed a moment ago: that is seen by looking again.
            self._scan_at = 0.0
            return
        except OSError as exc:
            self._wait(f"{file.path} cannot be opened: {exc.strerror}", now)
            return
        series = self._series.get(file.series)
        proven = is_proven(series, file, self._files.files)
        series = self._of(file)
        if not proven:
            self._lost(series, f"entries before number {file.head} of {file.path} may be missing")
        series.passed = max(series.passed, file.head - 1)
        self._begin_buffer()
        cursor = cursor_of(series.name, series.passed + 1) if series.passed else ""
        try:
            self._child = JournalChild(file.fd, cursor, self._selection.words())
        except OSError as exc:
            # The journal keeps its entries; those that were taken need the descriptors for being sealed.
            self._wait(f"{PROGRAM} cannot be run: {exc.strerror}", now)
            return
        self._waits_for = ""
        self._reading = _Reading(file, series, file.tail, series.passed, series.entries, now)

    def _wait(self, why: str, now: float) -> None:
        self._look_at = now + _RETRY
        if why != self._waits_for:
            _log.warning("journal: %s: trying again", why)
        self._waits_for = why

    def _begin_buffer(self) -> None:
        """A child that died may have left half a line: another one prints it again."""
        block, longest, on_long = self._limits
        self._buffer = _JournalBuffer(NAME, block_bytes=block, max_entry_bytes=longest, on_long=on_long)
        exclude = self._selection.exclude
        self._exclusion = Exclusion(exclude, longest) if exclude else None

    def _settle(self, reading: _Reading, now: float) -> None:
        """All that a child gave is sealed: how far its file has been read by that."""
        file, series = reading.file, reading.series
        if reading.status != 0 and reading.last < reading.tail:
            file.tries += 1
            self._look_at = now + _RETRY
            _log.warning("%s ended with status %s: %s is read again", PROGRAM, reading.status, file.path)
            if file.tries < _MOST_TRIES:
                return
            self._lost(series, f"{file.path} cannot be read")
            series.passed = max(series.passed, reading.tail)
        elif not self._selection.everything:
            # Entries that were not printed were not wanted. But journald counts one a moment before it can be
            # found: only what was counted some time ago was certainly looked at.
            done_with = reading.tail if file.archived or file.gone else min(reading.tail, file.settled)
            series.passed = max(series.passed, done_with)
        elif reading.last < reading.tail and (file.archived or now - file.since > UNREADABLE_SECONDS):
            self._lost(series, f"the last entries of {file.path} cannot be read")
            series.passed = max(series.passed, reading.tail)
        file.tries = 0
        if file.archived:
            file.close()
        more = any(self._has_more(other) for other in self._files.files if other is not file)
        self._look_at = now if more else max(self._look_at, now + _SHARE * min(now - reading.began, 0.05))

    def _lost(self, series: Series, message: str) -> None:
        """Entries may be missing: the chain is told at once."""
        series.gap = True
        if series not in self._announced:
            self._announced.append(series)
        _log.warning("journal: %s", message)

    @staticmethod
    def _number(line: bytes, series: Series) -> int:
        name, number = read_cursor(read_address(line))
        if name != series.name:
            raise FormatError(f"{PROGRAM} printed an entry of another series: {name}")
        return number


class _JournalBuffer(LineBuffer):
    def last_line(self, size: int) -> bytes:
        """The last line of the piece of so many bytes that was cut last."""
        begin = self._begin - size
        last = self._buffer.rfind(b"\n", begin, self._begin - 1) + 1
        return bytes(self._buffer[max(last, begin) : self._begin])


def read_address(line: bytes) -> str:
    """The cursor of an entry as journalctl prints it.

    Raises:
        EpochsealError: it has none.
    """
    try:
        return json_decoder(_Address).decode(line).cursor
    except UNREADABLE as exc:
        raise EpochsealError(f"{PROGRAM} printed what is no entry: {line[:80]!r}") from exc


def _flagged(series: Series, mark: SourceMark) -> SourceMark:
    gap, series.gap = series.gap, False
    return replace(mark, gap=1) if gap else mark


def _copy(part: bytes, free: memoryview) -> int:
    free[: len(part)] = part
    return len(part)
