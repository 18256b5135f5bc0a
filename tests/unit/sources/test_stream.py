from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochseal.errors import EpochsealError
from epochseal.sealing.limits import Piece
from epochseal.sources.stream import EntryTooLongError, StreamSource

BIG = 1 << 40


@dataclass
class Feed:
    """A source on a pipe that a test writes to, and everything that was taken from it."""

    block: int = 64
    longest: int = BIG
    data: bytearray = field(default_factory=bytearray)
    pieces: list[Piece] = field(default_factory=list)

    def __post_init__(self) -> None:
        read, self.write_end = os.pipe()
        os.set_blocking(read, False)
        self.source = StreamSource(read, "stdin", block_bytes=self.block, max_entry_bytes=self.longest)

    def write(self, data: bytes) -> None:
        """Send the bytes and have the source read them."""
        for start in range(0, len(data), 4096):
            os.write(self.write_end, data[start : start + 4096])
            self.source.read()

    def finish(self) -> None:
        """End the stream, and see the end."""
        os.close(self.write_end)
        self.write_end = -1
        self.source.read()

    def take(self, entries: int = BIG, size: int = BIG, first: int = BIG, most: int = 16) -> list[Piece]:
        """Take pieces as one commit does, and seal them."""
        pieces: list[Piece] = []
        while len(pieces) < most and (piece := self.source.cut_piece(entries, size, first)) is not None:
            pieces.append(piece)
            entries, size, first = entries - piece.entries, size - piece.size, 0
            if entries <= 0 or size <= 0:
                break
        taken = self.source.piece_bytes()
        assert len(taken) == sum(piece.size for piece in pieces)
        self.data += taken
        self.source.done(0)
        self.pieces += pieces
        return pieces

    def take_all(self) -> None:
        """Take as long as there is something."""
        while self.take():
            pass

    def state(self) -> tuple[bool, bool, bool]:
        """Whether there is a whole entry, whether a block is full, and whether more is wanted."""
        return self.source.has_entry, self.source.full_block, self.source.wants_more

    def close(self) -> None:
        """Close both ends."""
        if self.write_end >= 0:
            os.close(self.write_end)
        self.source.close()


@pytest.fixture
def feed() -> Iterator[Feed]:
    """A source with blocks of 64 bytes."""
    made = Feed()
    yield made
    made.close()


lines = st.lists(st.binary(max_size=90).map(lambda raw: raw.replace(b"\n", b"\0")), max_size=30)


@given(
    lines, st.binary(max_size=30), st.lists(st.integers(1, 200), max_size=20), st.integers(1, 100), st.data()
)
def test_the_input_comes_back(
    entries: list[bytes], rest: bytes, cuts: list[int], block: int, data: st.DataObject
) -> None:
    """However it arrives and is taken, the pieces are the input: whole lines, counted, with its offsets."""
    whole = b"".join(entry + b"\n" for entry in entries) + rest.replace(b"\n", b"\0")
    feed = Feed(block)
    try:
        left = whole
        for cut in cuts:
            feed.write(left[:cut])
            left = left[cut:]
            if data.draw(st.booleans()):
                feed.take(most=data.draw(st.integers(1, 3)))
        feed.write(left)
        feed.finish()
        while feed.source.buffered:
            assert feed.take()
    finally:
        feed.close()
    added = b"" if whole.endswith(b"\n") or not whole else b"\n"
    assert bytes(feed.data) == whole + added
    _check_pieces(feed, whole)


def _check_pieces(feed: Feed, whole: bytes) -> None:
    start = 0
    for piece in feed.pieces:
        content = bytes(feed.data[start : start + piece.size])
        start += piece.size
        assert content.endswith(b"\n")
        assert content.count(b"\n") == piece.entries
        assert piece.size <= feed.block or piece.entries == 1
        assert piece.src.offset == min(start, len(whole))
        assert piece.src.nolf == (start > len(whole))


def test_large_random_input_comes_back() -> None:
    """Megabytes with lines of up to 400 kB, NUL and bytes that are no UTF-8, over buffer and block edges."""
    random_ = random.Random(7)
    sizes = [random_.choice((0, 1, 80, 5000, 400_000)) for _ in range(60)]
    whole = b"\n".join(random_.randbytes(size).replace(b"\n", b"\xff") for size in sizes)
    feed = Feed(64 << 10)
    try:
        for start in range(0, len(whole), 50_000):
            feed.write(whole[start : start + 50_000])
            if random_.random() < 0.5:
                feed.take()
        feed.finish()
        while feed.source.buffered:
            assert feed.take()
    finally:
        feed.close()
    assert bytes(feed.data).removesuffix(b"\n") == whole
    _check_pieces(feed, whole)


