"""The files of a journal, and what their headers say: which entries they hold, by their numbers.

journald numbers its entries. The numbers of one *series* (`s=` in a cursor) grow from file to file, so they
tell where one file goes on and whether something is missing before it; names, times and boots do not. The
header is part of a stable format (systemd.io/JOURNAL_FILE_FORMAT). Of entries nothing is read here.
"""

from __future__ import annotations

import errno
import logging
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from epochseal.descriptors import is_reserved
from epochseal.sources.machine_journal import journal_folders

MOST_OPEN = 64
"""So many files that may still grow are held open: what a vacuum removes can be read to its end."""
SETTLED_SECONDS = 2.0
"""journald counts an entry a moment before it can be found: after so many seconds it can."""
_HEADER = struct.Struct("<8sIIB7x16s16s16s16s15Q")
_SIGNATURE = b"LPKSHHRH"
_ARCHIVED = 2
_SUFFIXES = (".journal", ".journal~")
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class JournalFile:
    """One file, as its header was when it was looked at last.

    Attributes:
        path: a name that it has, or had.
        key: device and inode.
        fd: open for reading; -1 if it is not held.
        series: whose numbers its entries have; 32 hex digits.
        head, tail: numbers of its first and last entry; 0 while it has none.
        since: when `tail` was first seen, on the monotonic clock.
        settled: the number that `tail` had some seconds ago.
        archived: whether it will not grow any more.
        time: of its first entry, in microseconds since 1970.
        gone: whether it has no name any more.
        changed: its time of change when it was looked at, in nanoseconds.
        began: when a child was started for it last, on the monotonic clock; 0 before the first.
        tries: children in a row that could not read it.
    """

    path: str
    key: tuple[int, int]
    fd: int = -1
    series: str = ""
    head: int = 0
    tail: int = 0
    since: float = 0.0
    settled: int = 0
    archived: bool = False
    time: int = 0
    gone: bool = False
    changed: int = -1
    began: float = 0.0
    tries: int = 0
    _before: int = 0
    _remembered: float = 0.0

    def read_header(self, now: float) -> bool:
        """See how far it has grown; whether it is a journal file.

        Raises:
            OSError: it cannot be read.
        """
        raw = os.pread(self.fd, _HEADER.size, 0)
        if len(raw) < _HEADER.size or raw[:8] != _SIGNATURE:
            return False
        fields = _HEADER.unpack(raw)
        self.series, self.archived = fields[7].hex(), fields[3] == _ARCHIVED
        tail, self.head, self.time = fields[17], fields[18], fields[20]
        if tail != self.tail:
            self.tail, self.since = tail, now
        self.remember(now)
        return True

    def remember(self, now: float) -> None:
        """Its tail at this moment, for `settled` later on."""
        if now - self._remembered >= SETTLED_SECONDS:
            self.settled, self._before, self._remembered = self._before, self.tail, now

    def open(self) -> None:
        """Hold it, if it is not held.

        Raises:
            OSError: it cannot be opened, or another file has its name now.
        """
        if self.fd >= 0:
            return
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        found = os.fstat(fd)
        if is_reserved(fd):
            os.close(fd)
            raise OSError(errno.EMFILE, "the descriptors that are left are for sealing")
        if (found.st_dev, found.st_ino) != self.key:
            os.close(fd)
            raise FileNotFoundError(self.path)
        self.fd = fd

    def close(self) -> None:
        """Hold it no more."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class JournalFiles:
    """The files in some folders, known by inode: a rotation gives them other names.

    Args:
        directory: with its folders of machines; None for the system's journal of this machine.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._files: dict[tuple[int, int], JournalFile] = {}
        self._told: set[str] = set()

    @property
    def files(self) -> Sequence[JournalFile]:
        """Those that are known, also without a name as long as they are held."""
        return list(self._files.values())

    def look(self, now: float) -> None:
        """See how far those have grown that are held."""
        for file in self._files.values():
            if file.fd >= 0 and not file.archived:
                self._read_header(file, now)

    def scan(self, now: float) -> list[JournalFile]:
        """Look for files that are new or renamed; those that are gone and were not held."""
        seen = set()
        for folder in journal_folders(self._directory):
            for path, key in _names(folder):
                seen.add(key)
                file = self._files.get(key)
                if file is None:
                    file = JournalFile(path, key)
                    if not self._begin(file, now):
                        continue
                    self._files[key] = file
                file.path, file.gone = path, False
                if file.fd < 0 and not file.archived:
                    self._look_again(file, now)
        lost = []
        for key in [key for key in self._files if key not in seen]:
            file = self._files[key]
            file.gone = True
            if file.fd < 0:
                lost.append(self._files.pop(key))
        return lost

    def forget(self, file: JournalFile) -> None:
        """It has been read to its end and has no name any more."""
        file.close()
        self._files.pop(file.key, None)

    def close(self) -> None:
        """Hold none any more."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _begin(self, file: JournalFile, now: float) -> bool:
        try:
            file.open()
            file.changed = os.fstat(file.fd).st_mtime_ns
            good = file.read_header(now)
        except FileNotFoundError:
            return False
        except OSError as exc:
            self._tell(file.path, exc)
            return False
        if not good or file.archived or sum(item.fd >= 0 for item in self._files.values()) >= MOST_OPEN:
            file.close()
        return good

    def _look_again(self, file: JournalFile, now: float) -> None:
        """One that is not held and may grow: its time of change says whether it did."""
        try:
            changed = Path(file.path).lstat().st_mtime_ns
            if changed == file.changed:
                file.remember(now)
                return
            file.changed = changed
            file.open()
        except OSError as exc:
            self._tell(file.path, exc)
            return
        self._read_header(file, now)
        file.close()

    def _read_header(self, file: JournalFile, now: float) -> None:
        try:
            file.read_header(now)
        except OSError as exc:
            self._tell(file.path, exc)

    def _tell(self, path: str, error: OSError) -> None:
        if path not in self._told and not isinstance(error, FileNotFoundError):
            self._told.add(path)
            _log.warning("cannot read the journal file %s: %s", path, error.strerror)


def _names(folder: Path) -> list[tuple[str, tuple[int, int]]]:
    found: list[tuple[str, tuple[int, int]]] = []
    try:
        device = folder.stat().st_dev
        with os.scandir(folder) as entries:
            found += [
                (entry.path, (device, entry.inode()))
                for entry in entries
                if entry.name.endswith(_SUFFIXES) and entry.is_file(follow_symlinks=False)
            ]
    except OSError:
        # Not there yet, or not any more.
        pass
    return found
