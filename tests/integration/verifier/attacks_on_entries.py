"""Attacks on the `.log` files: entries, whole files, compressed files, and what is put beside them."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

from epochseal.format.seal_lines import SourceMark
from tests.integration.logs import Log, LogWriter, entry
from tests.integration.verifier.attacks import (
    SIZE,
    Expect,
    attack,
    edit,
    entries,
    swap,
    tampered,
    without_checkpoint,
)

VERIFIED = Expect("verified")


@attack("nothing: the log as it was written", VERIFIED)
def honest(_log: Log) -> None:
    """No attack."""


@attack("one byte of entry 7 is another", tampered("entries_altered", 7, 7, 6, 8))
def entry_edited(log: Log) -> None:
    """Same length."""
    entries(log, 1, lambda items: items.__setitem__(7, items[7].replace(b"sealed", b"sealee")))


@attack("entry 7 is longer", tampered("entries_altered", 7, 7, 6, 8))
def entry_longer(log: Log) -> None:
    """All that follows is moved."""
    entries(log, 1, lambda items: items.__setitem__(7, items[7][:-1] + b" And more.\n"))


@attack("entry 7 is gone", tampered("entries_altered", 7, 7, 6, 8))
def entry_deleted(log: Log) -> None:
    """The rest is moved up."""
    entries(log, 1, lambda items: items.__delitem__(7))


@attack("all entries of a block are gone", tampered("entries_altered", 6, 8, 6, 8))
def block_deleted(log: Log) -> None:
    """The seal line stays."""
    entries(log, 1, lambda items: items.__delitem__(slice(6, 9)))


@attack("a foreign line stands inside of a block", tampered("entries_altered", 7, 7, 6, 8))
def entry_inserted(log: Log) -> None:
    """Before entry 7."""
    entries(log, 1, lambda items: items.insert(7, b"a foreign line\n"))


@attack("a foreign line stands between two blocks", tampered("entries_inserted", 9, 9))
def entry_inserted_between_blocks(log: Log) -> None:
    """Before entry 9."""
    entries(log, 1, lambda items: items.insert(9, b"a foreign line\n"))


@attack("a foreign line stands before the first entry", tampered("entries_inserted", 0, 0))
def entry_inserted_first(log: Log) -> None:
    """At byte 0."""
    entries(log, 1, lambda items: items.insert(0, b"a foreign line\n"))


@attack("an empty line stands between two blocks", tampered("entries_inserted", 9, 9))
def empty_line_inserted(log: Log) -> None:
    """An empty line is an entry."""
    entries(log, 1, lambda items: items.insert(9, b"\n"))


@attack("entry 7 is there twice", tampered("entries_altered", 7, 7, 6, 8))
def entry_duplicated(log: Log) -> None:
    """A replay of one entry."""
    entries(log, 1, lambda items: items.insert(8, items[7]))


@attack("entries 6 and 8 have changed places", tampered("entries_altered", 6, 8))
def entries_swapped(log: Log) -> None:
    """Inside of a block."""
    entries(log, 1, lambda items: swap(items, 6, 8))


@attack("entries 8 and 9 have changed places", tampered("entries_altered", 8, 9, 6, 11))
def entries_swapped_between_blocks(log: Log) -> None:
    """In two blocks."""
    entries(log, 1, lambda items: swap(items, 8, 9))


@attack("the entries of two blocks have changed places", tampered("entries_altered", 6, 11))
def blocks_swapped(log: Log) -> None:
    """Whole blocks of the same size."""

    def change(items: list[bytes]) -> None:
        items[6:12] = items[9:12] + items[6:9]

    entries(log, 1, change)


@attack("a line feed became a space: two entries are one", tampered("entries_altered", 7, 8, 6, 8))
def entries_joined(log: Log) -> None:
    """The number of lines is another."""
    entries(log, 1, lambda items: items.__setitem__(7, items[7][:-1] + b" "))


@attack("the last entry is gone", tampered("entries_missing", 34, 34, 33, 34))
def last_entry_deleted(log: Log) -> None:
    """Of a closed log."""
    entries(log, 3, lambda items: items.__delitem__(-1))


@attack("the entries from 31 on are gone", tampered("entries_missing", 31, 34, 30, 34))
def entries_truncated(log: Log) -> None:
    """The seal lines stay."""
    entries(log, 3, lambda items: items.__delitem__(slice(7, None)))


@attack("the log file of segment 2 is cut in the middle of entry 20", tampered("entries_missing", 21, 23))
def entries_truncated_inside(log: Log) -> None:
    """Not at the end of a line."""
    edit(log.files("log")[1], lambda data: data[: 8 * SIZE + 9])


@attack("the log file of segment 2 is empty", tampered("entries_missing", 12, 23))
def log_emptied(log: Log) -> None:
    """The seal file stays."""
    edit(log.files("log")[1], lambda _: b"")


@attack("the log file of segment 2 has the same size and other content", tampered("entries_altered", 12, 23))
def log_replaced(log: Log) -> None:
    """Zeros."""
    edit(log.files("log")[1], lambda data: bytes(len(data)))


@attack("a 70 KB line is appended to a segment that is not the last", tampered("foreign_bytes", 12, 12))
def bytes_appended_to_old_segment(log: Log) -> None:
    """Longer than any line reader's buffer."""
    edit(log.files("log")[0], lambda data: data + b"x" * 70_000 + b"\n")


