r"""Entries of a datagram or a frame are one line each: what ends a line or steers a terminal is escaped.

`\` becomes `\\`; the bytes 00-08, 0A-1F and 7F, and each byte of the UTF-8 encodings of U+0080-U+009F, U+2028
and U+2029 become `\xHH` with two lower-case hex digits (docs/format.md, 4.5). Everything else is kept, so the
input can be given back exactly.
"""

from __future__ import annotations

import re

from epochseal.errors import FormatError

_UNSAFE = re.compile(rb"\\|[\x00-\x08\x0a-\x1f\x7f]+|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")
_ESCAPE = re.compile(rb"\\(?:(\\)|x([0-9a-f]{2})|)")


def escape(entry: bytes) -> bytes:
    """One entry, without a newline at its end, as it is stored in a block whose `src` says `esc`."""
    return _UNSAFE.sub(_escaped, entry)


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
