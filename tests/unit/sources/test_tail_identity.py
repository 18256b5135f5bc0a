from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pytest

from epochseal.sources.log_file import source_name
from tests.unit.sources.tailer import GRACE, Tailer, append, compress, long_lines

pytestmark = pytest.mark.usefixtures("hasty")


def test_a_new_file_that_is_rotated_before_the_first_look(tmp_path: Path) -> None:
    """It is found under its new name, before its successor; one that is removed at once is a gap."""
    tailer = Tailer(tmp_path / "*.log")
    tailer.run()
    log = tmp_path / "new.log"
    append(log, b"1\n")
    log.rename(tmp_path / "new.log.1")
    append(log, b"2\n")
    (tmp_path / "new.log.1").rename(tmp_path / "new.log.2")
    log.rename(tmp_path / "new.log.1")
    append(log, b"3\n")
    assert (tailer.run(), tailer.gaps) == (b"1\n2\n3\n", 0)
    append(tmp_path / "short.log", b"4\n")
    (tmp_path / "short.log").unlink()
    assert (tailer.run(), tailer.gaps) == (b"1\n2\n3\n", 1)
    assert [src.name for src in tailer.pieces if src.gap] == [source_name(str(tmp_path / "short.log"))]
    tailer.close()


def test_rotated_out_of_the_folder_before_the_next_look(tmp_path: Path, log: Path, tailer: Tailer) -> None:
    """Three files stood at the path since: the one that is out of reach is a gap."""
    append(log, b"1\n")
    tailer.run()
    away = tmp_path / "old"
    away.mkdir()
    for number in (2, 3):
        log.rename(log.with_name("app.log.1"))
        append(log, b"%d\n" % number)
    log.rename(away / "app.log.3")
    append(log, b"4\n")
    assert (tailer.run(), tailer.gaps) == (b"1\n2\n4\n", 1)


def test_renamed_within_the_globs_while_the_agent_was_down(tmp_path: Path) -> None:
    """Both names are in the glob: it goes on at the same byte, under the new one."""
    tailer = Tailer(tmp_path / "*.log")
    append(tmp_path / "x.log", long_lines(1, 2))
    tailer.run()
    tailer.restart()
    (tmp_path / "x.log").rename(tmp_path / "y.log")
    append(tmp_path / "y.log", long_lines(3))
    tailer.run()
    tailer.restart()
    append(tmp_path / "x.log", long_lines(4))
    append(tmp_path / "y.log", long_lines(5))
    tailer.run()
    assert (sorted(tailer.sealed.splitlines()), tailer.gaps) == (long_lines(1, 2, 3, 4, 5).splitlines(), 0)
    tailer.close()


def test_two_names_of_one_file(tmp_path: Path) -> None:
    """A hard link in the globs is no second file; when the first name is removed, the file goes on."""
    tailer = Tailer(tmp_path / "*.log")
    append(tmp_path / "a.log", b"1\n")
    os.link(tmp_path / "a.log", tmp_path / "b.log")
    tailer.run()
    append(tmp_path / "b.log", b"2\n")
    tailer.run()
    (tmp_path / "a.log").unlink()
    append(tmp_path / "b.log", b"3\n")
    assert (tailer.run(), tailer.gaps) == (b"1\n2\n3\n", 0)
    tailer.restart()
    append(tmp_path / "b.log", b"4\n")
    assert (tailer.run(), tailer.gaps) == (b"1\n2\n3\n4\n", 0)
    tailer.close()


def test_a_link_that_was_moved_to_an_unlike_name_while_the_agent_was_down(tmp_path: Path) -> None:
    """Kubernetes after a restart of the container: `0.log`, then `1.log`."""
    (tmp_path / "pods").mkdir()
    (tmp_path / "containers").mkdir()
    first, second, link = tmp_path / "pods/0.log", tmp_path / "pods/1.log", tmp_path / "containers/app.log"
    append(first, long_lines(1))
    link.symlink_to(first)
    tailer = Tailer(tmp_path / "containers" / "*.log")
    tailer.run()
    tailer.restart()
    append(first, long_lines(2))
    append(second, long_lines(3))
    link.unlink()
    link.symlink_to(second)
    assert (tailer.run(), tailer.gaps) == (long_lines(1, 2, 3), 0)
    tailer.close()


def test_a_link_that_leads_nowhere_yet(tmp_path: Path) -> None:
    """The folder of the link does not change when the file appears that it leads to."""
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "app.log").symlink_to(tmp_path / "0.log")
    os.utime(tmp_path / "c", (1, 1))
    tailer = Tailer(tmp_path / "c" / "*.log")
    tailer.run()
    append(tmp_path / "0.log", b"1\n")
    assert tailer.run() == b"1\n"
    tailer.close()


