from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochseal.format.escaping import escape, unescape
from epochseal.sealing.limits import Piece
from epochseal.sources.framing import Cut, FramingError, FramingName, StreamFraming
from epochseal.sources.shared_buffer import SharedBuffer

BIG = 1 << 20
EVIL = b"a\nb\r\x1b[2J\xe2\x80\xa8c\\n\x00"
Kind = Literal["unix", "syslog"]


def framing(
    name: FramingName = "auto", longest: int = BIG, kind: Kind = "syslog", *, skip: bool = True
) -> StreamFraming:
    """A framing as a source makes it."""
    return StreamFraming(name, longest, syslog=kind == "syslog", skip=skip)


def feed(framing: StreamFraming, data: bytes, cuts: list[int]) -> list[Cut]:
    """Feed the bytes in pieces of these sizes, then the rest; all that was cut."""
    found: list[Cut] = []
    for cut in [*cuts, len(data)]:
        found += framing.feed(memoryview(data[:cut]))
        data = data[cut:]
    return found


def lines(cuts: list[Cut]) -> bytes:
    """The entries of some cuts."""
    return b"".join(cut.lines for cut in cuts)


sizes = st.lists(st.integers(0, 20), max_size=30)
text = st.binary(max_size=30)


@given(st.lists(text.map(lambda raw: raw.replace(b"\n", b"")), max_size=10), text, sizes)
def test_lines_come_back(entries: list[bytes], rest: bytes, cuts: list[int]) -> None:
    """However they arrive, whole lines come out byte for byte, and what is unfinished stays."""
    rest = rest.replace(b"\n", b"")
    unix = framing("lf", kind="unix")
    whole = b"".join(entry + b"\n" for entry in entries)
    assert lines(feed(unix, whole + rest, cuts)) == whole
    assert unix.pending == len(rest)
    assert unix.rest() == Cut(rest)
    assert unix.pending == 0


@given(st.lists(text.map(lambda raw: raw.replace(b"\n", b"")), max_size=10), sizes)
def test_lines_without_a_priority_are_lines(entries: list[bytes], cuts: list[int]) -> None:
    """On a unix socket, NULs in lines that begin with no priority are bytes as any others."""
    whole = b"".join(b"x" + entry + b"\n" for entry in entries)
    assert lines(feed(framing(kind="unix"), whole, cuts)) == whole


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=10), st.booleans(), sizes)
def test_counted_frames_come_back(frames: list[bytes], ended: bool, cuts: list[int]) -> None:  # noqa: FBT001  # of the test
    """However they arrive, counted frames come out as one escaped line each, with an LF behind or not."""
    names: list[FramingName] = ["octet-counting", "auto"]
    for name in names:
        if name == "auto":
            # By itself the first count is recognized by the priority behind it.
            frames = [b"<13>" + frames[0], *frames[1:]]
        data = b"".join(b"%d %b%b" % (len(frame), frame, b"\n" * ended) for frame in frames)
        syslog = framing(name)
        found = feed(syslog, data, cuts)
        assert [unescape(line) for line in lines(found).split(b"\n")[:-1]] == frames
        assert not any(cut.trouble for cut in found)
        assert syslog.pending == 0


@given(st.lists(st.from_regex(rb"[0-9]{1,4} [^\n\0]*", fullmatch=True), min_size=1), sizes)
def test_lines_that_begin_with_a_number_are_lines(entries: list[bytes], cuts: list[int]) -> None:
    """As dates do: no priority stands behind it, and nothing like a count behind so many bytes."""
    whole = b"".join(b"%b;a line\n" % entry for entry in (b"99999 x", *entries))
    found = feed(framing(), whole, cuts)
    assert b"".join(unescape(line) + b"\n" for line in lines(found).split(b"\n")[:-1]) == whole
    assert not any(cut.trouble for cut in found)