@attack("a line is appended after the log was closed", tampered("foreign_bytes", 35, 35))
def bytes_appended_after_close(log: Log) -> None:
    """The open end is there no more."""
    edit(log.files("log")[2], lambda data: data + b"a foreign line\n")


@attack("a NUL byte is appended after the log was closed", tampered("foreign_bytes", 35, 35))
def byte_appended_after_close(log: Log) -> None:
    """Not even a line."""
    edit(log.files("log")[2], lambda data: data + b"\0")


# --- compressed, missing, doubled ---------------------------------------------------------------------------


def compress(path: Path, data: bytes | None = None, after: bytes = b"") -> Path:
    """Replace a log file by its gzip form."""
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes() if data is None else data, mtime=0) + after)
    path.unlink()
    return packed


@attack("honest: every segment is compressed", VERIFIED)
def compressed(log: Log) -> None:
    """As a retention job does it."""
    for path in log.files("log"):
        compress(path)


@attack("honest: compressed in two gzip members", VERIFIED)
def compressed_in_members(log: Log) -> None:
    """As parallel compressors do it."""
    path = log.files("log")[0]
    data = path.read_bytes()
    compress(path, data[:100], gzip.compress(data[100:], mtime=0))


@attack("entry 7 was changed before compressing again", tampered("entries_altered", 7, 7, 6, 8))
def compressed_again_with_edit(log: Log) -> None:
    """Same length."""
    path = log.files("log")[0]
    compress(path, path.read_bytes().replace(b"0007", b"0008"))


@attack("a compressed segment goes on after its last sealed byte", tampered("foreign_bytes", 12, 12))
def compressed_with_more(log: Log) -> None:
    """In the same member."""
    path = log.files("log")[0]
    compress(path, path.read_bytes() + b"a foreign line\n")


@attack("a second gzip member follows the sealed bytes", tampered("foreign_bytes", 12, 12))
def compressed_with_another_member(log: Log) -> None:
    """Readers print it."""
    compress(log.files("log")[0], after=gzip.compress(b"a foreign line\n", mtime=0))


@attack("garbage follows the compressed data", tampered("foreign_bytes", 12, 12))
def compressed_with_garbage(log: Log) -> None:
    """Readers ignore it."""
    compress(log.files("log")[0], after=b"garbage")


@attack("the compressed file is cut off", tampered("entries_altered entries_missing", 9, 11, 0, 11))
def compressed_cut(log: Log) -> None:
    """In its data."""
    path = compress(log.files("log")[0])
    edit(path, lambda data: data[:-20])


@attack("the trailer of the compressed file is gone", tampered("foreign_bytes", 12, 12))
def compressed_without_trailer(log: Log) -> None:
    """All entries are there, the checksum is not."""
    path = compress(log.files("log")[0])
    edit(path, lambda data: data[:-8])


@attack(
    "one bit of the compressed data is another", tampered("entries_altered entries_missing", 6, 11, 0, 11)
)
def compressed_bit_flipped(log: Log) -> None:
    """In the middle."""
    path = compress(log.files("log")[0])
    edit(
        path,
        lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1 :],
    )


@attack("a segment's log is there plain and compressed", tampered("segment_duplicate", 12, 12))
def log_plain_and_compressed(log: Log) -> None:
    """Both are right."""
    path = log.files("log")[1]
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))


@attack("an open log's last segment is compressed and goes on", tampered("foreign_bytes", 3, 3))
def open_log_compressed_with_more(log: Log) -> None:
    """Nobody appends to a compressed file: it is no open end."""
    shutil.rmtree(log.path)
    LogWriter(log.path, log.keys, time=log.now - 1000).start("genesis").block(*map(entry, range(3)))
    path = log.files("log")[0]
    compress(path, path.read_bytes() + b"a foreign line\n")


@attack("the log file of segment 2 is gone", tampered("segment_incomplete", 12, 12, 0, 12))
def log_removed(log: Log) -> None:
    """The seal file is there."""
    log.files("log")[1].unlink()


@attack("the seal file of segment 2 is gone", tampered("segment_incomplete", 12, 12, 0, 12))
def seal_removed(log: Log) -> None:
    """An unsealed file between sealed ones."""
    log.files("seal")[1].unlink()


