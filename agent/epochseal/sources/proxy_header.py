"""The header of the PROXY protocol, versions 1 and 2: whom a proxy connected for; no sockets and no clock.

Anybody can write one, so it is good for messages only: who may send is decided by others.
"""

from __future__ import annotations

import ipaddress
import re

from epochseal.errors import FormatError

_V1 = re.compile(
    rb"PROXY (?:UNKNOWN[^\r\n]*|TCP[46] ([0-9A-Fa-f:.]+) [0-9A-Fa-f:.]+ ([0-9]{1,5}) [0-9]{1,5})\r\n"
)
_V1_START = b"PROXY "
_V1_MOST = 107
_V2_START = b"\r\n\r\n\0\r\nQUIT\n"
_V2_HEAD = 16
_V2 = 2
_V2_MOST = 4096
_INET, _INET6 = 0x10, 0x20


class ProxyHeader:
    """What may stand before everything else of a connection."""

    def __init__(self) -> None:
        self._kept = b""
        self.passed = False
        """Whether it is known what the connection begins with."""
        self.source = ""
        """The address and port that the header names; empty if it names none, or there is none."""

    @property
    def is_begun(self) -> bool:
        """Whether a part of it has come."""
        return bool(self._kept)

    @staticmethod
    def may_begin(first: bytes) -> bool:
        """Whether this first byte can be that of a header."""
        return first in (_V1_START[:1], _V2_START[:1])

    def missing(self, data: bytes) -> int:
        """How many of these bytes belong to the header; all of them while it is not whole. Takes them.

        Raises:
            FormatError: it begins as a header does, and is none.
        """
        before, whole = len(self._kept), self._kept + data
        size = _size(whole)
        if size is None:
            self._kept = whole
            return len(data)
        self.passed = True
        self.source = _source(whole[:size])
        return size - before

    def feed(self, data: bytes) -> bytes:
        """What the connection begins with behind a header, if there is one; empty as long as that may be."""
        whole = self._kept + data
        try:
            size = _size(whole)
        except FormatError:
            size = 0
        if size is None:
            self._kept = whole
            return b""
        self.passed = True
        self.source = _source(whole[:size])
        return whole[size:]


def _size(data: bytes) -> int | None:
    """The size of the header; None while it is not whole.

    Raises:
        FormatError: there is none.
    """
    if data.startswith(_V2_START) or _V2_START.startswith(data):
        if len(data) < _V2_HEAD:
            return None
        size = _V2_HEAD + int.from_bytes(data[14:16], "big")
        if data[12] >> 4 == _V2 and size <= _V2_MOST:
            return size if len(data) >= size else None
    elif data.startswith(_V1_START) or _V1_START.startswith(data):
        if match := _V1.match(data):
            return match.end()
        if len(data) < _V1_MOST and b"\n" not in data:
            return None
    raise FormatError("no header of the PROXY protocol")


def _source(header: bytes) -> str:
    if match := _V1.match(header):
        return f"{match[1].decode('ascii')} port {int(match[2])}" if match[1] else ""
    width = {_INET: 4, _INET6: 16}.get(header[13] & 0xF0) if len(header) > _V2_HEAD else None
    if width is None or len(header) < _V2_HEAD + 2 * width + 4:
        return ""
    address = ipaddress.ip_address(header[_V2_HEAD : _V2_HEAD + width])
    port = int.from_bytes(header[_V2_HEAD + 2 * width : _V2_HEAD + 2 * width + 2], "big")
    return f"{address} port {port}"
