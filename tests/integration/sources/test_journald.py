from __future__ import annotations

import errno
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from epochseal.errors import EpochsealError
from epochseal.sealing.source_positions import read_positions
from epochseal.sources import journal_child, journald
from epochseal.sources.journal_selection import Selection
from epochseal.sources.journald import read_address
from tests.integration.agents import Place, kinds, tmpfs, warnings
from tests.integration.sources.journals import OTHER_BOOT, Journal, Reader, copy, entries, messages, numbers
from tests.integration.sources.tailing import TailAgent

SERIES = "ab" * 16


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """An empty journal."""
    made = Journal(tmp_path / "journal")
    yield made
    made.close()


def _named(first: int, stop: int) -> list[object]:
    return [f"entry {number}" for number in range(first, stop)]


# --- an agent ---------------------------------------------------------------------------------------------


def test_the_journal_is_sealed_once_across_kills_and_stops(journal: Journal, tmp_path: Path) -> None:
    """Each entry is one line, in order, nothing twice or missed: it goes on at the cursor in the chain."""
    with tmpfs() as runtime:
        place = Place(tmp_path, runtime)
        journal.write(*entries(0, 300))
        with TailAgent(place.log, place.keys.directory, runtime, ["journal", journal.folder]) as agent:
            agent.wait_for(lambda sealed: sealed.count(b"\n") == 300)
            journal.write(*entries(300, 900))
            agent.wait_for(lambda sealed: sealed.count(b"\n") > 300)
            agent.kill()
            journal.write(*entries(900, 1000), b"two\nlines \xe2\x80\xa8 \x1b[31m \xff", b"x" * 9000)
            agent.start()
            agent.wait_for(lambda sealed: sealed.count(b"\n") == 1002)
            agent.stop()
            journal.write(*entries(1000, 1010))
            agent.start()
            agent.wait_for(lambda sealed: sealed.count(b"\n") == 1012)
            agent.stop()
        found = messages(agent.sealed())
        numbered = _named(0, 1010)
        assert found[:1000] == numbered[:1000]
        assert found[1002:] == numbered[1000:]
        assert found[1000] == list(b"two\nlines \xe2\x80\xa8 \x1b[31m \xff")
        assert found[1001] == "x" * 9000
        verdict = place.verify()
        assert (verdict.verdict, kinds(verdict), warnings(verdict)) == ("verified", [], [])
        (position,) = [
            mark for name, mark in read_positions(place.log).items() if name.startswith("journald:")
        ]
        assert position.offset == 1012


def test_a_journal_without_the_sealed_entry_is_a_gap(journal: Journal, tmp_path: Path) -> None:
    """Where the series that was sealed is gone, the log says so once; what is there is sealed whole."""
    with tmpfs() as runtime:
        place = Place(tmp_path, runtime)
        journal.write(*entries(0, 10))
        with TailAgent(place.log, place.keys.directory, runtime, ["journal", journal.folder]) as agent:
            agent.wait_for(lambda sealed: sealed.count(b"\n") == 10)
            agent.stop()
            shutil.rmtree(journal.folder)
            other = Journal(journal.folder, clock=1000)
            other.write(*entries(50, 60))
            agent.start()
            agent.wait_for(lambda sealed: messages(sealed)[-1:] == ["entry 59"])
            agent.stop()
            said = agent.said
            agent.start()
            other.write(b"entry 60")
            agent.wait_for(lambda sealed: messages(sealed)[-1:] == ["entry 60"])
            agent.stop()
            other.close()
        assert messages(agent.sealed()) == _named(0, 10) + _named(50, 61)
        verdict = place.verify()
        assert (verdict.verdict, kinds(verdict), warnings(verdict)) == ("verified", [], ["source_gap"])
        assert "no longer has the entry" in said


# --- boots, clocks, rotations -----------------------------------------------------------------------------


def test_all_boots_are_read_from_the_first_start_on(journal: Journal) -> None:
    """A journal of two boots, and one more while the agent is down: no entry is passed over."""
    journal.write(*entries(0, 5))
    journal.write(*entries(5, 10), boot=OTHER_BOOT)
    reader = Reader(journal.folder)
    assert reader.read(10) == _named(0, 10)
    reader.stop()
    journal.write(*entries(10, 15), boot="e" * 32)
    reader.restart()
    assert reader.read(15) == _named(0, 15)
    assert reader.gaps == 0


