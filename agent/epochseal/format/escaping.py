r"""Entries of a datagram or a frame are one line each: what ends a line or steers a terminal is escaped.

`\` becomes `\\`; the bytes 00-08, 0A-1F and 7F, and each byte of the UTF-8 encodings of U+0080-U+009F, U+2028
and U+2029 become `\xHH` with two lower-case hex digits (docs/format.md, 4.5). Everything else is kept, so the
input can be given back exactly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from epochseal.errors import FormatError

_UNSAFE = re.compile(rb"\\|[\x00-\x08\x0a-\x1f\x7f]+|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")
_WIDE = re.compile(rb"\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")
_ODD = frozenset((*range(9), *range(0x0A, 0x20), 0x7F, ord("\\")))
_LF = ord("\n")
_ENDS = (_LF, 0, 0x1E, 0x1F, 0xFF, 0xFE, 0xC0, 0xC1)
"""Bytes that can stand for the end of an entry while many are escaped together: rare ones in texts."""
_BACKSLASH = ord("\\")
_PLAIN = {end: bytes(byte for byte in range(256) if byte == end or byte not in _ODD) for end in _ENDS}
"""For each end, the bytes that stay as they are."""
_ESCAPE = re.compile(rb"\\(?:(\\)|x([0-9a-f]{2})|)")


def escape(entry: bytes) -> bytes:
    """One entry, without a newline at its end, as it is stored in a block whose `src` says `esc`."""
    return _UNSAFE.sub(_escaped, entry)


def escape_lines(data: bytes, end: int = _LF) -> bytes:
    """Entries that each end in the byte `end`, and hold it nowhere else, as `escape` stores them, one a line.

    There is no work per entry: one pass over all for what has to be escaped, one more for each such byte.
    """
    odd = set(data.translate(None, _PLAIN[end]))
    if _BACKSLASH in odd:
        # It goes first: the escapes of the others hold one.
        data = data.replace(b"\\", b"\\\\")
    for byte in odd - {_BACKSLASH}:
        data = data.replace(bytes((byte,)), b"\\x%02x" % byte)
    if not data.isascii() and (b"\xc2" in data or b"\xe2\x80" in data):
        data = _WIDE.sub(_escaped, data)
    return data if end == _LF else data.replace(bytes((end,)), b"\n")


def escape_entries(entries: Sequence[bytes], within: bytes | None = None) -> bytes:
    """Entries, whatever is in them, as `escape` stores them, one a line.

    Args:
        entries: any number of them.
        within: bytes that hold all of theirs, if they lie together.
    """
    held = b"".join(entries) if within is None else within
    end = next((each for each in _ENDS if each not in held), None)
    if end is None:
        return b"".join([escape(entry) + b"\n" for entry in entries])
    mark = bytes((end,))
    return escape_lines(mark.join([*entries, b""]), end) if entries else b""


def unescape(data: bytes) -> bytes:
    """Undo `escape`, in one entry or in several lines.

    Raises:
        FormatError: something that `escape` never writes.
    """
    return b"\n".join([_unescape(line) for line in data.split(b"\n")])


def _unescape(line: bytes) -> bytes:
    entry = _ESCAPE.sub(_unescaped, line)
    if escape(entry) != line:
        raise FormatError("an escaped entry holds bytes in another form than they are escaped in")
    return entry


def _escaped(match: re.Match[bytes]) -> bytes:
    if match[0] == b"\\":
        return b"\\\\"
    return b"".join(b"\\x%02x" % byte for byte in match[0])


def _unescaped(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return b"\\"
    if match[2]:
        return bytes.fromhex(match[2].decode("ascii"))
    raise FormatError("an escaped entry holds a backslash that begins no escape")