@pytest.mark.parametrize("step", [1, 2, 5, 100])
def test_a_first_line_may_look_like_a_count(step: int) -> None:
    """As many bytes as the number says are there, before the line goes on."""
    whole = b"28 Nov 2026 10:00:00 host app: a line\n7 users logged in\n185\n"
    for data in (whole, whole[whole.index(b"7") :], b"185" + whole):
        assert lines(feed(framing(), data, [step] * (len(data) // step))) == data


@pytest.mark.parametrize("data", [b"5 hello", b"5 hello5 world", b"5 hello\n5 world\n"])
def test_counts_without_a_priority(data: bytes) -> None:
    """They are recognized where the bytes that they count are followed by another one, or by nothing."""
    syslog = framing()
    assert lines(feed(syslog, data, [])) == (b"hello\n" if data == b"5 hello" else b"hello\nworld\n")
    assert lines(feed(syslog, b"4 rest", [])) == b"rest\n"
    late = framing()
    assert not feed(late, b"5 hello", [3])
    assert late.rest() == Cut(b"hello", 1)


@given(st.lists(text, min_size=1), sizes)
def test_frames_that_end_in_a_byte_come_back(frames: list[bytes], cuts: list[int]) -> None:
    """Where it is said which byte ends the frames, every other may stand in them."""
    ends: list[tuple[FramingName, bytes, bytes]] = [("lf", b"\n", b"\0"), ("nul", b"\0", b"\n")]
    for name, end, other in ends:
        sent = [frame.replace(end, other) for frame in frames]
        found = feed(framing(name), b"".join(frame + end for frame in sent), cuts)
        assert [unescape(line) for line in lines(found).split(b"\n")[:-1]] == sent


@given(
    st.lists(text.map(lambda raw: b"<13>" + raw.replace(b"\0", b"").replace(b"\n", b"")), min_size=1), sizes
)
def test_the_end_is_recognized(frames: list[bytes], cuts: list[int]) -> None:
    """Records with a priority that end in LF or in NUL are told apart, however they arrive."""
    for end in (b"\n", b"\0"):
        kinds: list[Kind] = ["unix", "syslog"]
        for kind in kinds:
            found = feed(framing(kind=kind), b"".join(frame + end for frame in frames), cuts)
            stored = lines(found).split(b"\n")[:-1]
            assert [unescape(line) if found[0].esc else line for line in stored] == frames


def test_lines_of_a_record_that_ends_in_nul() -> None:
    """It is one entry if it comes in one piece; if not, its lines are, and the next record is whole again."""
    data = b"<13>one\nline\0<13>two\0"
    assert lines(feed(framing(), data, [])) == b"<13>one\\x0aline\n<13>two\n"
    assert lines(feed(framing(), data, [9])) == b"<13>one\nline\n<13>two\n"


def test_a_frame_cannot_make_a_second_entry() -> None:
    """Newline, CR, U+2028 and terminal escapes in a frame end up in one line without any of them."""
    names: list[tuple[FramingName, bytes]] = [("auto", b"<13>"), ("octet-counting", b"")]
    for name, priority in names:
        frame = priority + EVIL
        whole = lines(framing(name).feed(memoryview(b"%d %b" % (len(frame), frame))))
        assert whole.count(b"\n") == 1
        assert whole == escape(frame) + b"\n"
        assert whole[:-1].decode().isprintable()


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_wrong_count_is_made_good(step: int) -> None:
    """Whatever the count, no byte is lost, a later frame is right again, and there is trouble."""
    for wrong in (-3, -1, 1, 2):
        bodies = [b"<13>one\xc3\xa4\xc3\xb6", b"<13>two!", b"<13>three", b"<13>four"]
        counts = [len(bodies[0]) + wrong, *map(len, bodies[1:])]
        data = b"".join(b"%d %b" % pair for pair in zip(counts, bodies, strict=True))
        found = feed(framing(), data, [step] * (len(data) // step))
        assert lines(found).endswith(b"<13>three\n<13>four\n")
        kept = b"".join(lines(found).split()).replace(b"8", b"")
        assert kept == b"".join(bodies)
        assert any(cut.trouble for cut in found)


@pytest.mark.parametrize(
    ("name", "data"), [("octet-counting", b"GET / HTTP/1.1\r\n"), ("octet-counting", b"0 x")]
)
def test_what_is_no_frame_ends_it(name: FramingName, data: bytes) -> None:
    """Where counts are demanded, bytes without one are refused once they are longer than a frame."""
    with pytest.raises(FramingError, match="no count begins a frame"):
        feed(framing(name, 100), data + b"x" * 100, [])


@pytest.mark.parametrize("step", [1, 9, 1000])
@pytest.mark.parametrize("kind", ["unix", "syslog"])
def test_an_entry_that_is_too_long_is_left_out(kind: Kind, step: int) -> None:
    """One of the limit is taken; of a longer one the bytes are counted, and what is around it is whole."""
    longest = b"<13>" + b"x" * 16 + b"\n"
    data = longest * 2 + b"<13>" + b"y" * 100 + b"\n" + longest
    found = feed(framing(longest=20, kind=kind), data, [step] * (len(data) // step))
    assert lines(found) == longest * 3
    assert [cut.skipped for cut in found if cut.trouble] == [104]


@pytest.mark.parametrize("step", [1, 9, 1000])
def test_a_counted_frame_that_is_too_long_is_left_out(step: int) -> None:
    """As many bytes as its count says."""
    data = b"5 <1>ab30 " + b"\n" * 30 + b"5 <1>cd"
    found = feed(framing(longest=20), data, [step] * (len(data) // step))
    assert (lines(found), [cut.skipped for cut in found if cut.trouble]) == (b"<1>ab\n<1>cd\n", [30])
    with pytest.raises(FramingError, match="longer than 20 bytes"):
        feed(framing("octet-counting", longest=20), b"9999999999 x", [])


def test_where_nothing_may_be_left_out() -> None:
    """An entry that is too long is an error, finished or not; what came before it is kept."""
    for late in (b"y" * 21, b"y" * 21 + b"\nz\n"):
        with pytest.raises(FramingError, match="longer than 20 bytes") as caught:
            feed(framing(longest=20, kind="unix", skip=False), b"good\n" + late, [])
        assert lines(caught.value.cuts) == b"good\n"


def test_the_unfinished_frame() -> None:
    """What came of a frame is given, its count is not; digits alone may be a line, unless a frame came."""
    for data, whole, rest in (
        (b"5 <1>a\n10 <2\n", b"<1>a\\x0a\n", b"<2\\x0a"),
        (b"5 <1>ab5 ", b"<1>ab\n", b""),
        (b"5 <1>ab12", b"<1>ab\n", b""),
        (b"5 ", b"", b"5 "),
        (b"12", b"", b"12"),
        (b"<1>a\n<2>b", b"<1>a\n", b"<2>b"),
    ):
        syslog = framing()
        assert lines(feed(syslog, data, [])) == whole
        assert syslog.pending > 0
        assert syslog.rest().lines == rest
    skipping = framing(longest=3)
    feed(skipping, b"abcdefgh", [])
    assert skipping.rest() == Cut(b"", 0, 8, "an entry is longer than 3 bytes")


def test_a_gap_with_nothing_behind_it() -> None:
    """It is a block without entries; with entries behind it, only the first block of them says it."""
    buffer: SharedBuffer[int] = SharedBuffer("s", block_bytes=4, max_entry_bytes=BIG)
    buffer.put_gap()
    buffer.put_gap()
    assert buffer.has_entry
    piece = buffer.cut_piece(9, 99, 99)
    assert piece is not None
    assert (piece.size, piece.entries, piece.src.gap) == (0, 0, 1)
    buffer.done(0)
    assert buffer.cut_piece(9, 99, 99) is None
    buffer.put_gap()
    buffer.put(b"abc\ndef\n", 1)
    pieces = [buffer.cut_piece(9, 99, 99), buffer.cut_piece(9, 99, 99)]
    assert [piece.src.gap for piece in pieces if piece is not None] == [1, 0]


@given(st.data())
def test_every_run_gets_its_numbers(data: st.DataObject) -> None:
    """However pieces are taken, each owner is told the numbers at which its entries stand, in its order."""
    buffer: SharedBuffer[int] = SharedBuffer(
        "s", block_bytes=data.draw(st.integers(1, 60)), max_entry_bytes=BIG
    )
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
                buffer.put(entries[-1] + b"\n", owner, nolf=1)
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
        for run in buffer.taken():
            told.setdefault(run.owner, []).extend(range(total, total + run.entries))
            total += run.entries
        assert total == log.count(b"\n")
    lines = log.split(b"\n")
    for owner, numbers in told.items():
        assert [lines[number] for number in numbers] == sent[owner][: len(numbers)]
    assert sum(map(len, told.values())) == total
