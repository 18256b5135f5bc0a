from __future__ import annotations

import bz2
import gzip
import shutil
from pathlib import Path

import pytest

from epochseal.format.seal_lines import SourceMark
from epochseal.sources.file_identity import Identity
from epochseal.sources.log_file import source_name
from tests.unit.sources.tailer import GRACE, Tailer, append, long_lines, put_away

pytestmark = pytest.mark.usefixtures("hasty")


def test_a_restart_goes_on_at_the_offset(log: Path, tailer: Tailer) -> None:
    """The same file, longer: only what is new; the unfinished line too."""
    append(log, long_lines(1, 2) + b"half")
    tailer.run()
    tailer.restart()
    append(log, b" line\n" + long_lines(3))
    assert tailer.run() == long_lines(1, 2) + b"half line\n" + long_lines(3)
    assert tailer.gaps == 0


@pytest.mark.parametrize(
    "names",
    [
        ("3", "2", "1"),
        ("-20261121", "-20261122", "-20261123"),
        ("3.gz", "2.gz", "1"),
        ("3.bz2", "2.bz2", "1"),
    ],
)
def test_rotations_while_the_agent_was_down(log: Path, tailer: Tailer, names: tuple[str, ...]) -> None:
    """The rest of the old file, those in between, then the new one."""
    append(log, long_lines(1, 2))
    tailer.run()
    tailer.restart()
    for number, name in enumerate(names, start=3):
        append(log, long_lines(number))
        rotated = log.with_name(f"app.log{name}" if name.startswith("-") else f"app.log.{name}")
        if name.endswith((".gz", ".bz2")):
            pack = gzip.compress if name.endswith(".gz") else bz2.compress
            rotated.write_bytes(pack(log.read_bytes()))
            put_away(log)
        else:
            log.rename(rotated)
    append(log, long_lines(6))
    assert tailer.run(20 * GRACE) == long_lines(1, 2, 3, 4, 5, 6)
    assert tailer.gaps == 0


def test_a_truncation_while_the_agent_was_down(log: Path, tailer: Tailer) -> None:
    """The copy is found by its content; that lines may be lost is flagged."""
    append(log, long_lines(1, 2))
    tailer.run()
    tailer.restart()
    append(log, long_lines(3))
    shutil.copyfile(log, log.with_name("app.log.1"))
    log.write_bytes(long_lines(4, 5, 6, 7))
    assert tailer.run() == long_lines(1, 2, 3, 4, 5, 6, 7)
    assert tailer.gaps == 1


def test_a_file_that_is_gone_is_a_gap(log: Path, tailer: Tailer) -> None:
    """After a restart another file is there, and nothing is left of the one that was read."""
    append(log, long_lines(1))
    tailer.run()
    tailer.restart()
    other = log.with_name("other")
    append(other, long_lines(5, 6))
    other.replace(log)
    assert tailer.run() == long_lines(1, 5, 6)
    assert tailer.gaps == 1


def test_an_inode_that_was_given_to_another_file(log: Path, tailer: Tailer) -> None:
    """The number is the same, the content is not: it is a new file."""
    append(log, long_lines(1))
    tailer.run()
    position = next(iter(tailer.positions.values()))
    tailer.close()
    log.write_bytes(long_lines(8, 9))
    assert Identity.parse(position.file).inode == log.stat().st_ino
    tailer.restart()
    assert tailer.run() == long_lines(1, 8, 9)


def test_a_device_number_may_change(log: Path, tailer: Tailer) -> None:
    """After a reboot the same disk may have another number: inode and content tell that it is the file."""
    append(log, long_lines(1))
    tailer.run()
    ((name, position),) = tailer.positions.items()
    found = Identity.parse(position.file)
    moved = Identity(found.device + 1, found.inode, found.size, found.digest)
    tailer.positions[name] = SourceMark(name, position.offset, str(moved))
    tailer.restart()
    append(log, long_lines(2))
    assert tailer.run() == long_lines(1, 2)
    assert tailer.gaps == 0


def test_a_file_that_was_empty_is_known_after_a_restart(log: Path, tailer: Tailer) -> None:
    """The chain is told of a file before its first line, so what it got before a rotation is found."""
    log.touch()
    tailer.run()
    tailer.restart()
    append(log, b"1\n")
    log.rename(log.with_name("app.log.1"))
    append(log, b"2\n")
    assert tailer.run() == b"1\n2\n"
    assert tailer.gaps == 0


def test_a_path_that_is_absent_at_the_start_keeps_its_position(log: Path, tmp_path: Path) -> None:
    """A file that vanished and comes back is read on, not again; its position is stated in the meantime."""
    tailer = Tailer(tmp_path / "*.log")
    append(log, b"1\n")
    tailer.run()
    away = tmp_path / "elsewhere"
    log.rename(away)
    tailer.restart()
    tailer.run()
    assert [src.name for src in tailer.source.positions()] == [source_name(str(log))]
    append(away, b"2\n")
    away.rename(log)
    assert tailer.run() == b"1\n2\n"
    assert tailer.gaps == 0
    tailer.close()
