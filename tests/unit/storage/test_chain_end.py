from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.errors import StorageError
from epochseal.format.note import Note, Signature
from epochseal.format.seal_lines import ZERO_TAG, EndReason, Link, SourceMark, encode_note_line
from epochseal.keys import Issued
from epochseal.sealing.chain import Chain, EpochStart, Pace
from epochseal.storage.chain_end import ChainEnd, Close, greatest_noted, read_chain_end
from epochseal.storage.lines_backwards import lines_backwards
from epochseal.storage.segments import FOLDER, SegmentWriter, list_segments

LOG = bytes(range(32))


class Log:
    """A log written by the real chain, with keys that stay zero: the tail is read without any."""

    def __init__(self, logdir: Path) -> None:
        self.logdir = logdir
        self.chain = Chain("example.com/t", LOG)
        self.writer: SegmentWriter | None = None
        self.page = memoryview(bytearray(192))

    def epoch(self, link: Link = "genesis", *, segment: int = 1) -> None:
        """Begin an epoch, in a new segment if the number is new."""
        context, asked = self.chain.next_context(), self.chain.asked()
        start = EpochStart(link, Issued("k", b"w"), context, asked, (), segment, Pace(), 1)
        if segment != self.chain.segment:
            self.close()
            self.writer = SegmentWriter.create(self.logdir, f"{segment:06d}-20260101T000000Z")
        self.append(self.chain.start(start, self.page[:64], self.page[64:96], self.page[96:128]))

    def block(self, data: bytes) -> None:
        """Seal these entries."""
        assert self.writer is not None
        self.writer.append_entries(data)
        entries = data.count(b"\n")
        src = SourceMark("s", 1)
        self.append(self.chain.block(entries, len(data), ZERO_TAG, src, 1, self.page[:32], self.page[32:64]))

    def end(self, reason: EndReason) -> None:
        """End the epoch."""
        self.append(self.chain.end(reason, self.page[:32], self.page[64:96], self.page[32:64]))

    def append(self, data: bytes) -> None:
        """Write to the seal file."""
        assert self.writer is not None
        self.writer.append_lines(data)

    def close(self) -> None:
        """Close the files."""
        if self.writer is not None:
            self.writer.close()

    def tail(self, bound: int | None = None, *sizes: int) -> ChainEnd:
        """What is read of it."""
        found = read_chain_end(list_segments(self.logdir).segments, bound, sizes)
        assert found is not None
        return found

    def check(self) -> ChainEnd:
        """The tail is where the chain stands."""
        found = self.tail()
        assert found.tree == self.chain.tree
        assert (found.last_tag, found.entries) == (self.chain.last_tag, self.chain.entries)
        assert (found.sealed, found.log) == (self.chain.segment_bytes, self.chain.log)
        assert found.header.epoch == self.chain.epoch
        assert found.segment.number == self.chain.segment
        return found


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    """An empty log."""
    made = Log(tmp_path)
    yield made
    made.close()


def test_no_log_has_no_tail(tmp_path: Path) -> None:
    """Without segments, and with a pair in which no epoch line stands, there is no tail."""
    assert read_chain_end(()) is None
    SegmentWriter.create(tmp_path, "000001-20260101T000000Z").close()
    assert read_chain_end(list_segments(tmp_path).segments) is None
    (tmp_path / FOLDER / "000001-20260101T000000Z.seal").write_bytes(b'epoch 0 {"epoch":0')
    assert read_chain_end(list_segments(tmp_path).segments) is None


def test_the_tail_follows_the_chain(log: Log) -> None:
    """After every line, over epochs and segments, tree, tag and counters are those of the chain."""
    log.epoch()
    assert log.check().bare
    log.block(b"a\nb\n")
    assert not log.check().bare
    log.append(encode_note_line(b"note"))
    log.end("interval")
    assert log.check().close is None
    log.epoch("carry")
    assert log.check().sealed == 4
    log.block(b"c\n")
    log.end("segment")
    log.check()
    log.epoch("carry", segment=2)
    assert log.check().sealed == 0
    log.block(b"d\n")
    log.end("close")
    found = log.check()
    assert found.close == Close(log.chain.index, log.chain.tree.root(), 0)
    assert found.kept == found.segment.seal.stat().st_size if found.segment.seal else False


