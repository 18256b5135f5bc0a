from __future__ import annotations

import gzip
import logging
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.errors import ConfigError, FormatError
from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.limits import Piece
from epochseal.sources import follower as follow
from epochseal.sources import left_files, log_file, path_table, tail
from epochseal.sources.file_identity import Identity
from epochseal.sources.log_file import percent_encode, source_name
from epochseal.sources.rotated_files import list_rotated
from epochseal.sources.tail import TailSource

BIG = 1 << 40
GRACE = 0.03


class Clock:
    """The time of the sources here: it goes on with each round of a loop, however busy the machine is."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now


CLOCK = Clock()


@pytest.fixture(autouse=True, params=[60.0, 0.0], ids=["awake", "at rest"])
def _hasty(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotated files are left soon, and looked at without a pause; quiet ones are closed late, or at once."""
    monkeypatch.setattr(path_table, "REST_AFTER", request.param)
    for module in (follow, left_files, log_file, path_table, tail):
        monkeypatch.setattr(module, "time", CLOCK)
    monkeypatch.setattr(follow, "GRACE", GRACE)
    monkeypatch.setattr(path_table, "SHORTEST", 0.0)
    monkeypatch.setattr(tail, "SHORTEST", 0.0)
    monkeypatch.setattr(path_table, "LONGEST", 0.001)
    monkeypatch.setattr(path_table, "SCAN_EVERY", 0.0)