@attack("a log file without seal lines was added", Expect("incomplete", "seal_behind", (35, 35), (0, 35)))
def unsealed_log_added(log: Log) -> None:
    """As segment 4: an honest copy looks so if its names were listed when a start named its files."""
    (log.path / "segments" / "000004-20260101T000100Z.log").write_bytes(b"a foreign line\n")


@attack("all seal files are gone", Expect("tampered", "segment_incomplete"))
def all_seals_removed(log: Log) -> None:
    """Nothing says any more that these files were sealed, but that there are no seal files."""
    for path in log.files("seal"):
        path.unlink()


@attack("honest: files that belong to no segment", Expect("verified", warnings="foreign_file"))
def foreign_files(log: Log) -> None:
    """They are named and not read."""
    for name in ("README", "000001.log", "1-20260101T000000Z.log", "000002-20260101T000000Z.seal.gz"):
        (log.path / "segments" / name).write_bytes(b"epoch 0 {} forged\n")


@attack("honest: entries of a source may be missing", Expect("verified", warnings="source_gap"))
def source_gap(log: Log) -> None:
    """The agent tailed a file that was truncated: a position says it, and entries follow."""
    shutil.rmtree(log.path / "segments")
    without_checkpoint(log)
    name = "tail:/var/log/app.log"
    writer = LogWriter(log.path, log.keys).start("genesis")
    writer.block(src=SourceMark(name, 0, "65024-131-0-e3b0c44298fc1c149afbf4c8996fb924"))
    writer.block(src=SourceMark("positions", 1))
    writer.block(entry(0), src=SourceMark(name, SIZE, "65024-131-23-0bcd5a7072104c4a539b7d5429b1cb6d"))
    writer.block(src=SourceMark(name, 0, "65024-131-0-e3b0c44298fc1c149afbf4c8996fb924", gap=1))
    writer.block(entry(1), src=SourceMark(name, SIZE, "65024-131-23-46a7bc9c63328f2faebf6444f41c9f7b"))
    writer.end()


@attack("honest: an entry beyond the limit was left out", Expect("verified", warnings="source_gap"))
def entry_skipped(log: Log) -> None:
    """A position says how many bytes were not sealed; the next entry begins behind them."""
    shutil.rmtree(log.path / "segments")
    without_checkpoint(log)
    writer = LogWriter(log.path, log.keys).start("genesis")
    writer.block(entry(0), src=SourceMark("stdin", SIZE))
    writer.block(src=SourceMark("stdin", SIZE + 200_000_000, gap=1, skipped=200_000_000))
    writer.block(entry(1), src=SourceMark("stdin", 2 * SIZE + 200_000_000))
    writer.end()


@attack("honest: an entry beyond the limit was split", Expect("verified"))
def entry_split(log: Log) -> None:
    """Its parts say `nolf`, all but the last; offsets count no newline that was added."""
    shutil.rmtree(log.path / "segments")
    without_checkpoint(log)
    writer = LogWriter(log.path, log.keys).start("genesis")
    writer.block(b"one half of \n", src=SourceMark("stdin", 12, nolf=1))
    writer.block(b"an entry\n", src=SourceMark("stdin", 21))
    writer.end()


@attack("bytes were left out, and no gap is told of", tampered("line_altered", 0, 0))
def skipped_without_gap(log: Log) -> None:
    """No agent writes such a line: a gap would be overlooked by who looks for `gap`."""
    shutil.rmtree(log.path / "segments")
    without_checkpoint(log)
    writer = LogWriter(log.path, log.keys).start("genesis")
    writer.block(entry(0), src=SourceMark("stdin", SIZE + 5, skipped=5))
    writer.end()


@attack("bytes were set aside in a segment that ended with a clean close", tampered("bad_unsealed", 35, 35))
def unsealed_after_close(log: Log) -> None:
    """What an agent leaves that found lines behind the close."""
    path = log.files("seal")[-1]
    path.with_suffix(".unsealed").write_bytes(b"a foreign line\n")


@attack("everything is gone but the empty folder", Expect("empty"))
def everything_removed(log: Log) -> None:
    """Nothing was checked, so it is never `verified`."""
    for path in (log.path / "segments").iterdir():
        path.unlink()
    without_checkpoint(log)


@attack("everything is gone but the checkpoint", Expect("tampered", "checkpoint_ahead"))
def everything_removed_but_checkpoint(log: Log) -> None:
    """It speaks of lines that are not there."""
    for path in (log.path / "segments").iterdir():
        path.unlink()


@attack("all files of the segments are empty", Expect("tampered", "checkpoint_ahead"))
def everything_emptied(log: Log) -> None:
    """The names are right."""
    for path in (log.path / "segments").iterdir():
        path.write_bytes(b"")
