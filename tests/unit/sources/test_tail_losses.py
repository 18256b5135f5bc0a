from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from tests.unit.sources.tailer import GRACE, Tailer, append, long_lines

pytestmark = pytest.mark.usefixtures("hasty")


def test_a_quiet_file_does_not_wait_behind_idle_ones(tmp_path: Path) -> None:
    """Sixty files, all sealed; then one line in some of them: each is read although others come before it."""
    tailer = Tailer(tmp_path / "*.log")
    for number in range(60):
        append(tmp_path / f"{number:02d}.log", b"first\n")
    while tailer.sealed.count(b"\n") < 60:
        tailer.step()
    tailer.run(GRACE)
    for number in (0, 15, 16, 30, 59):
        append(tmp_path / f"{number:02d}.log", b"%d\n" % number)
        assert tailer.run(GRACE).endswith(b"%d\n" % number)
    tailer.close()


def test_a_rewrite_of_the_same_length_is_seen(log: Path, tailer: Tailer) -> None:
    """`echo state > file`: the size is the old one, the time of the last write and the content are not."""
    for state in (b"state A\n", b"state B\n", b"state C\n"):
        log.write_bytes(state)
        tailer.run()
    assert (tailer.sealed, tailer.gaps) == (b"state A\nstate B\nstate C\n", 2)
    os.utime(log)
    tailer.run()
    assert (tailer.sealed, tailer.gaps) == (b"state A\nstate B\nstate C\n", 2)


def test_more_rotations_between_two_looks_than_copies(log: Path, tailer: Tailer) -> None:
    """The file that was read is gone: what still lies there of those after it is sealed, behind a gap."""
    append(log.with_name("app.log.2"), b"long ago\n")
    os.utime(log.with_name("app.log.2"), (1, 1))
    append(log, b"0\n")
    tailer.run()
    for number in range(1, 6):
        for age in (1, 0):
            older = log.with_name(f"app.log.{age}") if age else log
            if older.exists():
                older.replace(log.with_name(f"app.log.{age + 1}"))
        append(log, b"%d\n" % number)
    assert (tailer.run(10 * GRACE), tailer.gaps) == (b"0\n3\n4\n5\n", 1)


@pytest.mark.parametrize("between", [None, "1.zst", "2.xz"])
def test_a_file_that_is_missing_in_between_is_a_gap(log: Path, tailer: Tailer, between: str | None) -> None:
    """A number is left out, or what stands there is compressed in a form that is not read."""
    append(log, long_lines(1))
    tailer.run()
    tailer.restart()
    append(log, long_lines(2))
    log.rename(log.with_name("app.log.3"))
    if between != "1.zst":
        append(log.with_name("app.log.1"), long_lines(4))
    else:
        append(log.with_name("app.log.2"), long_lines(4))
    if between is not None:
        log.with_name(f"app.log.{between}").write_bytes(b"\x28\xb5\x2f\xfd")
    append(log, long_lines(5))
    assert (tailer.run(10 * GRACE), tailer.gaps) == (long_lines(1, 2, 4, 5), 1)


def test_a_fifo_with_the_name_of_a_rotated_file(log: Path, tailer: Tailer) -> None:
    """It is never waited for: whoever may write to the folder must not stop the sealing."""
    append(log, long_lines(1))
    tailer.run()
    tailer.restart()
    os.mkfifo(log.with_name("app.log.1.gz"))
    log.rename(log.with_name("app.log.2"))
    append(log, long_lines(2))
    assert tailer.run() == long_lines(1, 2)


def test_an_unfinished_line_is_in_the_copy_of_a_truncated_file(log: Path, tailer: Tailer) -> None:
    """It was given up, to wait in the file: it is read again from its start, in the compressed copy."""
    append(log, b"1\nhal")
    tailer.run()
    append(log, b"f\n2\n")
    log.with_name("app.log.1.gz").write_bytes(gzip.compress(log.read_bytes()))
    os.truncate(log, 0)
    append(log, b"3\n")
    assert (tailer.run(), tailer.gaps) == (b"1\nhalf\n2\n3\n", 1)


def test_a_path_that_names_no_file_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A typo: of a file, and of a glob."""
    tailer = Tailer(tmp_path / "ap.log", tmp_path / "typo" / "*.log")
    tailer.run()
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        str(tmp_path / "ap.log"),
        str(tmp_path / "typo" / "*.log"),
    ]
    tailer.close()


def test_files_of_a_burst_of_rotations_are_left_without_a_pause_for_each(log: Path, tailer: Tailer) -> None:
    """All of them have been at rest in the queue for as long: a stop soon after finds all of it sealed."""
    append(log, b"0\n")
    tailer.run()
    for number in range(1, 30):
        log.rename(log.with_name(f"app.log-2026112{number // 10}{number % 10:02d}"))
        append(log, b"%d\n" % number)
    assert tailer.run(10 * GRACE).split() == [b"%d" % number for number in range(30)]
    assert tailer.gaps == 0