def test_the_first_entry_of_a_boot_is_not_passed_over(journal: Journal, tmp_path: Path) -> None:
    """Neither by a selection that does not have it, nor in a file of its own."""
    reader = Reader(journal.folder, Selection(units=["app.service"]))
    journal.write(*entries(0, 5))
    reader.read(5)
    reader.stop()
    other = Journal(tmp_path / "journal", "next", clock=10**9)
    other.write(b"not this", boot=OTHER_BOOT, unit="other.service")
    other.write(*entries(5, 10), boot=OTHER_BOOT)
    reader.restart()
    assert reader.read(10) == _named(0, 10)
    assert reader.gaps == 0
    other.close()


@pytest.mark.parametrize("live", [False, True])
def test_the_clock_goes_back(journal: Journal, tmp_path: Path, *, live: bool) -> None:
    """Numbers say what comes next, not times."""
    journal.close()
    late = Journal(tmp_path / "journal", "late", clock=10**12)
    late.write(*entries(0, 5))
    reader = Reader(journal.folder)
    reader.read(5)
    if not live:
        reader.stop()
    early = Journal(tmp_path / "journal", "early", clock=10**6)
    early.write(*entries(5, 10), boot=OTHER_BOOT)
    if not live:
        reader.restart()
    reader.read(10)
    late.write(*entries(10, 15))
    assert reader.read(15) == _named(0, 15)
    assert reader.gaps == 0
    late.close()
    early.close()


def test_rotations_and_a_vacuum_of_all_but_the_newest_file(journal: Journal, tmp_path: Path) -> None:
    """Files that are renamed, replaced and removed while they are read lose nothing."""
    reader = Reader(journal.folder)
    written = 0
    current = journal
    for turn in range(1, 5):
        current.write(*entries(written, written + 20))
        written += 20
        current.close()
        reader.round()
        current.path.rename(current.path.with_name(f"system@{turn}.journal"))
        for old in current.folder.glob("system@*"):
            if old.name != f"system@{turn}.journal":
                old.unlink()
        current = Journal(tmp_path / "journal", clock=turn * 1000)
        reader.go_on(1.2)
    current.write(*entries(written, written + 20))
    assert reader.read(written + 20) == _named(0, written + 20)
    assert reader.gaps == 0
    current.close()


# --- seams that are proven, and those that are not --------------------------------------------------------


def _two_files(journal: Journal) -> tuple[Path, Path]:
    """Entries 0 to 9 in an archived file, 10 to 19 in the one after it, of one series; the writer ends."""
    journal.write(*entries(0, 10))
    first = copy(journal.path, "system@1", series=SERIES)
    journal.write(*entries(10, 20))
    second = copy(journal.path, "system@2", series=SERIES, head=11)
    journal.close()
    journal.path.unlink()
    return first, second


def test_numbers_that_follow_each_other_prove_a_seam(journal: Journal, tmp_path: Path) -> None:
    """The file of the last sealed entry was vacuumed, but the next one begins with the next number."""
    first, second = _two_files(journal)
    second.rename(tmp_path / "away")
    reader = Reader(journal.folder)
    reader.read(10)
    reader.stop()
    first.unlink()
    (tmp_path / "away").rename(second)
    reader.restart()
    assert reader.read(20) == _named(0, 20)
    assert reader.gaps == 0


@pytest.mark.parametrize("away", ["stopped", "running"])
def test_numbers_that_are_missing_are_a_gap(journal: Journal, tmp_path: Path, away: str) -> None:
    """A file in between was vacuumed, or the end of the one that was read: the next one says it first."""
    journal.write(*entries(0, 10))
    copy(journal.path, "system@1", series=SERIES)
    journal.write(*entries(10, 25))
    later = copy(journal.path, "later", series=SERIES, head=16)
    journal.close()
    journal.path.unlink()
    later.rename(tmp_path / "away")
    reader = Reader(journal.folder)
    reader.read(10)
    if away == "stopped":
        reader.stop()
    (tmp_path / "away").rename(journal.folder / "system@3.journal")
    if away == "stopped":
        reader.restart()
    assert reader.read(20) == [*_named(0, 10), *_named(15, 25)]
    assert reader.gaps == 1
    assert reader.marks[1].gap
    assert reader.marks[1].offset == 10


