"""How a byte stream is cut into entries; no sockets and no clock.

`LineFraming` is for lines kept byte for byte. `SyslogFraming` is RFC 6587: octet counting (3.4.1) and LF
(3.4.2, "non-transparent framing").
"""

from __future__ import annotations

from typing import Protocol

from epochseal.errors import FormatError
from epochseal.format.escaping import escape

_LF = b"\n"
_DIGITS = frozenset(b"0123456789")
_MAX_COUNT_DIGITS = 10
"""A frame's count has at most this many digits: enough for any limit, and a bound for what is searched."""


class Framing(Protocol):
    """Takes what a connection sent, piece by piece; gives back whole entries as they are stored."""

    @property
    def pending(self) -> int:
        """Bytes of an entry that is not whole yet."""
        ...

    def feed(self, data: memoryview) -> bytes:
        """The entries that are whole now, each with its newline.

        Raises:
            FramingError: what came cannot be cut into entries; `whole` of it has what came before.
        """
        ...

    def rest(self) -> bytes:
        """What is left of an entry that was never finished, as it is stored but without a newline."""
        ...


class FramingError(FormatError):
    """A connection sent something that is no entry; `whole` are the entries before it, as they are stored."""

    def __init__(self, message: str, whole: bytes) -> None:
        super().__init__(message)
        self.whole = whole


class LineFraming:
    """Entries that end in LF, kept byte for byte; no work per entry: only the last newline is looked for.

    Args:
        max_entry_bytes: the longest entry, without its newline.
    """

    def __init__(self, max_entry_bytes: int) -> None:
        self._max = max_entry_bytes
        self._kept = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of an entry that is not whole yet."""
        return len(self._kept)

    def feed(self, data: memoryview) -> bytes:
        """The whole lines up to now; what follows the last newline is kept.

        Raises:
            FramingError: a line is longer than the limit.
        """
        chunk = bytes(data)
        cut = chunk.rfind(_LF) + 1
        if not cut:
            self._kept += chunk
            if len(self._kept) > self._max:
                raise self._too_long(b"")
            return b""
        if self._kept:
            whole = bytes(self._kept) + chunk[:cut]
            self._kept.clear()
        else:
            whole = chunk[:cut]
        if (good := self._before_too_long(whole)) < len(whole):
            raise self._too_long(whole[:good])
        if cut < len(chunk):
            self._kept += chunk[cut:]
            if len(self._kept) > self._max:
                raise self._too_long(whole)
        return whole

    def rest(self) -> bytes:
        """The line that was never finished."""
        kept = bytes(self._kept)
        self._kept.clear()
        return kept

    def _before_too_long(self, whole: bytes) -> int:
        """Where the first line that is too long begins; the length if there is none."""
        begin = 0
        while len(whole) - 1 - begin > self._max:
            # The last newline that a line of the largest size can reach from here: every line up to it is
            # within the limit, so they need not be looked at one by one.
            found = whole.rfind(_LF, begin, begin + self._max + 1)
            if found < 0:
                return begin
            begin = found + 1
        return len(whole)

    def _too_long(self, whole: bytes) -> FramingError:
        self._kept.clear()
        return FramingError(f"a line is longer than {self._max} bytes", whole)


class SyslogFraming:
    """Syslog frames over a stream; the bytes inside of a frame are the entry, in escaped form.

    Which of the two framings a sender uses shows in its first byte, for the whole connection (RFC 6587, 3.4):
    a count begins with a digit that is not 0, a message with `<`. Anything else is refused.

    Args:
        max_entry_bytes: the longest frame as it was sent, without count and newline.
    """

    def __init__(self, max_entry_bytes: int) -> None:
        self._max = max_entry_bytes
        self._kept = bytearray()
        self._counting: bool | None = None
        # The length of the frame whose count was read while the frame itself is still on its way; else None.
        self._wanted: int | None = None

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not whole yet; never 0 once its count was read."""
        return len(self._kept) + (self._wanted is not None)

    def feed(self, data: memoryview) -> bytes:
        """The whole frames up to now.

        Raises:
            FramingError: bytes that begin no frame, or a frame that is longer than the limit.
        """
        self._kept += data
        if self._wanted is not None and len(self._kept) < self._wanted:
            return b""
        if self._counting is None and self._kept:
            if self._kept[0] != ord("<") and (self._kept[0] not in _DIGITS or self._kept[0] == ord("0")):
                raise self._refusal("neither a count nor < begins the first frame", [])
            self._counting = self._kept[0] != ord("<")
        return self._counted() if self._counting else self._lines(len(data))

    def rest(self) -> bytes:
        """What came of the frame that was never finished; digits of a count are no part of it."""
        kept = b"" if self._counting and self._wanted is None else bytes(self._kept)
        self._kept.clear()
        self._wanted = None
        return escape(kept)

    def _counted(self) -> bytes:
        frames: list[bytes] = []
        begin = 0
        data = bytes(self._kept)
        while True:
            if self._wanted is None:
                space = data.find(b" ", begin, begin + _MAX_COUNT_DIGITS + 1)
                digits = data[begin : space if space >= 0 else begin + _MAX_COUNT_DIGITS + 1]
                if (problem := self._count_problem(digits, whole=space >= 0)) is not None:
                    raise self._refusal(problem, frames)
                if space < 0:
                    break
                self._wanted, begin = int(digits), space + 1
            if len(data) - begin < self._wanted:
                break
            frames.append(escape(data[begin : begin + self._wanted]))
            begin, self._wanted = begin + self._wanted, None
        del self._kept[:begin]
        return _joined(frames)

    def _count_problem(self, digits: bytes, *, whole: bool) -> str | None:
        if not digits and not whole:
            return None
        if (
            not digits
            or not _DIGITS.issuperset(digits)
            or digits[:1] == b"0"
            or len(digits) > _MAX_COUNT_DIGITS
        ):
            return f"a frame's count is no number: {digits[:20]!r}"
        # Digits may be missing, but they can only make the count larger: what is too long now stays too long.
        return f"a frame is longer than {self._max} bytes" if int(digits) > self._max else None

    def _lines(self, new: int) -> bytes:
        cut = self._kept.rfind(_LF, len(self._kept) - new) + 1
        whole = bytes(self._kept[:cut])
        del self._kept[:cut]
        frames: list[bytes] = []
        for frame in whole.split(_LF)[:-1]:
            if len(frame) > self._max:
                raise self._refusal(f"a frame is longer than {self._max} bytes", frames)
            frames.append(escape(frame))
        if len(self._kept) > self._max:
            raise self._refusal(f"a frame is longer than {self._max} bytes", frames)
        return _joined(frames)

    def _refusal(self, message: str, frames: list[bytes]) -> FramingError:
        self._kept.clear()
        self._wanted = None
        return FramingError(message, _joined(frames))


def _joined(frames: list[bytes]) -> bytes:
    # The empty last item gives the last frame its newline.
    return _LF.join([*frames, b""]) if frames else b""
