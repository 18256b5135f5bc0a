"""Strict readers: every value has one spelling, and any other is refused (docs/format.md, "Values")."""

from __future__ import annotations

import binascii
import re
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from epochseal.decoders import json_decoder
from epochseal.errors import FormatError

MAX_INT = 2**63 - 1

UNSEEN = re.compile(
    r"[\x00-\x20\x7f-\xa0\xad\u0600-\u0605\u061c\u06dd\u070f"
    r"\u0890-\u0891\u08e2\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f"
    r"\u3000\ud800-\udfff\ufeff\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""A character that cannot be seen, or changes how others read: in no name (docs/format.md, "Origin").

A list, and not Python's own tables: two programs, or two versions of one, must refuse the same names.
"""

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes of another form than was asked for; the last, if they are nested too deep."""

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_T = TypeVar("_T")


def parse_decimal(text: str, what: str) -> int:
    """Read a canonical decimal from 0 to 2**63-1: no sign, no leading zero, no blanks.

    Raises:
        FormatError: `text` is anything else; `what` names the field.
    """
    if _DECIMAL.fullmatch(text) is None or (number := int(text)) > MAX_INT:
        raise FormatError(f"{what} is not a canonical number: {text[:40]!r}")
    return number


def b64encode(data: bytes | memoryview) -> str:
    """Standard base64 with padding on one line (RFC 4648, section 4)."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def b64decode(text: str | bytes, what: str, size: int | None = None) -> bytes:
    """Read canonical base64; `size` in bytes is enforced where given.

    Raises:
        FormatError: foreign characters, missing padding, set padding bits, or another size.
    """
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError as exc:
        raise FormatError(f"{what} is not base64: {exc}") from exc
    # strict_mode accepts set padding bits: only a re-encoding shows that the spelling is the one.
    again = binascii.b2a_base64(data, newline=False)
    if again != (text.encode("ascii") if isinstance(text, str) else text):
        raise FormatError(f"{what} is not canonical base64")
    if size is not None and len(data) != size:
        raise FormatError(f"{what} has {len(data)} bytes instead of {size}")
    return data


def encode_json(value: object) -> bytes:
    """Canonical JSON of a msgspec struct: its field order, no blanks, escapes as in RFC 8785, 3.2.2.2."""
    return msgspec.json.encode(value)


def decode_json(raw: bytes, kind: type[_T], what: str) -> _T:
    """Read canonical JSON into a msgspec struct that forbids unknown fields.

    Raises:
        FormatError: not JSON, a wrong type, an unknown or doubled key, or another spelling of the same value.
    """
    try:
        value = json_decoder(kind).decode(raw)
    except UNREADABLE as exc:
        raise FormatError(f"{what}: {exc}") from exc
    if msgspec.json.encode(value) != raw:
        raise FormatError(f"{what} is not in canonical form")
    return value


def format_time(milliseconds: int) -> str:
    """RFC 3339 in UTC with milliseconds; the limits of the calendar are shown as the number itself."""
    try:
        moment = datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return f"{milliseconds}ms"
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{milliseconds % 1000:03d}Z"
