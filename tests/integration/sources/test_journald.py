from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.errors import EpochsealError
from epochseal.format.seal_lines import SourceMark
from epochseal.sealing.source_positions import read_positions
from epochseal.sources.journald import JournaldSource, read_cursor
from tests.integration.agents import Place, kinds, tmpfs, warnings
from tests.integration.sources.tailing import TailAgent

_REMOTE = "/lib/systemd/systemd-journal-remote"
_BOOT = "0123456789abcdef0123456789abcdef"


class Journal:
    """A journal directory that systemd's own tool writes."""

    def __init__(self, folder: Path, time: int = 0) -> None:
        folder.mkdir()
        self.folder = folder
        self._process = subprocess.Popen(
            [_REMOTE, f"--output={folder}/remote.journal", "-"],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._count = time

    def write(self, *messages: bytes) -> None:
        """Append entries, in the journal's export format with lengths, so that a message may be any bytes."""
        assert self._process.stdin is not None
        for message in messages:
            self._count += 1
            self._process.stdin.write(
                b"__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%b\n_SYSTEMD_UNIT=app.service\n"
                % (1_795_000_000_000_000 + self._count, self._count, _BOOT.encode())
                + b"MESSAGE\n"
                + struct.pack("<Q", len(message))
                + message
                + b"\n\n"
            )
        self._process.stdin.flush()

    def close(self) -> None:
        """Let the writer end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """An empty journal."""
    made = Journal(tmp_path / "journal")
    yield made
    made.close()


def _messages(sealed: bytes) -> list[object]:
    return [json.loads(line)["MESSAGE"] for line in sealed.splitlines()]


def _entries(first: int, stop: int) -> list[bytes]:
    return [b"entry %d" % number for number in range(first, stop)]


def test_the_journal_is_sealed_once_across_kills_and_stops(journal: Journal, tmp_path: Path) -> None:
    """Each entry is one line, in order, nothing twice or missed: it goes on at the cursor in the chain."""
    with tmpfs() as runtime:
        place = Place(tmp_path, runtime)
        journal.write(*_entries(0, 300))
        with TailAgent(place.log, place.keys.directory, runtime, ["journal", journal.folder]) as agent:
            agent.wait_for(lambda sealed: sealed.count(b"\n") == 300)
            journal.write(*_entries(300, 900))
            agent.wait_for(lambda sealed: sealed.count(b"\n") > 300)
            agent.kill()
            journal.write(*_entries(900, 1000), b"two\nlines \xe2\x80\xa8 \x1b[31m \xff", b"x" * 9000)
            agent.start()
            agent.wait_for(lambda sealed: sealed.count(b"\n") == 1002)
            agent.stop()
            journal.write(*_entries(1000, 1010))
            agent.start()
            agent.wait_for(lambda sealed: sealed.count(b"\n") == 1012)
            agent.stop()
        found = _messages(agent.sealed())
        numbered = [f"entry {number}" for number in range(1010)]
        assert found[:1000] == numbered[:1000]
        assert found[1002:] == numbered[1000:]
        assert found[1000] == list(b"two\nlines \xe2\x80\xa8 \x1b[31m \xff")
        assert found[1001] == "x" * 9000
        verdict = place.verify()
        assert (verdict.verdict, kinds(verdict), warnings(verdict)) == ("verified", [], [])
        assert read_positions(place.log)["journald"].offset == 1012


def test_a_journal_without_the_sealed_entry_is_a_gap(journal: Journal, tmp_path: Path) -> None:
    """Where the entry that was sealed last is gone, the log says that others may be missing."""
    with tmpfs() as runtime:
        place = Place(tmp_path, runtime)
        journal.write(*_entries(0, 10))
        with TailAgent(place.log, place.keys.directory, runtime, ["journal", journal.folder]) as agent:
            agent.wait_for(lambda sealed: sealed.count(b"\n") == 10)
            agent.stop()
            shutil.rmtree(journal.folder)
            other = Journal(journal.folder, time=1000)
            other.write(*_entries(50, 60))
            agent.start()
            agent.wait_for(lambda sealed: _messages(sealed)[-1:] == ["entry 59"])
            agent.stop()
            other.close()
        verdict = place.verify()
        assert (verdict.verdict, kinds(verdict), warnings(verdict)) == ("verified", [], ["source_gap"])
        assert "no longer has the entry" in agent.said


def test_a_child_that_dies_is_started_again(journal: Journal) -> None:
    """What it had not printed yet comes from the next child, once."""
    journal.write(*_entries(0, 3))
    source = JournaldSource([], journal.folder, {}, block_bytes=1 << 16, max_entry_bytes=1 << 20)
    try:
        seen = _collect(source, 3)
        source._child.kill()  # type: ignore[union-attr]  # noqa: SLF001  # as the system does when memory is short
        journal.write(*_entries(3, 5))
        assert _messages(seen + _collect(source, 2)) == [f"entry {number}" for number in range(5)]
        (position,) = source.positions()
        assert position.offset == 5
    finally:
        source.close()


def _collect(source: JournaldSource, count: int) -> bytes:
    """Drive a source as the loop does until it gave so many entries."""
    data = b""
    while data.count(b"\n") < count:
        source.tick()
        for descriptor in source.descriptors():
            source.ready(descriptor)
        while source.has_entry:
            assert source.cut_piece(1 << 20, 1 << 30, 1 << 30) is not None
            data += source.piece_bytes()
            source.done(0)
    return data


def test_a_unit_is_selected(journal: Journal) -> None:
    """Only entries of the named units come."""
    journal.write(*_entries(0, 3))
    source = JournaldSource(["app.service"], journal.folder, {}, block_bytes=1 << 16, max_entry_bytes=1 << 20)
    try:
        assert len(_messages(_collect(source, 3))) == 3
    finally:
        source.close()
    other = JournaldSource(
        ["other.service"],
        journal.folder,
        {"journald": SourceMark("journald", 0)},
        block_bytes=1 << 16,
        max_entry_bytes=1 << 20,
    )
    try:
        other.finish()
        while not other.ended:
            for descriptor in other.descriptors():
                other.ready(descriptor)
        assert not other.has_entry
    finally:
        other.close()


def test_a_line_without_a_cursor_is_refused() -> None:
    """What journalctl prints must be an entry."""
    with pytest.raises(EpochsealError, match="what is no entry"):
        read_cursor(b'{"MESSAGE":"x"}')
