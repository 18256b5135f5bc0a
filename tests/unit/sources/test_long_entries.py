from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from epochseal.sealing.limits import LongEntries, Piece
from epochseal.sources.buffer import READ_SIZE
from epochseal.sources.stream import StreamSource

LONGEST = 40
BIG = 1 << 40
_sizes = st.sampled_from((0, 1, 39, 40, 41, 42, 80, 81, 120, 300))


class _Fed:
    """A source on a pipe, and what came out of it: each piece with its bytes."""

    def __init__(self, on_long: LongEntries, block: int = 64, longest: int = LONGEST) -> None:
        read, self._write = os.pipe()
        os.set_blocking(read, False)
        self.source = StreamSource(read, "stdin", block_bytes=block, max_entry_bytes=longest, on_long=on_long)
        self.taken: list[tuple[Piece, bytes]] = []

    def write(self, data: bytes) -> None:
        """Send bytes and have them read."""
        for start in range(0, len(data), 4096):
            os.write(self._write, data[start : start + 4096])
            self.source.read()

    def end(self) -> None:
        """End the stream, and take all that is left."""
        os.close(self._write)
        while not self.source.eof:
            self.source.read()
        while not self.source.ended:
            assert self.take()
        self.source.close()

    def take(self, most: int = 8) -> list[Piece]:
        """Pieces as one commit takes them."""
        pieces: list[Piece] = []
        while len(pieces) < most and (piece := self.source.cut_piece(BIG, BIG, BIG)) is not None:
            pieces.append(piece)
        data, start = bytes(self.source.piece_bytes()), 0
        for piece in pieces:
            self.taken.append((piece, data[start : start + piece.size]))
            start += piece.size
        assert start == len(data)
        self.source.done(0)
        return pieces


def _run(on_long: LongEntries, whole: bytes, cuts: list[tuple[int, int]], block: int) -> _Fed:
    fed = _Fed(on_long, block)
    for size, most in cuts:
        fed.write(whole[:size])
        whole = whole[size:]
        fed.take(most)
    fed.write(whole)
    fed.end()
    return fed


_inputs = st.tuples(
    st.lists(_sizes, max_size=12),
    st.one_of(st.just(0), _sizes),
    st.lists(st.tuples(st.integers(1, 200), st.integers(0, 3)), max_size=20),
    st.integers(1, 200),
)


@given(_inputs)
def test_what_is_skipped_is_told_to_the_byte(
    given: tuple[list[int], int, list[tuple[int, int]], int],
) -> None:
    """Each entry beyond the limit is left out whole, a piece at its place says how many bytes it had."""
    sizes, rest, cuts, block = given
    entries = [bytes([65 + number]) * size + b"\n" for number, size in enumerate(sizes)]
    entries += [b"z" * rest] if rest else []
    whole = b"".join(entries)
    place = 0
    sealed: list[bytes] = []
    skipped: list[bytes] = []
    for piece, data in _run("skip", whole, cuts, block).taken:
        if piece.src.gap:
            assert (piece.size, piece.entries) == (0, 0)
            skipped.append(whole[place : place + piece.src.skipped])
            place += piece.src.skipped
        else:
            sent = data[:-1] if piece.src.nolf else data
            assert sent == whole[place : place + len(sent)]
            place += len(sent)
            sealed += data.split(b"\n")[:-1]
        assert piece.src.offset == place
    assert place == len(whole)
    assert sealed == [entry.rstrip(b"\n") for entry in entries if len(entry.rstrip(b"\n")) <= LONGEST]
    assert skipped == [entry for entry in entries if len(entry.rstrip(b"\n")) > LONGEST]


@given(_inputs)
def test_what_is_split_comes_back(given: tuple[list[int], int, list[tuple[int, int]], int]) -> None:
    """Parts of the limit's size, each an entry; without the newlines that `nolf` tells of it is the input."""
    sizes, rest, cuts, block = given
    whole = b"".join(bytes([65 + number]) * size + b"\n" for number, size in enumerate(sizes)) + b"z" * rest
    back = b""
    for piece, data in _run("split", whole, cuts, block).taken:
        assert data.endswith(b"\n")
        assert max(map(len, data.split(b"\n"))) <= LONGEST
        assert piece.entries == data.count(b"\n")
        back += data[:-1] if piece.src.nolf else data
        assert piece.src.offset == len(back)
        assert not piece.src.gap
    assert back == whole


def test_an_endless_entry_takes_no_memory() -> None:
    """A hundred megabytes without a newline: the buffer stays as large as it was made; one gap tells all."""
    fed = _Fed("skip", longest=3 * READ_SIZE)
    least = len(fed.source._buffer)  # noqa: SLF001  # its size is what is looked at
    fed.write(b"before\n")
    fed.take()
    largest = 0
    for _ in range(100):
        fed.write(bytes(1 << 20))
        largest = max(largest, len(fed.source._buffer))  # noqa: SLF001  # as above
        if fed.source.skipping:
            assert len(fed.source._buffer) == least  # noqa: SLF001  # as above
            assert not fed.source.has_entry
    assert largest <= 4 * (3 * READ_SIZE)
    fed.write(b"\nafter\n")
    fed.end()
    assert [data for _, data in fed.taken] == [b"before\n", b"", b"after\n"]
    assert [piece.src.skipped for piece, _ in fed.taken] == [0, (100 << 20) + 1, 0]
