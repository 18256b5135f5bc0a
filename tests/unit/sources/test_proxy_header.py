from __future__ import annotations

import pytest

from epochseal.errors import FormatError
from epochseal.sources.proxy_header import ProxyHeader

V2 = b"\r\n\r\n\0\r\nQUIT\n"
HEADERS = [
    (b"PROXY TCP4 10.0.0.1 10.0.0.2 1234 514\r\n", "10.0.0.1 port 1234"),
    (b"PROXY TCP6 ::1 ::2 1234 514\r\n", "::1 port 1234"),
    (b"PROXY UNKNOWN\r\n", ""),
    (V2 + b"\x21\x11\0\x0c\x0a\0\0\1\x0a\0\0\2\x04\xd2\2\2", "10.0.0.1 port 1234"),
    (V2 + b"\x21\x21\0\x24" + bytes(15) + b"\1" + bytes(16) + b"\x04\xd2\2\2", "::1 port 1234"),
    (V2 + b"\x20\0\0\0", ""),
]
NONE = [b"<13>x\n", b"PROXY TCP4 nonsense\n", b"P", b"\r\nx", V2 + b"\x11\x11\0\0", b"PROXY " + b"x" * 200]


@pytest.mark.parametrize(("header", "source"), HEADERS)
def test_headers(header: bytes, source: str) -> None:
    """Each in one piece and byte by byte: what follows is given, and whom it is for is known."""
    for step in (1, 1000):
        proxy, rest = ProxyHeader(), b""
        data = header + b"<13>x\n"
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            rest += piece if proxy.passed else proxy.feed(piece)
        assert (rest, proxy.source) == (b"<13>x\n", source)


@pytest.mark.parametrize("data", NONE)
def test_what_is_no_header(data: bytes) -> None:
    """It is given back whole, once it cannot become one."""
    for step in (1, 1000):
        proxy, rest = ProxyHeader(), b""
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            rest += piece if proxy.passed else proxy.feed(piece)
        assert (rest if proxy.passed else b"P") == data


@pytest.mark.parametrize(("header", "source"), HEADERS)
def test_before_a_handshake_not_one_byte_more_is_taken(header: bytes, source: str) -> None:
    """How many bytes belong to it is said for what was seen so far."""
    proxy = ProxyHeader()
    assert proxy.missing(header[:9]) == 9
    assert proxy.missing(header[9:] + b"\x16\x03") == len(header) - 9
    assert (proxy.passed, proxy.source) == (True, source)


def test_a_header_that_goes_wrong_before_a_handshake() -> None:
    """There are no bytes to give back: it is an error."""
    with pytest.raises(FormatError, match="no header"):
        ProxyHeader().missing(b"PROXY TCP9 x\r\n")
