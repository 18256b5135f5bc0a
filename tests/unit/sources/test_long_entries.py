from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from epochseal.sealing.limits import LongEntries
from epochseal.sources.buffer import READ_SIZE
from tests.unit.sources.fed_stream import FedStream

LONGEST = 40
_sizes = st.sampled_from((0, 1, 39, 40, 41, 42, 80, 81, 120, 300))


def _run(on_long: LongEntries, whole: bytes, cuts: list[tuple[int, int]], block: int) -> FedStream:
    fed = FedStream(block=block, longest=LONGEST, on_long=on_long)
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
    fed = FedStream(block=64, longest=3 * READ_SIZE, on_long="skip")
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