def test_it_is_read_from_below_the_bound(log: Log) -> None:
    """Every line up to a size that is remembered is read, and the root at it is that of the chain."""
    roots = {}
    log.epoch()
    for reason in ("interval", "segment", "entries"):
        log.block(b"a\n")
        roots[log.chain.index] = log.chain.tree.root()
        log.end(reason)
        log.epoch("carry", segment=log.chain.segment + (reason == "segment"))
        roots[log.chain.index] = log.chain.tree.root()
    for size, root in roots.items():
        assert log.tail(size, size).roots == {size: root}
    # The first line of the last epoch alone says nothing of the lines before it.
    last = log.chain.index
    assert log.tail(last - 1, last - 1).roots[last - 1] != roots[last]


def test_bare_epochs_hand_the_close_on(log: Log) -> None:
    """Behind a close, epoch lines alone leave it the last thing that happened; a line more does not."""
    log.epoch()
    log.block(b"a\n")
    log.end("close")
    close = Close(log.chain.index, log.chain.tree.root(), 0)
    for segment in (2, 3):
        log.epoch("carry", segment=segment)
        assert log.tail(log.chain.index).close == close
    log.block(b"b\n")
    assert log.tail(log.chain.index).close is None


@pytest.mark.parametrize("torn", [b"b", b"block 2 ", b"end 2 {}", b"\xff\xff", b"note", b"note AAAA"])
def test_a_torn_line_does_not_count(log: Log, torn: bytes) -> None:
    """Bytes after the last newline are no line: what is kept ends before them, whatever the bound."""
    log.epoch()
    log.block(b"a\n")
    log.end("close")
    length = log.check().kept
    log.append(torn)
    for bound in (None, 1, 100):
        found = log.tail(bound)
        assert (found.kept, found.tear, found.torn_note) == (length, len(torn), torn.startswith(b"note"))
        assert found.close is not None


@pytest.mark.parametrize("line", [b"garbage\n", b"note \0\0\n", b"\0" * 40 + b"\n", b"end 1 {} AAAA\n"])
def test_what_does_not_follow_is_a_tear_from_the_bound_on(log: Log, line: bytes) -> None:
    """From the size on that is known, the first line that does not follow ends the log, and all behind it."""
    log.epoch()
    log.block(b"a\n")
    whole = log.check()
    log.append(line + b"and more\n")
    size = log.chain.index
    found = log.tail(size)
    assert (found.kept, found.tear, found.tree) == (whole.kept, len(line) + 9, log.chain.tree)
    below = log.tail(size + 1)
    # Below the bound it is no tear but damage, which is counted as it stands.
    assert (below.tear, below.tree.size) == (9, size + 1)


def test_a_line_that_is_repeated_or_misplaced_does_not_follow(log: Log) -> None:
    """Well-formed lines from elsewhere in the log are no continuation."""
    log.epoch()
    log.block(b"z\n")
    log.append(log.chain.sign(None, log.page[:32], log.page[32:64]))
    log.block(b"a\n")
    log.block(b"b\n")
    assert log.writer is not None
    lines = log.writer.seal.path.read_bytes().splitlines(keepends=True)
    for line in lines[1:]:
        log.append(line)
        assert log.tail(1).tree == log.chain.tree
        log.writer.seal.truncate(log.writer.seal.length - len(line))


def test_damage_in_an_earlier_file_is_counted(log: Log) -> None:
    """A tear is where the log was written last: what is damaged before another segment stays."""
    log.epoch()
    log.block(b"a\n")
    log.end("segment")
    log.epoch("carry", segment=2)
    first = list_segments(log.logdir).segments[0].seal
    assert first is not None
    raw = first.read_bytes()
    first.write_bytes(raw.replace(b"\nblock 1 ", b"\nblocc 1 "))
    found = log.tail(1)
    assert (found.tear, found.segment.number) == (0, 2)
    # An epoch line that parses has the tree that counts from there on.
    assert found.tree == log.chain.tree


