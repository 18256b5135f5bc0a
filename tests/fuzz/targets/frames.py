"""What clients of the agent's listeners send: lines, syslog frames; and entries of the journal."""

from __future__ import annotations

from contextlib import suppress

from epochseal.errors import EpochsealError
from epochseal.format.escaping import escape, escape_entries, unescape
from epochseal.sources.framing import FramingError, FramingName, StreamFraming
from epochseal.sources.journald import read_address

_MOST = 512
_FRAMINGS: tuple[FramingName, ...] = ("auto", "lf", "nul", "octet-counting")


def line_frames(data: bytes) -> None:
    """Lines over a stream: however it is cut into reads, the entries are the same."""
    whole = _feed(_lines(), [data])
    half = len(data) // 2
    assert whole == _feed(_lines(), [data[:half], data[half:]])
    assert whole == _feed(
        _lines(), [data[place : place + 1] for place in range(min(len(data), 64))] + [data[64:]]
    )
    kept = [line for line in data.split(b"\n") if len(line) <= _MOST]
    assert whole == b"\n".join(kept) or len(data.rpartition(b"\n")[2]) > _MOST


def syslog_frames(data: bytes) -> None:
    """Syslog over a stream, in all framings: every entry is a line."""
    for name in _FRAMINGS:
        skip = len(data) % 2 == 0
        _feed(StreamFraming(name, _MOST, syslog=True, skip=skip), [data])
        framing = StreamFraming(name, _MOST, syslog=True, skip=skip)
        _feed(framing, [data[place : place + 7] for place in range(0, min(len(data), 210), 7)] + [data[210:]])


def _lines() -> StreamFraming:
    return StreamFraming("lf", _MOST, syslog=False, skip=True)


def _feed(framing: StreamFraming, pieces: list[bytes]) -> bytes:
    entries = []
    try:
        for piece in pieces:
            entries += framing.feed(memoryview(piece))
        entries.append(framing.rest())
    except FramingError as exc:
        entries += exc.cuts
    for cut in entries[:-1]:
        assert cut.lines.endswith(b"\n") or not cut.lines
    for cut in entries:
        if cut.esc:
            unescape(cut.lines)
    return b"".join(cut.lines for cut in entries)


def escaped(data: bytes) -> None:
    """What is escaped is one line, and comes back."""
    stored = escape(data)
    assert b"\n" not in stored
    assert unescape(stored) == data
    parts = data.split(b"\x1b")
    one_by_one = b"".join(escape(part) + b"\n" for part in parts)
    assert escape_entries(parts) == escape_entries(parts, data) == one_by_one
    with suppress(EpochsealError):
        assert b"\n".join(map(escape, unescape(data).split(b"\n"))) == data or b"\\x0a" in data


def journal_line(data: bytes) -> None:
    """An entry as journalctl prints it: it has a cursor, or it is refused."""
    with suppress(EpochsealError):
        assert isinstance(read_address(data), str)