def test_numbers_that_another_series_has_are_not_missing(journal: Journal, tmp_path: Path) -> None:
    """The entries of the system and of users are numbered in one row."""
    journal.write(*entries(0, 10))
    first = copy(journal.path, "system@1", series=SERIES)
    journal.write(*entries(10, 20))
    user = copy(journal.path, "user-1000", series="cd" * 16, head=11)
    journal.write(*entries(20, 30))
    second = copy(journal.path, "system@2", series=SERIES, head=21)
    journal.close()
    journal.path.unlink()
    for path in (user, second):
        path.rename(tmp_path / path.name)
    reader = Reader(journal.folder)
    reader.read(10)
    for path in (user, second):
        (tmp_path / path.name).rename(path)
    assert sorted(map(str, reader.read(30))) == sorted(map(str, _named(0, 30)))
    assert reader.gaps == 0
    assert first.exists()


def test_a_file_that_is_gone_before_it_was_read(journal: Journal) -> None:
    """One that was seen and not held is a gap at once, without anything that comes after it."""
    journal.write(*entries(0, 10))
    reader = Reader(journal.folder)
    reader.read(10)
    # Archived files are not held, and this one is not read before it goes.
    journal.write(*entries(10, 20))
    copy(journal.path, "other@1", series=SERIES)
    reader.source._files.scan(0.0)  # noqa: SLF001  # one look, and no child between it and the vacuum
    (journal.folder / "other@1.journal").unlink()
    assert reader.read(20) == _named(0, 20)
    reader.go_on(1.5)
    assert reader.gaps == 1


