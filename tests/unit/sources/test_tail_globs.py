from __future__ import annotations

import gzip
import logging
import os
import random
from pathlib import Path

import pytest

from epochseal.sources.log_file import source_name
from epochseal.sources.rotated_files import list_rotated
from epochseal.sources.rotated_names import RotatedNames
from tests.unit.sources.tailer import BIG, CLOCK, GRACE, Tailer, append, long_lines

pytestmark = pytest.mark.usefixtures("hasty")


def test_new_files_of_a_glob(tmp_path: Path) -> None:
    """They are found while running; rotated and compressed forms of others are no files of their own."""
    tailer = Tailer(tmp_path / "*")
    append(tmp_path / "a.log", b"a1\n")
    tailer.run()
    append(tmp_path / "b.log", b"b1\n")
    (tmp_path / "c.log.gz").write_bytes(gzip.compress(b"c\n"))
    tailer.run()
    (tmp_path / "a.log").rename(tmp_path / "a.log.1")
    append(tmp_path / "a.log", b"a2\n")
    tailer.run()
    tailer.restart()
    tailer.run()
    assert sorted(tailer.sealed.split()) == [b"a1", b"a2", b"b1"]
    assert {src.name for src in tailer.pieces} == {
        source_name(str(tmp_path / name)) for name in ("a.log", "b.log")
    }
    tailer.close()


def test_a_file_renamed_within_the_globs_is_sealed_once(tmp_path: Path) -> None:
    """Under its new name it goes on where it was left."""
    tailer = Tailer(tmp_path / "*.log")
    append(tmp_path / "a.log", b"1\n")
    tailer.run()
    (tmp_path / "a.log").rename(tmp_path / "kept.log")
    append(tmp_path / "a.log", b"2\n")
    tailer.run()
    append(tmp_path / "kept.log", b"3\n")
    tailer.run()
    tailer.restart()
    tailer.run()
    assert (tailer.sealed, tailer.gaps) == (b"1\n2\n3\n", 0)
    tailer.close()


def test_a_busy_file_keeps_no_other_waiting(tmp_path: Path) -> None:
    """Many files, more than may hold memory at a time: all are sealed whole, each in order."""
    tailer = Tailer(tmp_path / "*.log", block=512)
    for number in range(40):
        append(tmp_path / f"{number:02d}.log", b"".join(b"%d-%d\n" % (number, i) for i in range(200)))
    deadline = CLOCK.now + 30
    while tailer.sealed.count(b"\n") < 8000 and CLOCK.now < deadline:
        tailer.step()
    lines = tailer.run().split()
    assert len(lines) == 8000
    for number in range(40):
        own = [line for line in lines if line.startswith(b"%d-" % number)]
        assert own == [b"%d-%d" % (number, i) for i in range(200)]
    assert tailer.source.buffered == 0
    tailer.close()


def test_names_of_a_commit_fit_in_the_page(tmp_path: Path) -> None:
    """Long paths of other alphabets: a commit takes only as many as 8 KiB of names."""
    folder = tmp_path / ("ü" * 120) / ("日" * 80)
    folder.mkdir(parents=True)
    for number in range(12):
        append(folder / f"{number}.log", b"x\n")
    tailer = Tailer(folder / "*.log")
    tailer.source.tick()
    names = []
    while (piece := tailer.source.cut_piece(BIG, BIG, BIG)) is not None:
        names.append(piece.src.name)
    assert 0 < sum(map(len, names)) <= 8192
    tailer.close()


def test_a_link_that_is_moved_on(tmp_path: Path) -> None:
    """A link to the file of the day: the old one to its end, then the new one, over a restart too."""
    link, first, second = tmp_path / "current", tmp_path / "app-20261122.log", tmp_path / "app-20261123.log"
    append(first, long_lines(1))
    link.symlink_to(first)
    tailer = Tailer(link)
    tailer.run()
    tailer.restart()
    append(first, long_lines(2))
    append(second, long_lines(3))
    link.unlink()
    link.symlink_to(second)
    assert tailer.run() == long_lines(1, 2, 3)
    assert tailer.gaps == 0
    tailer.close()


