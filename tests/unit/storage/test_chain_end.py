from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.format.seal_lines import ZERO_TAG, EndReason, Link, SourceMark, encode_note_line
from epochseal.keys import Issued
from epochseal.sealing.chain import Chain, EpochStart, Pace
from epochseal.storage.chain_end import ChainEnd, read_chain_end
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

    def tail(self) -> ChainEnd:
        """What is read of it."""
        found = read_chain_end(list_segments(self.logdir).segments)
        assert found is not None
        return found

    def check(self) -> ChainEnd:
        """The tail is where the chain stands."""
        found = self.tail()
        assert found.tree == self.chain.tree
        assert (found.last_tag, found.entries) == (self.chain.last_tag, self.chain.entries)
        assert (found.sealed, found.log) == (self.chain.segment_bytes, LOG)
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
    log.check()
    log.block(b"a\nb\n")
    log.check()
    log.append(encode_note_line(b"note"))
    log.end("interval")
    assert not log.check().closed
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
    assert found.closed
    assert found.complete == found.segment.seal.stat().st_size if found.segment.seal else False


@pytest.mark.parametrize("torn", [b"b", b"block 2 ", b"end 2 {}", b"\xff\xff"])
def test_a_torn_line_does_not_count(log: Log, torn: bytes) -> None:
    """Bytes after the last newline are no line: `complete` ends before them."""
    log.epoch()
    log.block(b"a\n")
    log.end("close")
    length = log.check().complete
    log.append(torn)
    found = log.check()
    assert (found.complete, found.closed) == (length, True)


def test_a_damaged_line_keeps_its_place(log: Log) -> None:
    """A line that cannot be read is a leaf all the same, and the log is not closed by it."""
    log.epoch()
    log.block(b"a\n")
    log.append(b"garbage in a line\n")
    found = log.tail()
    assert found.tree.size == 3
    assert found.last_tag == log.chain.last_tag
    log.append(b"end 3 garbage AAAA\n")
    assert not log.tail().closed


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


def test_a_segment_without_an_epoch_line_is_the_tail_s_segment(log: Log) -> None:
    """A pair that a kill left empty stands at the end, with nothing sealed and nothing complete in it."""
    log.epoch()
    log.block(b"a\n")
    log.end("segment")
    SegmentWriter.create(log.logdir, "000002-20260101T000000Z").close()
    found = log.tail()
    assert (found.segment.number, found.sealed, found.complete) == (2, 0, 0)
    assert (found.tree, found.entries) == (log.chain.tree, 1)


def test_an_index_far_ahead_costs_nothing(log: Log) -> None:
    """A line that claims an absurd place in the tree does not make the reader count up to it."""
    log.epoch()
    log.block(b"a\n")
    assert log.writer is not None
    raw = log.writer.seal.path.read_bytes().splitlines(keepends=True)[-1]
    log.append(raw.replace(b"block 1 ", b"block 9000000000000000000 "))
    assert log.tail().tree.size == 3
