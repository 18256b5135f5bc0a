"""What clients of the agent's listeners send: lines, syslog frames; and entries of the journal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from epochseal.errors import EpochsealError
from epochseal.format.escaping import escape, unescape
from epochseal.sources.framing import Framing, FramingError, LineFraming, SyslogFraming
from epochseal.sources.journald import read_cursor

_MOST = 512


def line_frames(data: bytes) -> None:
    """Lines over a stream: however it is cut into reads, the entries are the same."""
    _same_in_pieces(data, lambda: LineFraming(_MOST))


def syslog_frames(data: bytes) -> None:
    """Syslog over a stream, both framings: as lines; and every entry is one line."""
    _same_in_pieces(data, lambda: SyslogFraming(_MOST))


def _same_in_pieces(data: bytes, make: Callable[[], Framing]) -> None:
    whole = _feed(make(), [data])
    half = len(data) // 2
    assert whole == _feed(make(), [data[:half], data[half:]])
    assert whole == _feed(
        make(), [data[place : place + 1] for place in range(min(len(data), 64))] + [data[64:]]
    )


def _feed(framing: Framing, pieces: list[bytes]) -> tuple[bytes, bytes, bool]:
    entries = b""
    for piece in pieces:
        try:
            new = framing.feed(memoryview(piece))
        except FramingError as exc:
            entries += exc.whole
            assert not framing.pending
            return entries, framing.rest(), True
        assert new.endswith(b"\n") or not new
        entries += new
    return entries, framing.rest(), False


def escaped(data: bytes) -> None:
    """What is escaped is one line, and comes back."""
    stored = escape(data)
    assert b"\n" not in stored
    assert unescape(stored) == data
    with suppress(EpochsealError):
        assert b"\n".join(map(escape, unescape(data).split(b"\n"))) == data or b"\\x0a" in data


def journal_line(data: bytes) -> None:
    """An entry as journalctl prints it: it has a cursor, or it is refused."""
    with suppress(EpochsealError):
        assert isinstance(read_cursor(data), str)