@pytest.mark.parametrize("most", range(1, 12))
def test_the_cut_at_a_limit_of_entries_is_exact(feed: Feed, most: int) -> None:
    """As many entries as there is room for are taken, not one more, not one less."""
    feed.write(b"".join(b"%d\n" % number for number in range(20)))
    feed.take(entries=most)
    assert feed.data.count(b"\n") == most
    assert bytes(feed.data) == b"".join(b"%d\n" % number for number in range(most))


@pytest.mark.parametrize("room", range(200))
def test_the_cut_at_a_limit_of_bytes_is_exact(feed: Feed, room: int) -> None:
    """As many whole entries as fit in the room are taken, over all pieces; with none that fits, none."""
    entries = [b"x" * (number % 37) + b"\n" for number in range(30)]
    feed.write(b"".join(entries))
    feed.take(size=room, first=room, most=100)
    expected = b""
    for entry in entries:
        if len(expected) + len(entry) > room:
            break
        expected += entry
    assert bytes(feed.data) == expected


def test_the_first_entry_may_be_larger_than_the_room(feed: Feed) -> None:
    """An entry beyond `size` is taken alone when `first` allows it, and is left when not."""
    feed.write(b"y" * 100 + b"\nz\n")
    assert feed.take(size=10, first=100) == []
    (piece,) = feed.take(size=10, first=101)
    assert (piece.size, piece.entries) == (101, 1)
    assert feed.take(size=2, first=0)[0].size == 2


def test_nothing_is_taken_before_a_line_is_whole(feed: Feed) -> None:
    """Bytes without a newline wait for it; an empty line is an entry."""
    feed.write(b"abc")
    assert feed.state() == (False, False, True)
    assert feed.take() == []
    feed.write(b"\n\n")
    assert feed.state() == (True, False, True)
    (piece,) = feed.take()
    assert (piece.entries, piece.size, piece.src.offset, piece.src.nolf) == (2, 5, 5, 0)
    assert feed.source.buffered == 0


def test_a_full_block_has_nothing_to_wait_for(feed: Feed) -> None:
    """A block's worth of bytes is full, less is not, and the end of the stream makes the rest full."""
    feed.write(b"x" * 62 + b"\n")
    assert feed.state() == (True, False, True)
    feed.write(b"\n")
    assert feed.state() == (True, True, True)
    feed.take()
    feed.write(b"z")
    assert feed.state() == (False, False, True)
    feed.finish()
    assert feed.state() == (True, True, False)


def test_reading_stops_one_buffer_ahead(feed: Feed) -> None:
    """While whole entries wait, no more than a buffer is read ahead of the sealer."""
    while feed.source.wants_more:
        feed.write(b"0123456\n" * 512)
        assert feed.source.buffered < 2 << 20
    assert feed.source.buffered >= 1 << 20


@pytest.mark.parametrize("longest", [1, 5, 60, 64, 65, 200])
def test_the_longest_entry(longest: int) -> None:
    """An entry of exactly the limit is sealed; one byte more is refused, after all that came before it."""
    good = b"a\n" + b"b" * longest + b"\n" + b"\n" + b"c" * (longest // 2) + b"\n"
    feed = Feed(longest=longest)
    try:
        feed.write(good + b"d" * (longest + 1) + b"\n" + b"e\n")
        with pytest.raises(EntryTooLongError, match=f"at byte {len(good)} is longer than {longest} bytes"):
            feed.take_all()
        assert bytes(feed.data) == good
    finally:
        feed.close()


def test_an_endless_entry_is_refused_while_it_arrives() -> None:
    """Bytes beyond the limit without a newline are refused at once, and are not collected."""
    feed = Feed(longest=1000)
    try:
        feed.write(b"x" * 1000)
        with pytest.raises(EntryTooLongError, match="at byte 0 is longer than 1000"):
            feed.write(b"y")
    finally:
        feed.close()


def test_a_stream_that_cannot_be_read(tmp_path: Path) -> None:
    """An error of the system is told with the name of the source."""
    source = StreamSource(os.open(tmp_path, os.O_RDONLY), "stdin", block_bytes=64, max_entry_bytes=BIG)
    try:
        with pytest.raises(EpochsealError, match="cannot read stdin: Is a directory"):
            source.read()
    finally:
        source.close()


def test_closing_twice_closes_once(feed: Feed) -> None:
    """The descriptor is closed, and a second close does not hit whoever has its number now."""
    number = feed.source.fileno()
    feed.source.close()
    other = os.open(os.devnull, os.O_RDONLY)
    assert other == number
    feed.source.close()
    os.fstat(other)
    os.close(other)
