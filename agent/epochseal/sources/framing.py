"""How a byte stream is cut into entries; no sockets, no clock, no work per entry where a byte ends them.

Three framings: records that end in LF, records that end in NUL, and counted frames (RFC 6587, 3.4.1). `auto`
recognizes them by themselves, anew at the start of each record: a count stands before a priority (`<13>`),
the first one also before as many bytes in one line; a record that begins with a priority may end in NUL, as
those of the standard library's SysLogHandler do; all others end in LF.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from epochseal.errors import FormatError
from epochseal.format.escaping import escape, escape_lines
from epochseal.sources.counted_frames import COUNTED_MESSAGE, MOST_TO_SKIP, CountedFrames

FramingName = Literal["auto", "lf", "nul", "octet-counting"]
_LF, _NUL = b"\n", b"\0"
_BOM = b"\xef\xbb\xbf"
_ANY_END = re.compile(rb"[\n\0]")
_NUL_ENDS = re.compile(rb"\0(?=<[0-9]{1,3}>|\Z)")
_COUNTED_LINE = re.compile(rb"\n(?=[1-9][0-9]{0,9} <[0-9]{1,3}>)")
_DECIDED_BYTES = 32
"""After so many bytes of a record it shows whether a count begins it."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Whole entries as they are stored, each with its newline; behind them something may be missing.

    Attributes:
        lines: the entries.
        esc: whether they are in escaped form.
        skipped: bytes behind them that are not sealed.
        trouble: why entries may be missing there, in words; empty if none are.
    """

    lines: bytes
    esc: int = 0
    skipped: int = 0
    trouble: str = ""


class FramingError(FormatError):
    """A connection sent what cannot be cut into entries, or may not be skipped; `cuts` came before."""

    def __init__(self, message: str, cuts: list[Cut]) -> None:
        super().__init__(message)
        self.cuts = cuts


@dataclass(slots=True)
class _Skip:
    """An entry that is left out: what came of it, and what is still to come; None is up to its end."""

    size: int
    left: int | None


class StreamFraming:
    """What one connection sent, cut into entries.

    Args:
        framing: one of the three, or `auto`.
        max_entry_bytes: the longest entry as it is sent, without count and end.
        syslog: whether frames can be counted, and a byte order mark or empty lines may come before them.
            If not, records that end in LF are kept byte for byte; all others are escaped.
        skip: whether an entry that is too long is left out; if not, it is a `FramingError`.
    """

    def __init__(self, framing: FramingName, max_entry_bytes: int, *, syslog: bool, skip: bool) -> None:
        self._auto = framing == "auto"
        self._syslog = syslog
        self._may_skip = skip
        self._max = max_entry_bytes
        self._counts = CountedFrames(max_entry_bytes)
        self._counting = framing == "octet-counting"
        # The byte that ends a record; None as long as none has shown.
        self._end = {"lf": _LF, "nul": _NUL}.get(framing)
        # Whether the first record has begun, and with a priority.
        self._begun = False
        self._prioritized = False
        self._kept = bytearray()
        self._whole = 0
        # Whether it has not shown yet if the first record is counted, and whether all of it came just now.
        self._is_open = False
        self._at_once = True
        self._skipping: _Skip | None = None

    @property
    def begun(self) -> bool:
        """Whether anything of an entry has come."""
        return self._begun

    @property
    def pending(self) -> int:
        """Bytes that are kept of an entry that is not whole yet; 1 of one that is left out."""
        return len(self._kept) + (self._skipping is not None)

    def feed(self, data: memoryview) -> list[Cut]:
        """The entries that are whole now.

        Raises:
            FramingError: what came cannot be cut into entries, or one is too long and may not be skipped.
        """
        if self._is_far(data):
            self._kept += data
            return []
        self._at_once = not self._kept
        buffer = b"".join((self._kept, data))
        self._kept.clear()
        cuts: list[Cut] = []
        begin = 0 if self._begun else self._first_record(buffer)
        while begin < len(buffer):
            if self._skipping is not None:
                begin = self._skip(buffer, begin, self._skipping, cuts)
                continue
            cut = self._cut_counted if self._is_counted(buffer, begin) else self._cut_ended
            if self._is_open:
                break
            before, begin = begin, cut(buffer, begin, cuts)
            if begin == before and self._skipping is None:
                break
        self._kept += memoryview(buffer)[begin:]
        return cuts

    def rest(self) -> Cut:
        """What came of an entry that was never finished, as it is stored but without a newline."""
        kept, skipping = bytes(self._kept), self._skipping
        self._kept.clear()
        self._skipping = None
        if skipping is not None:
            return Cut(b"", 0, skipping.size, self._too_long())
        if self._counting or (self._is_open and self._counts.begins(kept, 0, at_once=True)):
            kept = self._counts.body(kept)
        raw = self._is_raw(self._end or _LF)
        return Cut(kept if raw else escape(kept), int(not raw))

    # --- which framing --------------------------------------------------------------------------------------

    def _first_record(self, buffer: bytes) -> int:
        begin = 0
        if self._auto and self._syslog:
            if len(buffer) < len(_BOM) and _BOM.startswith(buffer):
                return 0
            begin = len(_BOM) if buffer.startswith(_BOM) else 0
            begin = len(buffer) - len(buffer[begin:].lstrip(b"\n\0"))
        self._begun = begin < len(buffer)
        self._prioritized = buffer.startswith(b"<", begin)
        return begin

    def _is_counted(self, buffer: bytes, begin: int) -> bool:
        if self._auto and self._syslog:
            if self._counting:
                # What else stands between counted frames comes from a wrong count.
                is_line = self._counts.is_line(buffer, begin)
                self._counting = not is_line or _ANY_END.search(buffer, begin) is None
                return not is_line
            if self._end is None:
                begins = self._counts.begins(buffer, begin, at_once=self._at_once)
                self._counting, self._is_open = begins is True, begins is None
                self._whole = self._counts.shows_after(buffer, begin) if self._is_open else 0
                return self._counting
            # A line may begin with a number.
            self._counting = COUNTED_MESSAGE.match(buffer, begin) is not None
        return self._counting

    def _recognize_end(self, buffer: bytes, begin: int) -> int:
        """Find which byte ends the records from there on; where the next one begins."""
        if self._end == _NUL and buffer.startswith(_LF, begin):
            # A NUL and an LF end each record, and so far only the NUL had come.
            self._end = _LF
            return begin + 1
        if self._end != _NUL and self._prioritized:
            # Behind the last LF: the first record of a sender that ends its records in NUL may have lines.
            behind = begin if self._end is None else max(begin, buffer.rfind(_LF, begin) + 1)
            if (nul := _NUL_ENDS.search(buffer, behind)) is not None:
                first = buffer.find(_NUL, behind)
                if first == nul.start() or self._end is not None:
                    self._end = _NUL if behind == begin else self._end
                    return begin
        if self._end is None and buffer.find(_LF, begin) >= 0:
            self._end = _LF
        return begin

    def _is_raw(self, end: bytes) -> bool:
        return not self._syslog and end == _LF

    # --- cutting: each gives the place up to which it came --------------------------------------------------

    def _cut_counted(self, buffer: bytes, begin: int, cuts: list[Cut]) -> int:
        found = self._counts.cut(buffer, begin)
        if found.lines:
            cuts.append(Cut(found.lines, 1, 0, "a count that is wrong" if found.wrong else ""))
        self._whole = found.whole
        if found.too_long:
            self._begin_skip(found.too_long, cuts)
        elif found.stray and len(buffer) - found.end > self._max:
            raise FramingError("no count begins a frame", cuts)
        return found.end

    def _cut_ended(self, buffer: bytes, begin: int, cuts: list[Cut]) -> int:
        if self._auto and (start := self._recognize_end(buffer, begin)) > begin:
            return start
        cut = buffer.rfind(self._end, begin) + 1 if self._end is not None else 0
        if not cut:
            if len(buffer) - begin > self._max:
                self._begin_skip(None, cuts)
            return begin
        end = buffer[cut - 1 : cut]
        if self._auto and self._syslog and end == _LF:
            counted = _COUNTED_LINE.search(buffer, begin, cut)
            cut = counted.end() if counted is not None else cut
        good = self._before_too_long(buffer, begin, cut, end)
        if good > begin:
            lines = buffer[begin:good]
            raw = self._is_raw(end)
            cuts.append(Cut(lines if raw else escape_lines(lines, end[0]), int(not raw)))
        if good < cut:
            self._begin_skip(None, cuts)
        return good

    def _before_too_long(self, buffer: bytes, begin: int, cut: int, end: bytes) -> int:
        """Where the first record that is too long begins; `cut` if there is none."""
        while cut - 1 - begin > self._max:
            # The last end that a record of the largest size can reach from here: every record up to it is
            # within the limit, so they need not be looked at one by one.
            found = buffer.rfind(end, begin, begin + self._max + 1)
            if found < 0:
                return begin
            begin = found + 1
        return cut

    def _is_far(self, data: memoryview) -> bool:
        """Whether what is kept stays unfinished with these bytes: then it is not copied to be looked at."""
        size = len(self._kept) + len(data)
        if self._counting:
            return size < self._whole
        if self._is_open and size >= self._whole:
            return False
        undecided = len(self._kept) < _DECIDED_BYTES or size > self._max
        return not undecided and _ANY_END.search(data) is None

    # --- entries that are too long --------------------------------------------------------------------------

    def _begin_skip(self, size: int | None, cuts: list[Cut]) -> None:
        if not self._may_skip or (size is not None and size > MOST_TO_SKIP):
            raise FramingError(self._too_long(), cuts)
        self._skipping = _Skip(0, size)

    def _skip(self, buffer: bytes, begin: int, skip: _Skip, cuts: list[Cut]) -> int:
        if skip.left is not None:
            stop = after = min(begin + skip.left, len(buffer))
            skip.left -= stop - begin
            over = not skip.left
        else:
            end = self._end or _LF
            found = buffer.find(end, begin)
            over = found >= 0
            stop, after = (found, found + 1) if over else (len(buffer), len(buffer))
        skip.size += stop - begin
        if over:
            self._skipping = None
            cuts.append(Cut(b"", 0, skip.size, self._too_long()))
        return after

    def _too_long(self) -> str:
        return f"an entry is longer than {self._max} bytes"
