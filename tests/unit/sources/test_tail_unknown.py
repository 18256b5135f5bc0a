"""Paths of which the chain knows nothing yet, while files were moved or rotated there already."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from epochseal.sources.log_file import source_name
from tests.unit.sources.tailer import GRACE, Tailer, append, long_lines

pytestmark = pytest.mark.usefixtures("hasty")


def rotate(log: Path, ages: int) -> None:
    """As logrotate does, with nothing new yet."""
    for age in range(ages, 0, -1):
        older = log.with_name(f"{log.name}.{age}")
        if older.exists():
            older.rename(log.with_name(f"{log.name}.{age + 1}"))
    log.rename(log.with_name(f"{log.name}.1"))


@pytest.mark.parametrize("is_back", [True, False])
def test_moved_and_rotated_while_the_agent_was_down(tmp_path: Path, *, is_back: bool) -> None:
    """What was sealed under the old name is known, so that all that came after it is read."""
    tailer = Tailer(tmp_path / "*.log")
    old, new = tmp_path / "old.log", tmp_path / "new.log"
    append(old, long_lines(1))
    tailer.run()
    tailer.restart()
    append(old, long_lines(2))
    old.rename(new)
    rotate(new, 3)
    append(new, long_lines(3))
    rotate(new, 3)
    if is_back:
        append(new, long_lines(4))
    tailer.run(20 * GRACE)
    tailer.restart()
    append(new, long_lines(5))
    lines = long_lines(1, 2, 3, 4, 5) if is_back else long_lines(1, 2, 3, 5)
    assert (tailer.run(20 * GRACE), tailer.gaps) == (lines, 0)
    tailer.close()


def test_moved_and_rotated_between_two_looks(tmp_path: Path) -> None:
    """Also the path that had the file before may be at rest."""
    tailer = Tailer(tmp_path / "*.log")
    old, new = tmp_path / "old.log", tmp_path / "new.log"
    append(old, long_lines(1))
    tailer.run(20 * GRACE)
    old.rename(new)
    append(new, long_lines(2))
    rotate(new, 3)
    append(new, long_lines(3))
    assert (sorted(tailer.run(20 * GRACE)), tailer.gaps) == (sorted(long_lines(1, 2, 3)), 0)
    tailer.close()


def test_moved_onto_another_log(tmp_path: Path) -> None:
    """The file is sealed further where it was known; what it replaced, down to the last look, is not lost."""
    tailer = Tailer(tmp_path / "*.log")
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    append(first, long_lines(1))
    append(second, long_lines(2))
    tailer.run(20 * GRACE)
    first.rename(second)
    append(second, long_lines(3))
    tailer.run(20 * GRACE)
    append(second, long_lines(4))
    assert sorted(tailer.run(20 * GRACE)) == sorted(long_lines(1, 2, 3, 4))
    tailer.close()


def test_moved_onto_another_log_while_the_agent_was_down(tmp_path: Path) -> None:
    """What the other one had then is lost, and that is told."""
    tailer = Tailer(tmp_path / "*.log")
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    append(first, long_lines(1))
    append(second, long_lines(2))
    tailer.run()
    tailer.restart()
    append(second, long_lines(3))
    first.rename(second)
    append(second, long_lines(4))
    assert sorted(tailer.run(20 * GRACE)) == sorted(long_lines(1, 2, 4))
    assert [src.name for src in tailer.pieces if src.gap] == [source_name(str(second))]
    tailer.close()


def test_rotated_before_the_first_look_after_a_start(tmp_path: Path) -> None:
    """A log that is new, and was rotated already while the agent was down, may have lost lines."""
    tailer = Tailer(tmp_path / "*.log")
    old, new = tmp_path / "old.log", tmp_path / "new.log"
    append(old.with_name("old.log.1"), b"1\n")
    append(old, b"2\n")
    assert (tailer.run(), tailer.gaps) == (b"2\n", 0)
    tailer.restart()
    append(new, b"3\n")
    rotate(new, 1)
    append(new, b"4\n")
    assert (tailer.run(), tailer.gaps) == (b"2\n4\n", 1)
    tailer.restart()
    append(new, b"5\n")
    assert (tailer.run(), tailer.gaps) == (b"2\n4\n5\n", 1)
    assert [src.name for src in tailer.pieces if src.gap] == [source_name(str(new))]
    tailer.close()


def test_truncated_again_after_a_crash_in_the_middle_of_a_copy(log: Path, tailer: Tailer) -> None:
    """The chain names the file that was truncated, not the copy: that it was truncated since is seen."""
    append(log, long_lines(1))
    tailer.run()
    append(log, long_lines(2, 3))
    log.with_name("app.log.1").write_bytes(log.read_bytes())
    os.truncate(log, 0)
    append(log, long_lines(4))
    while long_lines(3) not in tailer.sealed:
        tailer.step()
    tailer.restart()
    os.truncate(log, 0)
    append(log, long_lines(5))
    assert (tailer.run(20 * GRACE), tailer.gaps) == (long_lines(1, 2, 3, 5), 2)
