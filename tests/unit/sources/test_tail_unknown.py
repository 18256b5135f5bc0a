"""Paths of which the chain knows nothing yet, while files were moved or rotated there already."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from epochseal.sources.arrivals import Arrivals
from epochseal.sources.log_file import source_name
from epochseal.sources.tail_options import TailOptions
from tests.unit.sources.tailer import GRACE, Tailer, append, long_lines

pytestmark = pytest.mark.usefixtures("hasty")
_TIMES = itertools.count(1_000_000_000, 1_000_000)


def rotate(log: Path, ages: int) -> None:
    """As logrotate does, with nothing new yet."""
    for age in range(ages, 0, -1):
        older = log.with_name(f"{log.name}.{age}")
        if older.exists():
            older.rename(log.with_name(f"{log.name}.{age + 1}"))
    # The clock of files may be so coarse that all of them would have one time.
    os.utime(log, ns=(next(_TIMES), next(_TIMES)))
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


def test_a_log_whose_name_looks_rotated_at_a_stop(tmp_path: Path) -> None:
    """The next start would take it for a rotated file: what was made a moment ago is judged before that."""
    tailer = Tailer(tmp_path / "*.log")
    append(tmp_path / "worker.log", long_lines(1))
    tailer.run()
    append(tmp_path / "worker-1.log", long_lines(2))
    (tmp_path / "worker-2.log").write_bytes((tmp_path / "worker.log").read_bytes())
    tailer.step()
    tailer.source.finish()
    while not tailer.source.ended:
        tailer.step()
    tailer.restart()
    append(tmp_path / "worker-1.log", long_lines(3))
    assert (tailer.run(), tailer.gaps) == (long_lines(1, 2, 3), 0)
    tailer.close()


def test_renamed_in_a_row(tmp_path: Path) -> None:
    """Each file is known under the name that the other one had, and sealed once; also after it was left."""
    tailer = Tailer(tmp_path / "*.log")
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    append(first, long_lines(1))
    append(second, long_lines(2))
    tailer.run(20 * GRACE)
    for number in (3, 6):
        second.rename(tmp_path / f"third{number}.log")
        first.rename(second)
        for place, path in enumerate((first, second, tmp_path / f"third{number}.log")):
            append(path, long_lines(number + place))
        tailer.run(20 * GRACE)
        tailer.restart()
    assert (sorted(tailer.run(20 * GRACE)), tailer.gaps) == (sorted(long_lines(*range(1, 9))), 0)
    tailer.close()


def test_folders_that_are_new(tmp_path: Path) -> None:
    """What was rotated there before the first look is read; what is removed before a later one is a gap."""
    tailer = Tailer(tmp_path / "*" / "*.log")
    tailer.run()
    folder = tmp_path / "pod"
    folder.mkdir()
    old = folder / "0.log.20261101-000000"
    append(old, long_lines(0))
    os.utime(old, (0, 0))
    append(folder / "0.log", long_lines(1))
    (folder / "0.log").rename(folder / "0.log.20261129-120000")
    append(folder / "0.log", long_lines(2))
    assert (tailer.run(20 * GRACE), tailer.gaps) == (long_lines(1, 2), 0)
    append(folder / "1.log", long_lines(3))
    (folder / "1.log").rename(folder / "1.log.20261129-120000")
    append(folder / "1.log", long_lines(4))
    append(folder / "2.log", long_lines(5))
    (folder / "2.log").unlink()
    assert (tailer.run(20 * GRACE), tailer.gaps) == (long_lines(1, 2, 3, 4), 1)
    tailer.close()


@pytest.mark.parametrize("is_removed", [False, True])
def test_the_next_file_is_gone_under_another_name(tmp_path: Path, *, is_removed: bool) -> None:
    """Nothing stands at the path, and another one is new: what stood at the path in between is told."""
    tailer = Tailer(tmp_path / "*.log")
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    append(first, long_lines(1))
    tailer.run(20 * GRACE)
    if is_removed:
        first.unlink()
        append(first, long_lines(2))
        first.rename(second)
        second.unlink()
    else:
        first.rename(second)
        append(first, long_lines(2))
        first.unlink()
    append(second, long_lines(3))
    assert (tailer.run(20 * GRACE), tailer.gaps) == (long_lines(1, 3), 1)
    tailer.close()


@pytest.mark.parametrize(("others", "gaps"), [([], 0), (["app.log.2026w48"], 1)])
def test_names_that_no_rotation_gives(log: Path, tailer: Tailer, others: list[str], gaps: int) -> None:
    """The file that was sealed is found; that others of such names followed it is possible, and told."""
    append(log, long_lines(1))
    tailer.run()
    tailer.restart()
    append(log.with_name("app.log.txt"), b"")
    os.utime(log.with_name("app.log.txt"), (0, 0))
    append(log, long_lines(2))
    for name in ["app.log.2026w47", *others]:
        log.rename(log.with_name(name))
        append(log, long_lines(3))
    assert (tailer.run(20 * GRACE), tailer.gaps) == (long_lines(1, 2, 3), gaps)


def test_written_anew_with_what_it_had(log: Path) -> None:
    """An editor that puts another file in the place has all of it sealed again: not in silence."""
    tailer = Tailer(log, options=TailOptions(close_inactive=60.0))
    append(log, long_lines(1))
    tailer.run()
    anew = log.with_name("anew")
    anew.write_bytes(log.read_bytes())
    anew.rename(log)
    append(log, long_lines(2))
    assert (tailer.run(20 * GRACE), tailer.gaps) == (long_lines(1, 1, 2), 1)
    tailer.close()


@pytest.mark.parametrize("gone", [["1"], ["1", "2"], ["2"]])
def test_leftovers_that_are_missing(log: Path, tailer: Tailer, gone: list[str]) -> None:
    """Also those next to the log: numbers count down to 1."""
    append(log, long_lines(0))
    tailer.run()
    tailer.restart()
    for number in (1, 2, 3):
        rotate(log, 3)
        append(log, long_lines(number))
    for age in gone:
        log.with_name(f"app.log.{age}").unlink()
    left = [number for number in (0, 1, 2, 3) if str(3 - number) not in gone]
    assert (tailer.run(20 * GRACE), tailer.gaps) == (long_lines(*left), 1)


def test_an_empty_leftover_that_was_compressed(log: Path, tailer: Tailer) -> None:
    """A compressor that failed leaves nothing of it."""
    append(log, long_lines(0))
    tailer.run()
    tailer.restart()
    for number in (1, 2):
        rotate(log, 3)
        append(log, long_lines(number))
    log.with_name("app.log.1").unlink()
    log.with_name("app.log.1.gz").touch()
    assert (tailer.run(20 * GRACE), tailer.gaps) == (long_lines(0, 2), 1)


@pytest.mark.parametrize("is_removed", [False, True])
def test_away_for_a_moment(log: Path, tailer: Tailer, *, is_removed: bool) -> None:
    """What stood in its place meanwhile would count as older after a restart: that may be missed."""
    append(log, long_lines(1))
    tailer.run(20 * GRACE)
    log.rename(log.with_name("aside"))
    append(log, long_lines(2))
    if is_removed:
        log.unlink()
    else:
        log.rename(log.with_name("app.log.1"))
    log.with_name("aside").rename(log)
    append(log, long_lines(3))
    tailer.run(20 * GRACE)
    tailer.restart()
    append(log, long_lines(4))
    sealed = [line for line in tailer.run(20 * GRACE).splitlines() if not line.startswith(b"2 ")]
    assert (b"\n".join(sealed) + b"\n", tailer.gaps) == (long_lines(1, 3, 4), 1)


@pytest.mark.parametrize("is_link", [False, True])
@pytest.mark.parametrize("is_removed", [False, True])
def test_another_file_before_a_known_one(tmp_path: Path, *, is_removed: bool, is_link: bool) -> None:
    """A known file gets the name of one that came and went, or a second name: that one is told."""
    tailer = Tailer(tmp_path / "*.log")
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    append(first, long_lines(1))
    tailer.run(20 * GRACE)
    append(second, long_lines(2))
    if is_removed:
        second.unlink()
    else:
        second.rename(tmp_path / "second.log.1")
    if is_link:
        second.hardlink_to(first)
    else:
        first.rename(second)
    append(second, long_lines(3))
    assert (tailer.run(20 * GRACE), tailer.gaps) == (long_lines(1, 3), 1)
    tailer.close()


def test_known_while_it_is_moved_on() -> None:
    """News of a rename come in two parts; between them the file may be opened."""
    arrivals = Arrivals(lambda path: path.endswith(".log"))
    arrivals.appeared("/a.log")
    arrivals.moved_from("/a.log", 1)
    assert arrivals.take("/a.log") == 0
    arrivals.moved_away()
    arrivals.moved_away()
    arrivals.moved_to("/a.log.1", 1)
    arrivals.removed("/a.log.1")
    assert not arrivals.have("/a.log")
    arrivals.appeared("/a.log")
    arrivals.moved_from("/a.log", 2)
    arrivals.appeared("/a.log")
    assert arrivals.take_others("/a.log")
    assert not arrivals.have("/a.log")


@pytest.mark.parametrize("hasty", [60.0], indirect=True)
def test_removed_while_it_waits(log: Path, tailer: Tailer) -> None:
    """A later start would go on with what was rotated, and miss nothing: it is told while it is known."""
    append(log, long_lines(1))
    tailer.run()
    log.rename(log.with_name("app.log.1"))
    append(log, long_lines(2))
    tailer.step()
    log.unlink()
    append(log, long_lines(3))
    tailer.step()
    tailer.restart()
    assert (tailer.run(20 * GRACE), tailer.gaps) == (long_lines(1, 3), 1)


@pytest.mark.parametrize("steps", [0, 1])
def test_away_for_a_moment_and_rotated(log: Path, tailer: Tailer, *, steps: int) -> None:
    """By its name the file that stood in its place is the older one, and a later start would not read it."""
    append(log, long_lines(1))
    tailer.run(20 * GRACE)
    log.rename(log.with_name("aside"))
    append(log, long_lines(2))
    for _ in range(steps):
        tailer.step()
    log.rename(log.with_name("app.log-20261127"))
    log.with_name("aside").rename(log)
    log.rename(log.with_name("app.log-20261128"))
    append(log, long_lines(3))
    tailer.step()
    tailer.restart()
    sealed = [line for line in tailer.run(20 * GRACE).splitlines() if not line.startswith(b"2 ")]
    assert (b"\n".join(sealed) + b"\n", tailer.gaps) == (long_lines(1, 3), 1)
