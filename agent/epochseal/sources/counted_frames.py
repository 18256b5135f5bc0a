"""Frames with a count before them (RFC 6587, 3.4.1): `COUNT SPACE BYTES`; no sockets and no clock."""

from __future__ import annotations

import re
from dataclasses import dataclass

from epochseal.format.escaping import escape_entries

MOST_TO_SKIP = 1 << 30
"""A count beyond this is no frame that is too long, but no count."""
COUNTED_MESSAGE = re.compile(rb"(?<![0-9])[1-9][0-9]{0,9} (?=<[0-9]{1,3}>)")
"""A count before a priority: with it a frame begins, whatever stood before."""
_COUNT = re.compile(rb"[1-9][0-9]{0,9} ")
_BEGUN = re.compile(rb"[1-9][0-9]{0,9}\Z")
_PRIORITY_BEGUN = re.compile(rb"(?:<[0-9]{0,3})?")
_END = re.compile(rb"[\n\0]")
_BETWEEN = b"\n\0\r"
_BEHIND_A_FRAME = b"\n\0\r123456789"
_MOST_KNOWN = 4096
_USUAL_WIDTH = 4


@dataclass(frozen=True, slots=True)
class Counted:
    """What was cut: frames as they are stored, one a line, up to `end` of the buffer.

    Attributes:
        lines: the frames.
        end: where the next frame begins, with its count; behind the count of one that is too long.
        wrong: whether bytes that no count covered were taken for the rest of the frame before them.
        too_long: the size of the frame at `end`, if it is longer than the limit; else 0.
        whole: how long the buffer has to be, from `end` on, for the next frame; 0 where that is not known.
        stray: whether what stands at `end` begins no frame, and no frame follows it.
    """

    lines: bytes
    end: int
    wrong: bool = False
    too_long: int = 0
    whole: int = 0
    stray: bool = False


class CountedFrames:
    """Cuts counted frames.

    Args:
        max_entry_bytes: the longest frame, without its count.
    """

    def __init__(self, max_entry_bytes: int) -> None:
        self._max = max_entry_bytes
        # Counts with their space as they were met, and their numbers: senders use the same again and again.
        self._known: dict[bytes, int] = {}
        self._width = _USUAL_WIDTH

    def begins(self, buffer: bytes, begin: int, *, at_once: bool) -> bool | None:
        """Whether a counted frame stands there; None if that has not shown yet.

        Before a priority a count is one. Before anything else it may be a line that begins with a number, as
        dates do: it is a count if so many bytes follow without a newline, and behind them the next begins,
        or nothing comes. `at_once`: a line may come byte by byte; one that came in one piece ends there.
        """
        match = _COUNT.match(buffer, begin)
        if match is None:
            return None if _BEGUN.match(buffer, begin) else False
        if COUNTED_MESSAGE.match(buffer, begin):
            return True
        start, stop = match.end(), match.end() + int(match[0])
        if stop - start > self._max or buffer.find(b"\n", start, stop - 1) >= 0:
            return None if _PRIORITY_BEGUN.fullmatch(buffer, start) else False
        if stop > len(buffer) or (stop == len(buffer) and not at_once):
            return None
        return stop == len(buffer) or buffer[stop] in _BEHIND_A_FRAME

    def shows_after(self, buffer: bytes, begin: int) -> int:
        """How many bytes it takes at the most until `begins` knows."""
        match = _COUNT.match(buffer, begin)
        return match.end() - begin + int(match[0]) + 1 if match else 0

    def is_line(self, buffer: bytes, begin: int) -> bool:
        """Whether a message without a count stands there, and none before its end: that was swallowed."""
        if not buffer.startswith(b"<", begin):
            return False
        end = _END.search(buffer, begin)
        return COUNTED_MESSAGE.search(buffer, begin, end.start() if end is not None else len(buffer)) is None

    def body(self, begun: bytes) -> bytes:
        """What came of a frame, without its count."""
        match = _COUNT.match(begun)
        return begun[match.end() :] if match else b"" if _BEGUN.match(begun) else begun

    def cut(self, buffer: bytes, begin: int) -> Counted:
        """All whole frames from `begin` on."""
        frames: list[bytes] = []
        wrong = False
        while True:
            begin, whole = self._cut_known(buffer, begin, frames)
            if whole or begin == len(buffer):
                return Counted(escape_entries(frames, buffer), begin, wrong, whole=whole)
            match = _COUNT.match(buffer, begin)
            if match is not None and int(match[0]) > self._max:
                too_long = min(int(match[0]), MOST_TO_SKIP + 1)
                return Counted(escape_entries(frames, buffer), match.end(), wrong, too_long=too_long)
            if match is not None:
                self._learn(match[0])
            elif buffer[begin] in _BETWEEN and (frames or self._known):
                # Some senders end a counted frame all the same: that byte belongs to no frame.
                begin += 1
            elif _BEGUN.match(buffer, begin) or self.is_line(buffer, begin):
                return Counted(escape_entries(frames, buffer), begin, wrong)
            elif (following := COUNTED_MESSAGE.search(buffer, begin)) is not None:
                # A count was wrong. The next frame shows by its priority.
                stray = buffer[begin : following.start()]
                frames[-1:] = [frames[-1] + stray] if frames else [stray]
                wrong, begin = True, following.start()
            else:
                return Counted(escape_entries(frames, buffer), begin, wrong, stray=True)

    def _cut_known(self, buffer: bytes, begin: int, frames: list[bytes]) -> tuple[int, int]:
        """Add the frames whose counts are known and as wide as the last one: the one loop over frames.

        Returns:
            Up to where it came, and the size of the frame there, if it is known and not whole, with its
            count; else 0.
        """
        known, add, width, length = self._known, frames.append, self._width, len(buffer)
        try:
            while (start := begin + width) <= length:
                stop = start + known[buffer[begin:start]]
                if stop > length:
                    return begin, stop - begin
                add(buffer[start:stop])
                begin = stop
        except KeyError:
            pass
        return begin, 0

    def _learn(self, count: bytes) -> None:
        if len(self._known) == _MOST_KNOWN:
            self._known.clear()
        self._known[count] = int(count)
        self._width = len(count)
