"""What a log file is, whatever its name is at the moment, and reading it.

How it is known again is `file_identity.py`'s part.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import Self
from urllib.parse import quote_from_bytes

from epochseal.descriptors import is_reserved
from epochseal.errors import FormatError
from epochseal.format.seal_lines import SourceMark
from epochseal.sources.file_identity import HEAD, TRAIL, Identity, ends, holds


def percent_encode(path: bytes) -> str:
    """A path as it stands in a seal line (docs/format.md, 3.7)."""
    return quote_from_bytes(path, safe="/")


def source_name(path: str) -> str:
    """The name of a tailed path in the log."""
    return "tail:" + percent_encode(os.fsencode(path))


def is_of(content: LogFile, mark: SourceMark) -> bool:
    """Whether a file is the one of a mark, sealed up to it."""
    try:
        wanted = Identity.parse(mark.file)
    except FormatError:
        return False
    return wanted.is_file(content.key) and holds(content.ends(mark.offset), wanted, mark.offset)


class LogFile:
    """An open file that may grow, be renamed, removed and truncated while it is read."""

    def __init__(self, fd: int, found: os.stat_result) -> None:
        self._fd = fd
        self.key = found.st_dev, found.st_ino
        # Of a copy: those of the file that was truncated, as which the chain knows it.
        self.origin = self.key
        self.static = False
        self.is_told = False
        """Whether it was told that it may be lost."""
        # Where it is begun, and the last bytes before that: behind what was sealed under another path.
        self.start = 0, b""
        self.position = 0
        self.limit: int | None = None
        self.truncated = False
        self._head = b""
        self._trail = b""
        self._seen = 0
        self._written = 0
        # At the last look: how long it was, and the ends of that, by which a new content is known even where
        # nothing of the old one was read.
        self._size = 0
        self._ends = b"", b""
        self.queued_at = self.grew_at = time.monotonic()

    @classmethod
    def open(cls, path: str) -> Self:
        """Open a regular file, or what a link leads to.

        Raises:
            OSError: it cannot be opened.
        """
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        if is_reserved(fd):
            os.close(fd)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise OSError(0, "it is not a regular file", path)
        return cls(fd, found)

    def again(self) -> LogFile:
        """The same file from its beginning, after it was truncated."""
        return LogFile(os.dup(self._fd), os.fstat(self._fd))

    @property
    def head(self) -> bytes:
        """The first bytes, as they were read."""
        return self._head

    @property
    def was(self) -> tuple[Identity, int]:
        """What it was when it was last read, and how many bytes of it had been read; else as it was seen."""
        if not self._seen:
            return Identity.of(self.key, *self._ends), self._size
        return Identity.of(self.key, self._head, self._trail), self._seen

    def bytes_at(self, offset: int, count: int) -> bytes:
        """Some bytes, as they stand in the file now."""
        return os.pread(self._fd, count, offset)

    def ends(self, offset: int) -> tuple[bytes, bytes]:
        """The first bytes, and the last ones before `offset`, as they stand in the file now."""
        return ends(lambda count, at: os.pread(self._fd, count, at), offset)

    def go_to(self, position: int) -> bool:
        """Read on from here, trusting what is before it; whether the file reaches that far."""
        self._head, self._trail = self.ends(position)
        self.position = self._seen = position
        return self.size() >= position

    def start_behind(self, mark: SourceMark) -> None:
        """Begin where it is sealed, if it is the file of a mark."""
        if is_of(self, mark) and self.go_to(mark.offset):
            self.start = mark.offset, self._trail

    def stat(self) -> os.stat_result:
        """What the system says of the file now."""
        return os.fstat(self._fd)

    def size(self) -> int:
        """Bytes in the file now."""
        return self.stat().st_size

    def has_more(self) -> bool:
        """Whether there are bytes that were never read; notices if the file was cut."""
        found = self.stat()
        if not self.truncated and (found.st_mtime_ns != self._written or found.st_size != self._size):
            # Written to since the last look, perhaps anew at the old length: the size alone cannot tell.
            self.truncated = not self._has_old_content(found.st_size)
            if not self.truncated:
                self._written = found.st_mtime_ns
                if found.st_size != self._size:
                    self.grew_at = time.monotonic()
                self._size, self._ends = found.st_size, self.ends(found.st_size)
        return not self.truncated and self._end(found.st_size) > self._seen

    def _has_old_content(self, size: int) -> bool:
        return size >= self._size and self._ends == self.ends(self._size) and self._goes_on()

    @property
    def removed(self) -> bool:
        """Whether the file has no name any more."""
        return os.fstat(self._fd).st_nlink == 0

    def read_into(self, free: memoryview) -> int:
        """Read on; 0 at the end of the file as it is now, or if it was truncated."""
        if self.truncated:
            return 0
        want = len(free) if self.limit is None else max(0, min(len(free), self.limit - self.position))
        count = os.preadv(self._fd, [free[:want]], self.position) if want else 0
        if not self._goes_on():
            # The file was cut and written anew at some moment, so the bytes just read may be of the new
            # content. They are given up here, and read again when the new content is read from its
            # beginning.
            self.truncated = True
            return 0
        self._remember(free[:count])
        return count

    def release(self) -> int:
        """The descriptor, for who closes it from now on."""
        fd, self._fd = self._fd, -1
        return fd

    def close(self) -> None:
        """Close it; closing again does nothing."""
        if (fd := self.release()) >= 0:
            os.close(fd)

    def _end(self, size: int) -> int:
        return size if self.limit is None else min(size, self.limit)

    def _goes_on(self) -> bool:
        """Whether the file still holds what was read of it: its first bytes, and the last ones."""
        if self.size() < self._seen or os.pread(self._fd, len(self._head), 0) != self._head:
            return False
        return os.pread(self._fd, len(self._trail), self._seen - len(self._trail)) == self._trail

    def _remember(self, data: memoryview) -> None:
        if self.position <= len(self._head) < HEAD:
            self._head += bytes(data[len(self._head) - self.position : HEAD - self.position])
        self.position += len(data)
        if self.position > self._seen:
            new = bytes(data[-min(TRAIL, self.position - self._seen) :])
            self._trail = (self._trail + new)[-TRAIL:]
            self._seen = self.position
