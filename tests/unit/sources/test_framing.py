from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochseal.format.escaping import escape, unescape
from epochseal.sealing.limits import Piece
from epochseal.sources.framing import Framing, FramingError, LineFraming, SyslogFraming
from epochseal.sources.shared_buffer import SharedBuffer

BIG = 1 << 20
EVIL = b"a\nb\r\x1b[2J\xe2\x80\xa8c\\n\x00"


def feed(framing: Framing, data: bytes, cuts: list[int]) -> bytes:
    """Feed the bytes in pieces of these sizes, then the rest; all that was whole."""
    whole = b""
    for cut in [*cuts, len(data)]:
        whole += framing.feed(memoryview(data[:cut]))
        data = data[cut:]
    return whole


cuts = st.lists(st.integers(0, 20), max_size=30)


@given(
    st.lists(st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b"")), max_size=10),
    st.binary(max_size=9),
    cuts,
)
def test_lines_come_back(lines: list[bytes], rest: bytes, sizes: list[int]) -> None:
    """However they arrive, whole lines come out byte for byte, and what is unfinished stays."""
    rest = rest.replace(b"\n", b"")
    framing = LineFraming(BIG)
    whole = b"".join(line + b"\n" for line in lines)
    assert feed(framing, whole + rest, sizes) == whole
    assert framing.pending == len(rest)
    assert framing.rest() == rest
    assert framing.pending == 0


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=10), cuts)
def test_counted_frames_come_back(frames: list[bytes], sizes: list[int]) -> None:
    """However they arrive, counted frames come out as one escaped line each, whatever they hold."""
    framing = SyslogFraming(BIG)
    data = b"".join(b"%d %b" % (len(frame), frame) for frame in frames)
    whole = feed(framing, data, sizes)
    assert [unescape(line) for line in whole.split(b"\n")[:-1]] == frames
    assert framing.pending == 0


@given(st.lists(st.binary(max_size=30).map(lambda raw: b"<" + raw.replace(b"\n", b"")), min_size=1), cuts)
def test_frames_that_end_in_a_newline_come_back(frames: list[bytes], sizes: list[int]) -> None:
    """A first byte `<` means that newlines end the frames."""
    whole = feed(SyslogFraming(BIG), b"".join(frame + b"\n" for frame in frames), sizes)
    assert [unescape(line) for line in whole.split(b"\n")[:-1]] == frames


def test_a_frame_cannot_make_a_second_entry() -> None:
    """Newline, CR, U+2028 and terminal escapes in a frame end up in one line without any of them."""
    whole = SyslogFraming(BIG).feed(memoryview(b"%d %b" % (len(EVIL), EVIL)))
    assert whole.count(b"\n") == 1
    assert whole == escape(EVIL) + b"\n"
    assert whole[:-1].decode().isprintable()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"x", "neither a count nor <"),
        (b"0 ", "neither a count nor <"),
        (b"\n<13>a\n", "neither a count nor <"),
        (b"3 <1>12x", "no number"),
        (b"3 <1>\n3 <2>", "no number"),
        (b"3 <1>  3 <2>", "no number"),
        (b"3 <1>03 <2>", "no number"),
        (b"3 <1>21 ", "longer than 20 bytes"),
        (b"3 <1>99", "longer than 20 bytes"),
        (b"3 <1>12345678901", "no number|longer than 20"),
    ],
)
def test_a_malformed_frame_ends_it(data: bytes, message: str) -> None:
    """What is no frame is refused, also byte by byte; frames before it are whole."""
    for step in (1, len(data)):
        framing, whole = SyslogFraming(20), bytearray()
        with pytest.raises(FramingError, match=message) as caught:
            _feed_steps(framing, data, step, whole)
        assert bytes(whole) + caught.value.whole == (b"<1>\n" if data.startswith(b"3") else b"")
        assert framing.pending == 0


