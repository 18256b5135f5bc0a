"""Put the lines of an epoch at their places, past lines that were removed, repeated, moved or garbled.

A damaged index must not shift everything behind it: where an index does not go on, the next one decides.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec

from epochseal.errors import FormatError
from epochseal.format.seal_lines import NoteLine, TaggedLine, encode_line, parse_line

_LOOK_AHEAD = 64


class Step(msgspec.Struct, frozen=True, gc=False):
    """One step through an epoch, in this order.

    `kind` and `detail`: what is wrong here, "" for nothing. `places`: the lines that stand, or stood, at the
    next places of the tree, b"" for one that is missing. `line`: the readable line at the place after those.
    `note`: a checkpoint, or what cannot be read as one.
    """

    kind: str = ""
    detail: str = ""
    places: tuple[bytes, ...] = ()
    line: TaggedLine | None = None
    note: bytes | None = None


class _Garbled(msgspec.Struct, frozen=True, gc=False):
    raw: bytes
    error: str


class Aligner:
    """Cuts the raw lines of one epoch into steps.

    Args:
        lines: the lines without their newlines, the epoch line left out.
        index: the tree index of the first of them.
        stop: the tree size at which the next epoch begins, -1 if that is not known.
        most: how many lines may be missing. Each costs a step of the ratchet: a forged index must not buy
            minutes of work with a few bytes.
    """

    def __init__(self, lines: Iterator[bytes], index: int, stop: int, most: int) -> None:
        self._lines = lines
        self._index = index
        self._stop = stop
        self._ahead: deque[TaggedLine | NoteLine | _Garbled] = deque()
        self._garbled: list[_Garbled] = []
        self._left = most

    @property
    def at_rest(self) -> bool:
        """Whether every line that was read has been given out in a step."""
        return not self._ahead and not self._garbled

    def passed(self, count: int) -> None:
        """So many lines stood at their places, and were taken by somebody else."""
        self._index += count

    def steps(self) -> Iterator[Step]:
        """All steps of the epoch."""
        while (item := self._next()) is not None:
            if isinstance(item, NoteLine):
                yield Step(note=item.note)
            elif isinstance(item, TaggedLine):
                yield self._place(item)
            elif item.raw.startswith(b"note "):
                yield Step(note=item.raw)
            else:
                self._garbled.append(item)
        if self._garbled:
            count = len(self._garbled) if self._stop < 0 else max(0, self._stop - self._index)
            yield self._filled(min(count, len(self._garbled)))

    def _place(self, line: TaggedLine) -> Step:
        missing = line.index - self._index
        if 0 <= missing <= len(self._garbled):
            step = self._filled(missing, line)
            self._index += 1
            return step
        if missing > 0 and self._goes_on(line.index + 1, missing):
            self._left -= missing
            detail = f"lines {self._index} to {line.index - 1} of the tree are missing"
            step = self._filled(missing, line, "line_missing", detail)
            self._index += 1
            return step
        detail = f"line {line.index} stands where line {self._index} belongs"
        if self._follows(self._index + 1):
            # The next lines have the indexes that follow on the right one: only this line's own index was
            # changed.
            self._garbled.append(_Garbled(encode_line(line.payload, line.tag)[:-1], detail))
            return self._filled(len(self._garbled))
        return Step("line_misplaced", detail)

    def _filled(self, count: int, line: TaggedLine | None = None, kind: str = "", detail: str = "") -> Step:
        """Garbled lines at the next `count` places; where there are fewer, the rest is missing."""
        if not count and not self._garbled:
            return Step(kind, detail, (), line)
        garbled, self._garbled = self._garbled, []
        places = tuple(item.raw for item in garbled[:count])
        places += (b"",) * (count - len(places))
        if garbled:
            kind, detail = "line_altered", f"line {self._index} of the tree: {garbled[0].error}"
        self._index += count
        return Step(kind, detail, places, line)

    def _goes_on(self, index: int, missing: int) -> bool:
        if missing > self._left:
            return False
        following = self._following()
        if following is None:
            return index == self._stop or (self._stop < 0 and missing < _LOOK_AHEAD)
        return index <= following[0] <= index + following[1]

    def _follows(self, index: int) -> bool:
        following = self._following()
        if following is None:
            return index == self._stop
        return index <= following[0] <= index + following[1]

    def _following(self) -> tuple[int, int] | None:
        """The index of the next readable line, and how many garbled ones stand before it."""
        garbled = 0
        for place in range(_LOOK_AHEAD):
            if place == len(self._ahead):
                if (item := self._read()) is None:
                    return None
                self._ahead.append(item)
            found = self._ahead[place]
            if isinstance(found, TaggedLine):
                return found.index, garbled
            garbled += isinstance(found, _Garbled)
        return None

    def _next(self) -> TaggedLine | NoteLine | _Garbled | None:
        return self._ahead.popleft() if self._ahead else self._read()

    def _read(self) -> TaggedLine | NoteLine | _Garbled | None:
        raw = next(self._lines, None)
        if raw is None:
            return None
        try:
            return parse_line(raw)
        except FormatError as exc:
            return _Garbled(raw, str(exc))
