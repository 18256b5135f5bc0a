"""Journal files, written by systemd's own tool, and what is done to them; a source that a test drives."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import time
from pathlib import Path

from epochseal.format.seal_lines import SourceMark
from epochseal.sources.journal_selection import Selection
from epochseal.sources.journald import JournaldSource

_REMOTE = "/lib/systemd/systemd-journal-remote"
BOOT, OTHER_BOOT = "0123456789abcdef0123456789abcdef", "f" * 32
_STATE, _SERIES, _HEAD = 16, 72, 168
_BIG = 1 << 40


class Journal:
    """A journal file that is being written.

    Args:
        folder: of the file.
        name: of the file, without its suffix.
        clock: of its first entry, in microseconds.
    """

    def __init__(self, folder: Path, name: str = "system", clock: int = 0) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.path = folder / f"{name}.journal"
        self._process = subprocess.Popen(
            [_REMOTE, f"--output={self.path}", "-"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._clock = clock
        self._written = 0

    def write(self, *messages: bytes, boot: str = BOOT, unit: str = "app.service", priority: int = 6) -> None:
        """Append entries, in the journal's export format with lengths, so that a message may be any bytes."""
        assert self._process.stdin is not None
        for message in messages:
            self._clock += 1
            self._written += 1
            self._process.stdin.write(
                b"__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%b\n_SYSTEMD_UNIT=%b\nPRIORITY=%d\n"
                % (1_795_000_000_000_000 + self._clock, self._clock, boot.encode(), unit.encode(), priority)
                + b"MESSAGE\n"
                + struct.pack("<Q", len(message))
                + message
                + b"\n\n"
            )
        self._process.stdin.flush()
        deadline = time.monotonic() + 60
        while numbers(self.path)[1] < self._written:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def close(self) -> None:
        """Let the writer end; closing again does nothing."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def numbers(path: Path) -> tuple[int, int]:
    """Of the first and the last entry, as the header has them."""
    try:
        header = path.read_bytes()[: _HEAD + 8]
    except FileNotFoundError:
        return 0, 0
    if len(header) < _HEAD + 8:
        return 0, 0
    last, first = struct.unpack_from("<QQ", header, _HEAD - 8)
    return first, last


def copy(path: Path, name: str, *, series: str = "", head: int = 0, archived: bool = True) -> Path:
    """A copy under another name, as journald leaves one when it rotates.

    Args:
        path: of the file.
        name: of the copy, without its suffix.
        series: another one, in hex.
        head: the number that its first entry is to have: it has those before it no more.
        archived: whether it says that it grows no more.
    """
    made = path.with_name(f"{name}.journal")
    shutil.copyfile(path, made)
    with made.open("r+b") as file:
        if archived:
            file.seek(_STATE)
            file.write(b"\x02")
        if series:
            file.seek(_SERIES)
            file.write(bytes.fromhex(series))
        if head:
            file.seek(_HEAD)
            file.write(struct.pack("<Q", head))
    return made


def entries(first: int, stop: int) -> list[bytes]:
    """Messages that can be told apart."""
    return [b"entry %d" % number for number in range(first, stop)]


def messages(sealed: bytes) -> list[object]:
    """The message of each entry."""
    return [json.loads(line)["MESSAGE"] for line in sealed.splitlines()]


class Reader:
    """A source that is driven as the loop does; `restart` is a crash, after which only the chain is known."""

    def __init__(self, folder: Path, selection: Selection | None = None, *, longest: int = 1 << 20) -> None:
        self._folder, self._selection, self._longest = folder, selection or Selection(), longest
        self.positions: dict[str, SourceMark] = {}
        self.marks: list[SourceMark] = []
        self.sealed = b""
        self.source = self._open()

    def _open(self) -> JournaldSource:
        return JournaldSource(
            self._selection,
            self._folder,
            self.positions,
            block_bytes=1 << 16,
            max_entry_bytes=self._longest,
            on_long="skip",
        )

    def restart(self) -> None:
        """Forget everything but what was sealed; each start states the positions of the one before."""
        self.source.close()
        self.source = self._open()
        self.positions = {mark.name: mark for mark in self.source.positions()}

    def stop(self) -> None:
        """As SIGTERM does."""
        self.source.finish()
        while not self.source.ended:
            self.round()

    def round(self) -> None:
        """One round of the loop."""
        self.source.tick()
        for descriptor in self.source.descriptors():
            self.source.ready(descriptor)
        while self.source.has_entry:
            piece = self.source.cut_piece(_BIG, _BIG, _BIG)
            assert piece is not None
            self.sealed += self.source.piece_bytes()
            self.source.done(0)
            self.marks.append(piece.src)
            mark = SourceMark(piece.src.name, piece.src.offset, piece.src.file)
            self.positions.pop(mark.name, None)
            self.positions[mark.name] = mark

    def read(self, count: int, seconds: float = 60.0) -> list[object]:
        """Go on until so many entries are sealed in all; their messages."""
        deadline = time.monotonic() + seconds
        while self.sealed.count(b"\n") < count:
            assert time.monotonic() < deadline, messages(self.sealed)
            self.round()
            time.sleep(0.002)
        return messages(self.sealed)

    def go_on(self, seconds: float) -> list[object]:
        """Go on for a while."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.round()
            time.sleep(0.002)
        return messages(self.sealed)

    @property
    def gaps(self) -> int:
        """How often a gap was flagged."""
        return sum(mark.gap for mark in self.marks)