def test_an_entry_that_cannot_be_read_is_a_gap(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The header counts entries that nothing prints: after some time the log says so, and goes on."""
    monkeypatch.setattr(journald, "UNREADABLE_SECONDS", 0.5)
    journal.write(*entries(0, 10))
    journal.close()
    broken = copy(journal.path, "system@1", series=SERIES)
    with broken.open("r+b") as file:
        file.seek(160)
        file.write((12).to_bytes(8, "little"))
    journal.path.unlink()
    reader = Reader(journal.folder)
    reader.read(10)
    reader.go_on(1.0)
    assert reader.gaps == 1
    other = Journal(tmp_path / "journal", "next")
    other.write(*entries(10, 15))
    assert reader.read(15) == _named(0, 15)
    assert reader.gaps == 1
    other.close()


# --- children ---------------------------------------------------------------------------------------------


def test_a_child_that_dies_is_started_again(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed within an entry, again and again: each entry comes once."""
    monkeypatch.setattr(journald, "_RETRY", 0.01)
    journal.write(*entries(0, 3000))
    reader = Reader(journal.folder)
    killed: list[object] = []
    deadline = time.monotonic() + 60
    while len(killed) < 3 and time.monotonic() < deadline:
        reader.round()
        child = reader.source._child  # noqa: SLF001  # as the system does when memory is short
        if child is not None and child not in killed:
            os.kill(child.pid, 9)
            killed.append(child)
        time.sleep(0.002)
    assert len(killed) == 3
    assert reader.read(3000) == _named(0, 3000)
    assert reader.gaps == 0


@pytest.mark.parametrize("short", [errno.EMFILE, errno.ENFILE, "reserved"])
def test_too_few_descriptors(journal: Journal, monkeypatch: pytest.MonkeyPatch, short: object) -> None:
    """No child is started, what is kept for sealing is left alone; afterwards the journal is read."""
    monkeypatch.setattr(journald, "_RETRY", 0.1)
    reader = Reader(journal.folder)
    journal.write(*entries(0, 5))
    refused: list[object] = []

    def refuse(*words: object, **_options: object) -> object:
        refused.append(words)
        if short == "reserved":
            return True
        raise OSError(short, "no descriptor")

    with monkeypatch.context() as patch:
        patch.setattr(
            *((journal_child, "is_reserved") if short == "reserved" else (subprocess, "Popen")), refuse
        )
        while len(refused) < 3:
            assert reader.go_on(0.1) == []
        assert reader.source.descriptors() == []
    assert reader.read(5) == _named(0, 5)
    assert reader.gaps == 0


def test_an_idle_journal_starts_no_child(journal: Journal) -> None:
    """What has nothing new is looked at by its header alone."""
    journal.write(*entries(0, 3))
    reader = Reader(journal.folder)
    reader.read(3)
    reader.go_on(0.5)
    started = 0
    for _ in range(20):
        reader.go_on(0.1)
        started += reader.source._child is not None  # noqa: SLF001  # what is looked at
    assert started == 0


def test_a_long_entry_is_left_out_once(journal: Journal) -> None:
    """It is flagged with its size, and the next start does not meet it again."""
    journal.write(b"entry 0", b"x" * 50_000, b"entry 1")
    reader = Reader(journal.folder, longest=10_000)
    assert reader.read(2) == _named(0, 2)
    assert reader.gaps == 1
    assert max(mark.skipped for mark in reader.marks) > 50_000
    reader.restart()
    journal.write(b"entry 2")
    assert reader.read(3) == _named(0, 3)
    assert reader.gaps == 1


# --- selections -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        (Selection(units=["app.service"]), "abcd"),
        (Selection(units=["other.service"]), "ef"),
        (Selection(units=["o*.service"]), "ef"),
        (Selection(matches=["PRIORITY=3", "PRIORITY=4"]), "bcf"),
        (Selection(matches=["PRIORITY=3", "_SYSTEMD_UNIT=app.service"]), "b"),
        (Selection(priorities="warning"), "bcf"),
        (Selection(priorities="emerg..err"), "bf"),
        (Selection(priorities="4..4"), "c"),
        (Selection(exclude=["_SYSTEMD_UNIT=other.service"]), "abcd"),
        (Selection(exclude=["PRIORITY=6", "PRIORITY=4"]), "bf"),
        (Selection(units=["app.service"], exclude=["PRIORITY=3"]), "acd"),
        (Selection(), "abcdef"),
    ],
)
def test_what_is_selected(journal: Journal, selection: Selection, wanted: str) -> None:
    """Also of entries that come later, which are looked at until they are certainly there."""
    rows = [("app", 6), ("app", 3), ("app", 4), ("app", 6), ("other", 6), ("other", 3)]
    reader = Reader(journal.folder, selection)
    for text, (unit, priority) in zip("abcdef", rows, strict=True):
        journal.write(text.encode(), unit=f"{unit}.service", priority=priority)
    found = "".join(map(str, reader.read(len(wanted))))
    assert found == wanted
    reader.go_on(0.3)
    reader.stop()
    reader.restart()
    journal.write(b"g", unit=f"{'app' if wanted[0] < 'e' else 'other'}.service", priority=3)
    late = "" if selection.exclude == ["PRIORITY=3"] or selection.priorities == "4..4" else "g"
    late = late if selection.units != ["app.service"] or not selection.exclude else ""
    assert "".join(map(str, reader.read(len(wanted + late)))) == wanted + late
    assert reader.gaps == 0


def test_a_position_moves_over_what_is_not_wanted(journal: Journal) -> None:
    """So that the next start need not look at it again, and its file may go."""
    reader = Reader(journal.folder, Selection(units=["nobody.service"]))
    journal.write(*entries(0, 50))
    deadline = time.monotonic() + 60
    while not [mark for mark in reader.source.positions() if unquote(mark.file).endswith("i=32")]:
        assert time.monotonic() < deadline
        reader.go_on(0.2)
    reader.stop()
    assert numbers(journal.path) == (1, 50)
    (mark,) = reader.positions.values()
    assert unquote(mark.file).endswith("i=32")
    assert (reader.sealed, reader.gaps) == (b"", 0)


def test_what_journalctl_prints_is_an_entry_or_an_error() -> None:
    """A line without a cursor is refused by name: nothing is sealed under a position that is a guess."""
    assert read_address(b'{"__CURSOR":"s=1;i=2","MESSAGE":"x"}') == "s=1;i=2"
    with pytest.raises(EpochsealError, match="no entry"):
        read_address(b'{"MESSAGE":"x"}')
