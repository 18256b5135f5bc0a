"""Escaping of entries that came in frames: one line each, no controls, and all can be undone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochseal.errors import FormatError
from epochseal.format.escaping import escape, escape_entries, unescape

EXAMPLES = {
    b"plain text, \xc3\xa4\xf0\x9f\x94\x92, a\ttab": b"plain text, \xc3\xa4\xf0\x9f\x94\x92, a\ttab",
    b"two\nlines\r\n": b"two\\x0alines\\x0d\\x0a",
    b"C:\\temp": b"C:\\\\temp",
    b"\x1b[2J\x07\x00\x7f": b"\\x1b[2J\\x07\\x00\\x7f",
    b"\xc2\x85 next line, \xc2\x9b CSI": b"\\xc2\\x85 next line, \\xc2\\x9b CSI",
    b"\xc2\xa0 no-break space stays": b"\xc2\xa0 no-break space stays",
    b"\xe2\x80\xa8\xe2\x80\xa9": b"\\xe2\\x80\\xa8\\xe2\\x80\\xa9",
    b"\xe2\x80\xa7 and \xe2\x80\xaa stay": b"\xe2\x80\xa7 and \xe2\x80\xaa stay",
    b"invalid \xff\xfe\x80\x9b": b"invalid \xff\xfe\x80\x9b",
    b"\\x0a is not a newline": b"\\\\x0a is not a newline",
    b"": b"",
}


@pytest.mark.parametrize("entry", EXAMPLES, ids=repr)
def test_examples(entry: bytes) -> None:
    """Each kind of byte that is escaped, and its neighbours that are not."""
    assert escape(entry) == EXAMPLES[entry]
    assert unescape(EXAMPLES[entry]) == entry


@given(st.binary())
def test_any_bytes_come_back(entry: bytes) -> None:
    """Whatever a datagram holds is given back exactly."""
    assert unescape(escape(entry)) == entry


@given(
    st.lists(
        st.sampled_from([b"\\", b"x", b"0", b"a", b"\n", b"\xc2", b"\x85", b"\xe2\x80", b"\xa8", b"\x1b"])
    )
)
def test_bytes_that_look_like_escapes_come_back(parts: list[bytes]) -> None:
    """Mixtures of backslashes, hex digits and cut-off sequences are not confused with each other."""
    entry = b"".join(parts)
    assert unescape(escape(entry)) == entry


@given(st.binary())
def test_no_control_character_is_left(entry: bytes) -> None:
    """The escaped form has no byte that ends a line, and no control character of any kind."""
    stored = escape(entry)
    assert not any((byte < 0x20 and byte != 0x09) or byte == 0x7F for byte in stored)
    text = stored.decode("utf-8", "ignore")
    assert not any(0x80 <= ord(sign) < 0xA0 or sign in "\u2028\u2029" for sign in text)


@given(st.lists(st.binary(), min_size=1))
def test_several_lines_are_undone_together(entries: list[bytes]) -> None:
    """A block of escaped entries is undone as a whole; the newlines between them stay."""
    assert unescape(b"".join(escape(entry) + b"\n" for entry in entries)) == b"".join(
        entry + b"\n" for entry in entries
    )


@pytest.mark.parametrize(
    "stored",
    [
        b"\\",
        b"a\\",
        b"\\n",
        b"\\x",
        b"\\x0",
        b"\\x0G",
        b"\\x0A",
        b"\\X0a",
        b"\\u2028",
        b"\\x41",
        b"\\xff",
        b"\\\\\\",
        b"\\x09",
        b"\\xc2a",
        b"\x1b",
        b"\xc2\x85",
        b"\\x5c",
    ],
    ids=repr,
)
def test_one_spelling_only(stored: bytes) -> None:
    """What `escape` never writes is refused: each entry has one stored form."""
    with pytest.raises(FormatError):
        unescape(stored)


@given(st.lists(st.binary(max_size=12) | st.text(max_size=6).map(str.encode), max_size=8))
def test_many_at_once_as_one_by_one(entries: list[bytes]) -> None:
    """Entries that are escaped together are stored as each of them by itself is."""
    assert escape_entries(entries) == b"".join(escape(entry) + b"\n" for entry in entries)


def test_entries_with_every_byte() -> None:
    """Where no byte is left to stand for an end, the result is the same."""
    entries = [bytes(range(256)), b"", b"x"]
    assert escape_entries(entries) == b"".join(escape(entry) + b"\n" for entry in entries)