class Tailer:
    """A source that is driven as the loop does; `restart` is a crash, after which only the chain is known."""

    def __init__(self, *paths: Path | str, block: int = 1 << 16) -> None:
        self.paths = [str(path) for path in paths]
        self.block = block
        self.sealed = b""
        self.pieces: list[SourceMark] = []
        self.positions: dict[str, SourceMark] = {}
        self.source = self._open()

    def _open(self) -> TailSource:
        return TailSource(self.paths, self.positions, block_bytes=self.block, max_entry_bytes=BIG)

    def restart(self) -> None:
        """Forget everything but what was sealed."""
        self.source.close()
        self.source = self._open()

    def step(self) -> None:
        """One round of the loop, which takes a millisecond."""
        CLOCK.now += 0.001
        self.source.tick()
        while self.source.has_entry:
            taken: list[Piece] = []
            while len(taken) < 16 and (piece := self.source.cut_piece(BIG, BIG, BIG)) is not None:
                taken.append(piece)
            assert taken
            data = bytes(self.source.piece_bytes())
            assert len(data) == sum(piece.size for piece in taken)
            assert data.count(b"\n") == sum(piece.entries for piece in taken)
            self.source.done(0)
            self.sealed += data
            self.pieces += [piece.src for piece in taken]
            self.positions |= {src.name: SourceMark(src.name, src.offset, src.file) for src in self.pieces}

    def run(self, seconds: float = 5 * GRACE) -> bytes:
        """Go on for a while; all that is sealed."""
        deadline = CLOCK.now + seconds
        while CLOCK.now < deadline:
            self.step()
        return self.sealed

    @property
    def gaps(self) -> int:
        """How often a gap was flagged."""
        return sum(src.gap for src in self.pieces)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where a service writes."""
    return tmp_path / "app.log"


@pytest.fixture
def tailer(log: Path) -> Iterator[Tailer]:
    """Tails `log`."""
    made = Tailer(log)
    yield made
    made.source.close()


def append(path: Path, data: bytes) -> None:
    """Write as a service does."""
    with path.open("ab") as file:
        file.write(data)


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


@pytest.mark.parametrize("_hasty", [60.0], indirect=True)
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


@pytest.mark.parametrize("_hasty", [0.0], indirect=True)
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


# --- restarts -----------------------------------------------------------------------------------------------


def _long(*numbers: int) -> bytes:
    return b"".join(b"%d %b\n" % (number, b"text " * 30) for number in numbers)


def test_a_restart_goes_on_at_the_offset(log: Path, tailer: Tailer) -> None:
    """The same file, longer: only what is new; the unfinished line too."""
    append(log, _long(1, 2) + b"half")
    tailer.run()
    tailer.restart()
    append(log, b" line\n" + _long(3))
    assert tailer.run() == _long(1, 2) + b"half line\n" + _long(3)
    assert tailer.gaps == 0


@pytest.mark.parametrize(
    "names", [("3", "2", "1"), ("-20261121", "-20261122", "-20261123"), ("3.gz", "2.gz", "1")]
)
def test_rotations_while_the_agent_was_down(log: Path, tailer: Tailer, names: tuple[str, ...]) -> None:
    """The rest of the old file, those in between, then the new one."""
    append(log, _long(1, 2))
    tailer.run()
    tailer.restart()
    for number, name in enumerate(names, start=3):
        append(log, _long(number))
        rotated = log.with_name(f"app.log{name}" if name.startswith("-") else f"app.log.{name}")
        if name.endswith(".gz"):
            rotated.write_bytes(gzip.compress(log.read_bytes()))
            log.replace(log.with_name("away"))
        else:
            log.rename(rotated)
    append(log, _long(6))
    assert tailer.run(20 * GRACE) == _long(1, 2, 3, 4, 5, 6)
    assert tailer.gaps == 0


def test_a_truncation_while_the_agent_was_down(log: Path, tailer: Tailer) -> None:
    """The copy is found by its content; that lines may be lost is flagged."""
    append(log, _long(1, 2))
    tailer.run()
    tailer.restart()
    append(log, _long(3))
    shutil.copyfile(log, log.with_name("app.log.1"))
    log.write_bytes(_long(4, 5, 6, 7))
    assert tailer.run() == _long(1, 2, 3, 4, 5, 6, 7)
    assert tailer.gaps == 1


def test_a_file_that_is_gone_is_a_gap(log: Path, tailer: Tailer) -> None:
    """After a restart another file is there, and nothing is left of the one that was read."""
    append(log, _long(1))
    tailer.run()
    tailer.restart()
    other = log.with_name("other")
    append(other, _long(5, 6))
    other.replace(log)
    assert tailer.run() == _long(1, 5, 6)
    assert tailer.gaps == 1


def test_an_inode_that_was_given_to_another_file(log: Path, tailer: Tailer) -> None:
    """The number is the same, the content is not: it is a new file."""
    append(log, _long(1))
    tailer.run()
    position = next(iter(tailer.positions.values()))
    tailer.source.close()
    log.write_bytes(_long(8, 9))
    assert Identity.parse(position.file).inode == log.stat().st_ino
    tailer.restart()
    assert tailer.run() == _long(1, 8, 9)


def test_a_device_number_may_change(log: Path, tailer: Tailer) -> None:
    """After a reboot the same disk may have another number: inode and content tell that it is the file."""
    append(log, _long(1))
    tailer.run()
    ((name, position),) = tailer.positions.items()
    found = Identity.parse(position.file)
    moved = Identity(found.device + 1, found.inode, found.size, found.digest)
    tailer.positions[name] = SourceMark(name, position.offset, str(moved))
    tailer.restart()
    append(log, _long(2))
    assert tailer.run() == _long(1, 2)
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
    tailer.source.close()


# --- many files ---------------------------------------------------------------------------------------------


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
    tailer.source.close()


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
    tailer.source.close()


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
    tailer.source.close()


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
    tailer.source.close()


def test_a_link_that_is_moved_on(tmp_path: Path) -> None:
    """A link to the file of the day: the old one to its end, then the new one, over a restart too."""
    link, first, second = tmp_path / "current", tmp_path / "app-20261122.log", tmp_path / "app-20261123.log"
    append(first, _long(1))
    link.symlink_to(first)
    tailer = Tailer(link)
    tailer.run()
    tailer.restart()
    append(first, _long(2))
    append(second, _long(3))
    link.unlink()
    link.symlink_to(second)
    assert tailer.run() == _long(1, 2, 3)
    assert tailer.gaps == 0
    tailer.source.close()


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
    append(log, _long(1))
    tailer.run()
    tailer.restart()
    append(log, os.urandom(50_000).replace(b"\n", b"") + b"\n" + _long(2))
    whole = gzip.compress(log.read_bytes())
    log.with_name("app.log.1.gz").write_bytes(whole[: len(whole) // 2])
    log.unlink()
    append(log, _long(3))
    tailer.run()
    assert tailer.sealed.startswith(_long(1))
    assert tailer.sealed.endswith(_long(3))
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
                for old in sorted(list_rotated(str(log)), key=lambda item: item.path, reverse=True):
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
    tailer.source.close()


# --- names --------------------------------------------------------------------------------------------------


def test_names_are_percent_encoded() -> None:
    """Every byte but a few is written as % and two digits, bytes that are no UTF-8 too."""
    assert percent_encode(b"/var/log/a b%\xff~-._Z9") == "/var/log/a%20b%25%FF~-._Z9"
    assert source_name("/a\udcff") == "tail:/a%FF"


@pytest.mark.parametrize(
    "text", ["", "1-2-3", "1-2-257-" + "0" * 32, "01-2-3-" + "0" * 32, "1-2-x-0", "1-2-3-0-1-2"]
)
def test_other_identities_are_refused(text: str) -> None:
    """An identity has one spelling."""
    if text == "1-2-3":
        text = "1-2--3"
    with pytest.raises(FormatError):
        Identity.parse(text)


@pytest.mark.parametrize("path", ["app.log", "*.log", "/" + "\n" * 1400])
def test_paths_are_absolute_and_short(path: str) -> None:
    """A relative path would have another meaning at the next start; a name has to fit in a line."""
    with pytest.raises(ConfigError, match="absolute path"):
        TailSource([path], {}, block_bytes=1, max_entry_bytes=1)


def test_the_lag_is_what_is_in_the_files_and_not_sealed(log: Path, tailer: Tailer) -> None:
    """Read or not, in the file at the path and in rotated ones before it; an unfinished line too."""
    assert tailer.source.lag == 0
    append(log, b"x" * 99 + b"\n")
    tailer.source.tick()
    append(log, b"y" * 49 + b"\n")
    assert tailer.source.lag == 150
    tailer.run()
    assert tailer.source.lag == 0
    append(log, b"un")
    tailer.run()
    assert tailer.source.lag == 2
    log.rename(log.with_suffix(".log.1"))
    append(log, b"z" * 9 + b"\n")
    tailer.source.tick()
    assert tailer.source.lag == 12
    tailer.run()
    assert tailer.source.lag == 0


def test_the_lag_after_a_restart(log: Path, tailer: Tailer) -> None:
    """What was sealed before the restart is none of it, in files as large as they come."""
    append(log, b"sealed\n")
    tailer.run()
    tailer.restart()
    os.truncate(log, 6 << 30)
    tailer.source.tick()
    assert tailer.source.lag == (6 << 30) - len(b"sealed\n")


def test_the_lag_of_a_truncated_file(log: Path, tailer: Tailer) -> None:
    """The new content waits, however much had been sealed of the old one."""
    append(log, b"x" * 999 + b"\n")
    tailer.run()
    log.write_bytes(b"new\n")
    assert tailer.source.lag >= 0
    tailer.run()
    append(log, b"more")
    assert tailer.source.lag == 4


def test_the_lag_may_be_asked_of_a_closed_source(log: Path, tailer: Tailer) -> None:
    """A scrape may come while the log ends."""
    append(log, b"one\n")
    tailer.source.tick()
    tailer.source.close()
    assert tailer.source.lag == 4


# --- never in silence ---------------------------------------------------------------------------------------


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
    tailer.source.close()


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
    append(log, _long(1))
    tailer.run()
    tailer.restart()
    append(log, _long(2))
    log.rename(log.with_name("app.log.3"))
    if between != "1.zst":
        append(log.with_name("app.log.1"), _long(4))
    else:
        append(log.with_name("app.log.2"), _long(4))
    if between is not None:
        log.with_name(f"app.log.{between}").write_bytes(b"\x28\xb5\x2f\xfd")
    append(log, _long(5))
    assert (tailer.run(10 * GRACE), tailer.gaps) == (_long(1, 2, 4, 5), 1)


def test_a_fifo_with_the_name_of_a_rotated_file(log: Path, tailer: Tailer) -> None:
    """It is never waited for: whoever may write to the folder must not stop the sealing."""
    append(log, _long(1))
    tailer.run()
    tailer.restart()
    os.mkfifo(log.with_name("app.log.1.gz"))
    log.rename(log.with_name("app.log.2"))
    append(log, _long(2))
    assert tailer.run() == _long(1, 2)


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
    tailer.source.close()


def test_files_of_a_burst_of_rotations_are_left_without_a_pause_for_each(log: Path, tailer: Tailer) -> None:
    """All of them have been at rest in the queue for as long: a stop soon after finds all of it sealed."""
    append(log, b"0\n")
    tailer.run()
    for number in range(1, 30):
        log.rename(log.with_name(f"app.log-2026112{number // 10}{number % 10:02d}"))
        append(log, b"%d\n" % number)
    assert tailer.run(10 * GRACE).split() == [b"%d" % number for number in range(30)]
    assert tailer.gaps == 0


# --- which file is which ------------------------------------------------------------------------------------


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
    tailer.source.close()


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
    append(tmp_path / "x.log", _long(1, 2))
    tailer.run()
    tailer.restart()
    (tmp_path / "x.log").rename(tmp_path / "y.log")
    append(tmp_path / "y.log", _long(3))
    tailer.run()
    tailer.restart()
    append(tmp_path / "x.log", _long(4))
    append(tmp_path / "y.log", _long(5))
    tailer.run()
    assert (sorted(tailer.sealed.splitlines()), tailer.gaps) == (_long(1, 2, 3, 4, 5).splitlines(), 0)
    tailer.source.close()


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
    tailer.source.close()


def test_a_link_that_was_moved_to_an_unlike_name_while_the_agent_was_down(tmp_path: Path) -> None:
    """Kubernetes after a restart of the container: `0.log`, then `1.log`."""
    (tmp_path / "pods").mkdir()
    (tmp_path / "containers").mkdir()
    first, second, link = tmp_path / "pods/0.log", tmp_path / "pods/1.log", tmp_path / "containers/app.log"
    append(first, _long(1))
    link.symlink_to(first)
    tailer = Tailer(tmp_path / "containers" / "*.log")
    tailer.run()
    tailer.restart()
    append(first, _long(2))
    append(second, _long(3))
    link.unlink()
    link.symlink_to(second)
    assert (tailer.run(), tailer.gaps) == (_long(1, 2, 3), 0)
    tailer.source.close()


def test_a_link_that_leads_nowhere_yet(tmp_path: Path) -> None:
    """The folder of the link does not change when the file appears that it leads to."""
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "app.log").symlink_to(tmp_path / "0.log")
    os.utime(tmp_path / "c", (1, 1))
    tailer = Tailer(tmp_path / "c" / "*.log")
    tailer.run()
    append(tmp_path / "0.log", b"1\n")
    assert tailer.run() == b"1\n"
    tailer.source.close()


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
    tailer.source.close()


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
    append(log, _long(1))
    tailer.run()
    log.rename(log.with_name("app.log.1"))
    append(log, _long(2))
    tailer.run()
    tailer.restart()
    tailer.run()
    log.with_name("app.log.2.gz").write_bytes(gzip.compress(_long(1)))
    log.with_name("app.log.1.gz").write_bytes(gzip.compress(_long(2)))
    log.with_name("app.log.1").unlink()
    log.unlink()
    append(log, _long(3))
    tailer.run()
    assert tailer.sealed == _long(1, 2, 3)


def test_a_copy_at_whose_path_nothing_stands(log: Path, tailer: Tailer) -> None:
    """The file was compressed while the agent was down, and the service has not written again yet."""
    append(log, _long(1))
    tailer.run()
    tailer.restart()
    append(log, _long(2))
    log.with_name("app.log.1.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()
    assert tailer.run() == _long(1, 2)
    append(log, _long(3))
    assert (tailer.run(), tailer.gaps) == (_long(1, 2, 3), 0)