def test_logs_of_their_own_whose_names_look_rotated(tmp_path: Path) -> None:
    """`worker-1.log` beside `worker.log`, whichever came first; but not a copy that a rotation makes."""
    tailer = Tailer(tmp_path / "*.log")
    append(tmp_path / "other-7.log", b"o-7\n")
    append(tmp_path / "worker.log", b"w\n")
    tailer.run()
    append(tmp_path / "worker-1.log", b"w-1\n")
    append(tmp_path / "worker.2.log", b"w-2\n")
    append(tmp_path / "other.log", b"o\n")
    shutil.copy(tmp_path / "worker.log", tmp_path / "worker-20261129.log")
    tailer.run(4.0)
    tailer.restart()
    for name in ("worker-1.log", "worker.log", "other-7.log"):
        append(tmp_path / name, b"again " + name.encode() + b"\n")
    tailer.run()
    assert sorted(tailer.sealed.splitlines()) == sorted(
        [b"w", b"w-1", b"w-2", b"o", b"o-7", b"again worker-1.log", b"again worker.log", b"again other-7.log"]
    )
    assert tailer.gaps == 0
    tailer.close()


def test_a_file_that_is_truncated_while_it_waits(log: Path, tailer: Tailer) -> None:
    """Nothing of it was read yet: its length and its ends at the last look tell."""
    append(log, b"1\n")
    tailer.run()
    log.rename(log.with_name("app.log.1"))
    append(log, b"2\n")
    tailer.step()
    log.write_bytes(b"3\n4\n")
    assert (tailer.run(), tailer.gaps) == (b"1\n3\n4\n", 1)


def test_a_compressed_copy_of_what_was_read_is_not_read_again(log: Path, tailer: Tailer) -> None:
    """Files come and go faster than they are looked at; a compressed one has the time of its making."""
    append(log, long_lines(1))
    tailer.run()
    log.rename(log.with_name("app.log.1"))
    append(log, long_lines(2))
    tailer.run()
    tailer.restart()
    tailer.run()
    log.with_name("app.log.2.gz").write_bytes(gzip.compress(long_lines(1)))
    log.with_name("app.log.1.gz").write_bytes(gzip.compress(long_lines(2)))
    log.with_name("app.log.1").unlink()
    log.unlink()
    append(log, long_lines(3))
    tailer.run()
    assert tailer.sealed == long_lines(1, 2, 3)


def test_a_copy_at_whose_path_nothing_stands(log: Path, tailer: Tailer) -> None:
    """The file was compressed while the agent was down, and the service has not written again yet."""
    append(log, long_lines(1))
    tailer.run()
    tailer.restart()
    append(log, long_lines(2))
    log.with_name("app.log.1.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()
    assert tailer.run() == long_lines(1, 2)
    append(log, long_lines(3))
    assert (tailer.run(), tailer.gaps) == (long_lines(1, 2, 3), 0)


def test_truncated_while_it_waits_with_a_copy(log: Path, tailer: Tailer) -> None:
    """As the length and the ends of the last look tell, the copy is that of a file that was not read yet."""
    append(log, b"1\n")
    tailer.run()
    log.rename(log.with_name("app.log.1"))
    append(log, b"2\n")
    tailer.step()
    log.with_name("app.log.1").rename(log.with_name("app.log.2"))
    shutil.copy(log, log.with_name("app.log.1"))
    log.write_bytes(b"3\n4\n")
    assert (tailer.run(), tailer.gaps) == (b"1\n2\n3\n4\n", 1)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_truncated_twice_between_two_looks(log: Path, tailer: Tailer, ending: str) -> None:
    """The copy that has what was read is followed by those that were made after it."""
    append(log, b"1\n")
    tailer.run()
    for number in (2, 3):
        append(log, b"%d\n" % number)
        if (older := log.with_name(f"app.log.1{ending}")).exists():
            older.rename(log.with_name(f"app.log.2{ending}"))
        older.write_bytes(compress(log.read_bytes(), ending))
        os.truncate(log, 0)
    append(log, b"4\n")
    assert (tailer.run(), tailer.gaps) == (b"1\n2\n3\n4\n", 1)


def test_truncated_again_while_a_copy_is_searched_for(log: Path, tailer: Tailer) -> None:
    """It was not read since the first time: how it was then is known all the same."""
    log.with_name("app.log.2.gz").write_bytes(compress(b"long ago\n", ".gz"))
    os.utime(log.with_name("app.log.2.gz"), (1, 1))
    append(log, b"1\n")
    tailer.run()
    append(log, b"2\n")
    shutil.copy(log, log.with_name("app.log.1"))
    log.write_bytes(b"3\n")
    tailer.step()
    log.write_bytes(b"4\n5\n")
    assert (tailer.run(), tailer.gaps) == (b"1\n2\n4\n5\n", 2)


@pytest.mark.parametrize("hasty", [60.0], indirect=True)
def test_a_compressed_copy_of_what_waits_is_not_read_twice(tmp_path: Path) -> None:
    """Rotated and compressed while the file before it is still read: it waits already, and is open."""
    (tmp_path / "pods").mkdir()
    target, link = tmp_path / "pods" / "0.log", tmp_path / "app.log"
    append(target, long_lines(1))
    link.symlink_to(target)
    tailer = Tailer(link)
    tailer.run()
    for number in (2, 3, 4):
        rotated = target.with_name(f"0.log.2026112{number}-082000")
        target.rename(rotated)
        append(target, long_lines(number))
        tailer.step()
        if number > 2:
            packed = compress(rotated.read_bytes(), ".gz")
            rotated.with_name(rotated.name + ".gz").write_bytes(packed)
            rotated.unlink()
    assert tailer.run(20 * GRACE) == long_lines(1, 2, 3, 4)
    tailer.close()
