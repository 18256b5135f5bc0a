from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from epochseal.sources.file_identity import Identity
from tests.unit.sources.tailer import GRACE, Tailer, append

pytestmark = pytest.mark.usefixtures("hasty")


def test_an_unfinished_line_waits(log: Path, tailer: Tailer) -> None:
    """Nothing of a line is sealed before its newline comes, and then all of it, with the source's offset."""
    append(log, b"one\ntw")
    assert tailer.run() == b"one\n"
    append(log, b"o")
    assert tailer.run() == b"one\n"
    append(log, b"\nthree\n")
    assert tailer.run() == b"one\ntwo\nthree\n"
    assert tailer.pieces[-1].offset == 14
    assert tailer.gaps == 0


def test_small_files_are_known(log: Path, tailer: Tailer) -> None:
    """A file of one byte has an identity; it grows with the file up to 256 bytes of it."""
    append(log, b"\n")
    tailer.run()
    assert Identity.parse(tailer.pieces[-1].file).size == 1
    append(log, b"x" * 300 + b"\n")
    tailer.run()
    found = Identity.parse(tailer.pieces[-1].file)
    assert (found.size, found.inode, found.device) == (256, log.stat().st_ino, log.stat().st_dev)


def test_a_renamed_file_is_read_to_its_end_before_the_next(log: Path, tailer: Tailer) -> None:
    """The service goes on writing to the old file for a while; the new one waits, and is begun after it."""
    append(log, b"1\n")
    tailer.run()
    old = log.with_name("app.log.1")
    log.rename(old)
    append(old, b"2\n")
    append(log, b"4\n")
    tailer.step()
    append(old, b"3\n")
    assert tailer.run() == b"1\n2\n3\n4\n"
    assert tailer.gaps == 0


def test_an_old_file_is_kept_while_the_new_one_is_empty(log: Path, tailer: Tailer) -> None:
    """The new file was made by logrotate long before the service opens it."""
    append(log, b"1\n")
    tailer.run()
    old = log.with_name("app.log.1")
    log.rename(old)
    log.touch()
    tailer.run()
    append(old, b"2\n")
    tailer.run()
    append(log, b"3\n")
    assert tailer.run() == b"1\n2\n3\n"


def test_the_last_line_of_a_rotated_file_is_an_entry(log: Path, tailer: Tailer) -> None:
    """Without a newline it is flagged `nolf`, and only once the file is finished."""
    append(log, b"1\nhalf")
    tailer.run()
    log.rename(log.with_name("app.log.1"))
    tailer.run()
    append(log, b"2\n")
    assert tailer.run() == b"1\nhalf\n2\n"
    assert [(src.offset, src.nolf) for src in tailer.pieces if src.nolf] == [(6, 1)]


def test_files_that_came_and_went_between_two_looks(log: Path, tailer: Tailer) -> None:
    """Three rotations at once: each file is read, in order."""
    append(log, b"1\n")
    tailer.run()
    for number in (2, 3, 4):
        for age in (3, 2, 1):
            older = log.with_name(f"app.log.{age}")
            if older.exists():
                older.rename(log.with_name(f"app.log.{age + 1}"))
        log.rename(log.with_name("app.log.1"))
        append(log, b"%d\n" % number)
    assert tailer.run(20 * GRACE) == b"1\n2\n3\n4\n"
    assert tailer.gaps == 0


def test_writing_to_a_file_that_was_left_is_a_gap(log: Path, tailer: Tailer) -> None:
    """Lines that come too late are not sealed, so that the order holds, and the log says so."""
    append(log, b"1\n")
    tailer.run()
    old = log.with_name("app.log.1")
    log.rename(old)
    append(log, b"2\n")
    assert tailer.run() == b"1\n2\n"
    append(old, b"late\n")
    tailer.run()
    assert (tailer.sealed, tailer.gaps) == (b"1\n2\n", 1)


@pytest.mark.parametrize("hasty", [60.0], indirect=True)
def test_a_removed_file_is_read_to_its_end(log: Path, tailer: Tailer) -> None:
    """Its writer may have it open still; one that appears under its name afterwards is another file."""
    append(log, b"1\n")
    tailer.run()
    with log.open("ab", buffering=0) as file:
        log.unlink()
        file.write(b"2\n")
        tailer.run()
    append(log, b"3\n")
    assert tailer.run() == b"1\n2\n3\n"
    assert tailer.gaps == 0


@pytest.mark.parametrize("hasty", [0.0], indirect=True)
@pytest.mark.parametrize("is_open", [False, True])
def test_a_file_that_is_removed_at_rest(log: Path, tailer: Tailer, *, is_open: bool) -> None:
    """It is closed then: what somebody writes who still has it open is out of reach, and that is said."""
    append(log, b"1\n")
    tailer.run()
    with log.open("ab", buffering=0) as file:
        if not is_open:
            file.close()
        log.unlink()
        tailer.run()
        if is_open:
            file.write(b"2\n")
            tailer.run()
    append(log, b"3\n")
    assert (tailer.run(), tailer.gaps) == (b"1\n3\n", int(is_open))


@pytest.mark.parametrize("ending", ["1", "1.gz", "20261123"])
def test_a_copy_gives_back_what_a_truncation_took(log: Path, tailer: Tailer, ending: str) -> None:
    """Lines beyond the last read byte come from the copy; that others may be lost is flagged all the same."""
    append(log, b"1\n2\n")
    tailer.run()
    append(log, b"3\n")
    copy = log.with_name(f"app.log.{ending}")
    copy.write_bytes(gzip.compress(log.read_bytes()) if ending.endswith("gz") else log.read_bytes())
    os.truncate(log, 0)
    append(log, b"4\n")
    assert tailer.run() == b"1\n2\n3\n4\n"
    assert tailer.gaps == 1


def test_a_truncation_without_a_copy_is_a_gap(
    log: Path, tailer: Tailer, caplog: pytest.LogCaptureFixture
) -> None:
    """What was read before is sealed, the rest is lost, and both the log and the messages say it."""
    append(log, b"1\nhalf")
    tailer.run()
    os.truncate(log, 0)
    tailer.run()
    append(log, b"2\n")
    tailer.run()
    assert (tailer.sealed.startswith(b"1\n"), tailer.sealed.endswith(b"2\n"), tailer.gaps) == (True, True, 1)
    assert "was truncated" in caplog.text


def test_new_content_that_is_longer_than_the_old_is_seen(log: Path, tailer: Tailer) -> None:
    """Between two looks the file was emptied and has grown beyond what was read: its first bytes tell."""
    append(log, b"old 1\n")
    tailer.run()
    log.write_bytes(b"new 1\nnew 2\nnew 3\n")
    assert tailer.run() == b"old 1\nnew 1\nnew 2\nnew 3\n"
    assert tailer.gaps == 1


def test_the_same_header_does_not_hide_a_truncation(log: Path, tailer: Tailer) -> None:
    """The first 256 bytes are those of the old content; the last ones that were read are not."""
    header = b"#" * 300 + b"\n"
    append(log, header + b"old entry\n")
    tailer.run()
    log.write_bytes(header + b"new entry\nand another one\n")
    assert tailer.run() == header + b"old entry\n" + header + b"new entry\nand another one\n"
