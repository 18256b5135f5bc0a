"""One seal file, cut into epochs that can be checked on their own; read in pieces, whatever its size."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import pairwise

import msgspec

from epochseal.errors import FormatError
from epochseal.format.seal_lines import MAX_LINE, Block, Header, TaggedLine, parse_line
from epochseal.storage.holes import readable_size
from epochseal.storage.opener import LogFile

_PIECE = 1 << 20
_WINDOW = 64 << 10
_MARK = b"\nepoch "
# The keys and the digests of an epoch line alone are more bytes than that.
_SHORTEST_HEADER = 256


class EpochPart(msgspec.Struct, frozen=True, gc=False):
    """The lines of one epoch: bytes `start` to `stop` of a seal file; `first` is its epoch line.

    `first` is None if that cannot be read.

    Epochs that cannot be read, and stand side by side, are one part: nothing can be shown of any of them.
    Of the epoch that follows on it, -1 if there is none: `asked_line` is the tree index whose tag that one
    quotes, `next_line` its own index, `next_entry` its first entry.
    """

    start: int
    stop: int
    first: TaggedLine | None
    asked_line: int = -1
    next_line: int = -1
    next_entry: int = -1

    @property
    def header(self) -> Header | None:
        """What its epoch line says."""
        body = self.first.body if self.first is not None else None
        return body if isinstance(body, Header) else None


class SealFile(msgspec.Struct, frozen=True, gc=False):
    """What a seal file holds, in bytes: `leading` before its first epoch, up to `stop`, then `torn`.

    `first_entry` is that of its first epoch that can be read. By its last block line that can be read,
    `sealed` is where the entries end in the log file, and `end_entry` the number of the next one, -1 if there
    is none.
    """

    epochs: list[EpochPart]
    first_entry: int = 0
    leading: int = 0
    stop: int = 0
    torn: int = 0
    sealed: int = 0
    end_entry: int = -1


def cut_seal_file(file: LogFile, size: int, *, last: bool, start: int = 0) -> SealFile:
    """Cut the first `size` bytes into epochs; of the last seal file what begins with a line of zeros is torn.

    `start`: epochs that begin before this byte need not be told. What follows the first hole of a file that
    is nearly all holes is not read, and is torn too.

    Raises:
        OSError: it cannot be read.
    """
    beginning = _read_header(file, 0, start)
    if beginning is None:
        start = 0
    starts, lines_end, zero = _scan(file, start, min(size, readable_size(file)), zeros=last)
    # A power cut leaves zeros where a write did not arrive: no line holds one.
    stop = lines_end if zero < 0 else _line_start(file, zero)
    while starts and starts[-1] >= stop:
        starts.pop()
    sealed, end_entry = _sealed(file, stop)
    epochs: list[EpochPart] = []
    for start, end in pairwise((*starts, stop)):
        first = _read_header(file, start, end)
        goes_on = first is None and epochs and epochs[-1].first is None
        epochs.append(EpochPart(epochs.pop().start if goes_on else start, end, first))
    headers = [part.header for part in epochs if part.header is not None]
    leading = starts[0] if starts else stop
    if beginning is not None and isinstance(beginning.body, Header):
        headers, leading = [beginning.body], 0
    first_entry = headers[0].first_entry if headers else 0
    return SealFile(epochs, first_entry, leading, stop, size - stop, sealed, end_entry)


def _scan(file: LogFile, start: int, size: int, *, zeros: bool) -> tuple[array[int], int, int]:
    """From a byte on, where epoch lines begin, where the last whole line ends, and the first zero (or -1)."""
    # An epoch line can be as short as its first word: so many numbers would be large objects.
    starts, lines_end, zero, position = array("q"), 0, -1, max(start - 1, 0)
    # As if a line had ended before the file began.
    rest = b"" if start else b"\n"
    while position < size and (piece := file.pread(min(_PIECE, size - position), position)):
        if zeros and zero < 0 and (found := piece.find(0)) >= 0:
            zero = position + found
        if (found := piece.rfind(b"\n")) >= 0:
            lines_end = position + found + 1
        data, base = rest + piece, position - len(rest)
        found = data.find(_MARK)
        while found >= 0:
            # JSON holds no raw newline, so this is the start of a line and nothing else.
            starts.append(base + found + 1)
            found = data.find(_MARK, found + 1)
        rest, position = data[-len(_MARK) + 1 :], position + len(piece)
    return starts, lines_end, zero


def _line_start(file: LogFile, position: int) -> int:
    while position > 0:
        begin = max(position - _WINDOW, 0)
        if (found := file.pread(position - begin, begin).rfind(b"\n")) >= 0:
            return begin + found + 1
        position = begin
    return 0


def lines_backwards(file: LogFile, stop: int) -> Iterator[bytes]:
    """The lines of a seal file below byte `stop`, which follows a newline; the last one first.

    Of a line that is longer than any seal line only an end that is too long as well is given.

    Raises:
        OSError: it cannot be read.
    """
    position, rest = max(stop - 1, 0), b""
    while position > 0:
        begin = max(position - _WINDOW, 0)
        first, *lines = (file.pread(position - begin, begin) + rest).split(b"\n")
        yield from reversed(lines)
        rest, position = first[-MAX_LINE - 1 :], begin
    if stop:
        yield rest


def _sealed(file: LogFile, stop: int) -> tuple[int, int]:
    for raw in lines_backwards(file, stop):
        if not raw.startswith(b"block "):
            continue
        try:
            line = parse_line(raw)
        except FormatError:
            continue
        if isinstance(line, TaggedLine) and isinstance(block := line.body, Block):
            return block.offset + block.size, block.first_entry + block.entries
    return 0, -1


def _read_header(file: LogFile, start: int, stop: int) -> TaggedLine | None:
    if stop - start < _SHORTEST_HEADER:
        return None
    raw = file.pread(min(stop - start, _WINDOW), start)
    if b"\n" not in raw:
        raw = file.pread(min(stop - start, MAX_LINE + 1), start)
    try:
        line = parse_line(raw.partition(b"\n")[0])
    except FormatError:
        return None
    return line if isinstance(line, TaggedLine) and isinstance(line.body, Header) else None