def test_what_cannot_be_read_is_told_once_and_tried_again(
    log: Path, tailer: Tailer, caplog: pytest.LogCaptureFixture
) -> None:
    """A directory stands at the path, then the file."""
    log.mkdir()
    tailer.run()
    log.rmdir()
    append(log, b"1\n")
    assert tailer.run() == b"1\n"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "it is not a regular file; trying again" in caplog.text


def test_a_damaged_leftover_is_a_gap(log: Path, tailer: Tailer) -> None:
    """A compressed file that breaks off: what can be read of it is sealed, and the rest flagged."""
    append(log, long_lines(1))
    tailer.run()
    tailer.restart()
    append(log, os.urandom(50_000).replace(b"\n", b"") + b"\n" + long_lines(2))
    whole = gzip.compress(log.read_bytes())
    log.with_name("app.log.1.gz").write_bytes(whole[: len(whole) // 2])
    log.unlink()
    append(log, long_lines(3))
    tailer.run()
    assert tailer.sealed.startswith(long_lines(1))
    assert tailer.sealed.endswith(long_lines(3))
    assert tailer.gaps >= 1


def test_finishing_takes_what_is_there(log: Path, tailer: Tailer) -> None:
    """At a stop all whole lines of that moment are sealed; more that comes is left, and so is half a line."""
    append(log, b"1\n2\nhalf")
    tailer.source.tick()
    tailer.source.finish()
    append(log, b" a line\n3\n")
    deadline = CLOCK.now + 5
    while not tailer.source.ended:
        assert CLOCK.now < deadline
        tailer.step()
    assert (tailer.sealed, tailer.source.buffered) == (b"1\n2\n", 0)
    tailer.restart()
    assert tailer.run() == b"1\n2\nhalf a line\n3\n"


@pytest.mark.parametrize("seed", range(12))
def test_nothing_twice_and_nothing_missed(tmp_path: Path, seed: int) -> None:
    """Writes, half lines, rotations, compression and crashes in random order: sealed is what was written."""
    rng = random.Random(seed)
    log, written, count = tmp_path / "app.log", b"", 0
    tailer = Tailer(tmp_path / "*.log", block=rng.choice((64, 4096)))
    append(log, b"")
    tailer.run(GRACE)
    for _ in range(60):
        match rng.randrange(8):
            case 0 | 1 | 2:
                data = b"".join(
                    b"%d %b\n" % (count + i, b"x" * rng.randrange(90)) for i in range(rng.randrange(1, 9))
                )
                count += 9
                cut = rng.randrange(len(data))
                append(log, data[:cut])
                tailer.step() if rng.random() < 0.3 else None
                append(log, data[cut:])
                written += data
            case 3 if log.exists() and log.stat().st_size:
                for old in sorted(
                    list_rotated(str(log), RotatedNames()), key=lambda item: item.path, reverse=True
                ):
                    name = Path(old.path).name.split(".")
                    target = tmp_path / ".".join([*name[:2], f"{int(name[2]) + 1:02d}", *name[3:]])
                    Path(old.path).rename(target)
                log.rename(tmp_path / "app.log.01")
                append(log, b"")
            case 4 if (tmp_path / "app.log.02").exists() and rng.random() < 0.5:
                plain = tmp_path / "app.log.02"
                tailer.run(8 * GRACE)
                plain.with_name("app.log.02.gz").write_bytes(gzip.compress(plain.read_bytes()))
                plain.unlink()
            case 5:
                tailer.restart()
            case _:
                tailer.step()
    tailer.run(0.3)
    deadline = CLOCK.now + 10
    while len(tailer.sealed) < len(written) and CLOCK.now < deadline:
        tailer.run(GRACE)
    assert tailer.sealed == written
    assert tailer.gaps == 0
    tailer.close()