def _feed_steps(framing: Framing, data: bytes, step: int, whole: bytearray) -> None:
    for start in range(0, len(data), step):
        whole += framing.feed(memoryview(data[start : start + step]))


@pytest.mark.parametrize("framing", [LineFraming, SyslogFraming])
def test_the_longest_line(framing: type[LineFraming | SyslogFraming]) -> None:
    """An entry of the limit is taken; a longer one is refused, finished or not, what came before is kept."""
    longest = b"<" + b"x" * 19 + b"\n"
    assert framing(20).feed(memoryview(longest * 3)) == longest * 3
    for late in (b"<" + b"y" * 20, b"<" + b"y" * 20 + b"\n<z\n"):
        with pytest.raises(FramingError, match="longer than 20 bytes") as caught:
            framing(20).feed(memoryview(longest * 3 + late))
        assert caught.value.whole == longest * 3
        halves = framing(20)
        assert halves.feed(memoryview(longest + late[:15])) == longest
        with pytest.raises(FramingError, match="longer than 20 bytes") as caught:
            halves.feed(memoryview(late[15:]))
        assert caught.value.whole == b""


def test_the_unfinished_frame() -> None:
    """What came of a frame is given, its count is not; a count alone is nothing, but is pending."""
    framing = SyslogFraming(BIG)
    assert framing.feed(memoryview(b"5 <1>a\n10 <2\n")) == b"<1>a\\x0a\n"
    assert framing.pending > 0
    assert framing.rest() == b"<2\\x0a"
    framing = SyslogFraming(BIG)
    framing.feed(memoryview(b"5 "))
    assert framing.pending > 0
    assert framing.rest() == b""
    framing = SyslogFraming(BIG)
    framing.feed(memoryview(b"12"))
    assert framing.rest() == b""
    framing = SyslogFraming(BIG)
    framing.feed(memoryview(b"<1>a\n<2>b"))
    assert framing.rest() == b"<2>b"


@given(st.data())
def test_every_run_gets_its_numbers(data: st.DataObject) -> None:
    """However pieces are taken, each owner is told the numbers at which its entries stand, in its order."""
    buffer = SharedBuffer("s", block_bytes=data.draw(st.integers(1, 60)), max_entry_bytes=BIG)
    sent: dict[int, list[bytes]] = {}
    told: dict[int, list[int]] = {}
    log, total = b"", 0
    unfinished: set[bytes] = set()
    for _ in range(data.draw(st.integers(1, 15))):
        for _ in range(data.draw(st.integers(0, 4))):
            owner, count = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 5))
            entries = [b"%d-%d" % (owner, len(sent.get(owner, [])) + number) for number in range(count)]
            buffer.put(b"".join(entry + b"\n" for entry in entries), owner)
            if data.draw(st.booleans()):
                entries.append(b"cut %d" % len(unfinished))
                unfinished.add(entries[-1])
                buffer.put_unfinished(entries[-1], owner)
            sent.setdefault(owner, []).extend(entries)
        room, most = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 4))
        pieces: list[Piece] = []
        while len(pieces) < most and room and (piece := buffer.cut_piece(room, 1 << 30, 1 << 30)) is not None:
            pieces.append(piece)
            room -= piece.entries
        taken = bytes(buffer.piece_bytes())
        for piece in pieces:
            part, taken = taken[: piece.size], taken[piece.size :]
            log += part
            assert part.count(b"\n") == piece.entries
            assert piece.src.nolf == (part[:-1] in unfinished)
            assert piece.src.offset == len(log) - sum(entry in log.split(b"\n") for entry in unfinished)
        buffer.done(total)
        for owner, first, last in buffer.numbered(total):
            told.setdefault(owner, []).extend(range(first, last + 1))
            total = last + 1
        assert total == log.count(b"\n")
    lines = log.split(b"\n")
    for owner, numbers in told.items():
        assert [lines[number] for number in numbers] == sent[owner][: len(numbers)]
    assert sum(map(len, told.values())) == total