def test_a_damaged_epoch_line_is_passed_over(log: Log) -> None:
    """With the last epoch line unreadable the tail is read from the one before, over segments."""
    log.epoch()
    log.block(b"a\n")
    log.end("segment")
    log.epoch("carry", segment=2)
    log.block(b"b\n")
    log.close()
    (_, second) = list_segments(log.logdir).segments
    assert second.seal is not None
    raw = second.seal.read_bytes()
    second.seal.write_bytes(b"epocj" + raw[5:])
    found = log.tail()
    assert found.header.epoch == 0
    assert found.segment.number == 2
    assert (found.tree.size, found.last_tag) == (log.chain.index, log.chain.last_tag)
    assert (found.entries, found.sealed) == (2, 2)


def test_an_index_far_ahead_costs_nothing(log: Log) -> None:
    """A line that claims an absurd place in the tree does not make the reader count up to it."""
    log.epoch()
    log.block(b"a\n")
    assert log.writer is not None
    raw = log.writer.seal.path.read_bytes().splitlines(keepends=True)[-1]
    log.append(raw.replace(b"block 1 ", b"block 9000000000000000000 "))
    assert log.tail().tree.size == 3


def test_a_line_without_an_end_is_not_read_into_memory(log: Log) -> None:
    """Megabytes without a newline are a tear, whatever they are."""
    log.epoch()
    log.append(b"x" * (3 << 20))
    found = log.tail(1)
    assert (found.tear, found.torn_note) == (3 << 20, False)
    log.append(b"\n")
    assert log.tail(1).tear == (3 << 20) + 1
    assert log.tail(2).tree.size == 2


@pytest.mark.parametrize("kind", ["link", "FIFO", "folder"])
def test_only_regular_files_are_read(log: Log, kind: str) -> None:
    """What stands in a seal file's place and is none is refused, and nobody waits for it."""
    log.epoch()
    log.close()
    (segment,) = list_segments(log.logdir).segments
    assert segment.seal is not None
    moved = segment.seal.rename(log.logdir / "moved")
    if kind == "link":
        segment.seal.symlink_to(moved)
    elif kind == "FIFO":
        os.mkfifo(segment.seal)
    else:
        segment.seal.mkdir()
    with pytest.raises(StorageError, match="no regular file"):
        log.tail()
    with pytest.raises(StorageError, match="no regular file"):
        greatest_noted(list_segments(log.logdir).segments)


def test_the_last_note_that_can_be_read_counts(log: Log) -> None:
    """Its size bounds what a start without a memory may call a tear."""
    assert greatest_noted(()) == 0
    log.epoch()
    assert greatest_noted(list_segments(log.logdir).segments) == 0
    text = log.chain.checkpoint().text()
    note = Note(text, (Signature("example.com/t", bytes(4), bytes(64)),))
    log.append(encode_note_line(note.encode()))
    log.append(b"note AAAA\n")
    assert greatest_noted(list_segments(log.logdir).segments) == 1


@pytest.mark.parametrize("chunk", [7, 8, 64, 1 << 20])
def test_lines_are_found_backwards_over_any_chunk(
    tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each whole line of the kind, the last one first, wherever the file is cut for reading."""
    monkeypatch.setattr("epochseal.storage.lines_backwards._CHUNK", chunk)
    path = tmp_path / "lines"
    path.write_bytes(b"epoch 1\nblock epoch \nepoch 22\n\nepoch 333\nepoch cut")
    assert list(lines_backwards(path, b"epoch ")) == [(31, b"epoch 333"), (21, b"epoch 22"), (0, b"epoch 1")]
    assert list(lines_backwards(path, b"epoch ", 21)) == [(0, b"epoch 1")]
    assert list(lines_backwards(path, b"note ")) == []
