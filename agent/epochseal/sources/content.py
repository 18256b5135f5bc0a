"""What a log file is, whatever its name is at the moment, and reading it: plain, or a compressed copy.

A file is known by device, inode and the SHA-256 of its first bytes. The name says little (rotation moves it),
the inode alone not enough (it is given to another file later), the first bytes alone neither (a copy has the
same). At most `HEAD` bytes are taken; of a smaller file, what there is, and more as it grows.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import zlib
from dataclasses import dataclass
from typing import Self

from epochseal.encoding import parse_decimal
from epochseal.errors import FormatError

HEAD = 256
_TRAIL = 64
_HEX = 32
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/")


def percent_encode(path: bytes) -> str:
    """A path as it stands in a seal line (docs/format.md, 3.7)."""
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in path)


@dataclass(frozen=True, slots=True)
class Identity:
    """`DEVICE-INODE-N-HEX`: HEX are the first 32 hex digits of the SHA-256 of the first N bytes."""

    device: int
    inode: int
    size: int
    digest: str

    @classmethod
    def of(cls, device: int, inode: int, head: bytes) -> Self:
        """The identity of a file that begins with `head`."""
        return cls(device, inode, len(head), hashlib.sha256(head).hexdigest()[:_HEX])

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read it back out of a seal line.

        Raises:
            FormatError: `text` is no identity.
        """
        device, inode, size, digest = [*text.split("-"), "", "", ""][:4]
        found = cls(*(parse_decimal(part, "file identity") for part in (device, inode, size)), digest)
        if str(found) != text or found.size > HEAD:
            raise FormatError(f"not the identity of a file: {text[:80]!r}")
        return found

    def begins(self, head: bytes) -> bool:
        """Whether a file that begins with `head` may be this one, or a copy of it."""
        return (
            len(head) >= self.size and hashlib.sha256(head[: self.size]).hexdigest()[:_HEX] == self.digest
        )

    def __str__(self) -> str:
        return f"{self.device}-{self.inode}-{self.size}-{self.digest}"


class LogFile:
    """An open file that may grow, be renamed, removed and truncated while it is read."""

    static = False

    def __init__(self, fd: int, found: os.stat_result) -> None:
        self._fd = fd
        self.device, self.inode = found.st_dev, found.st_ino
        self.position = 0
        self.limit: int | None = None
        self.truncated = False
        self._head = b""
        self._trail = b""
        self._seen = 0

    @classmethod
    def open(cls, path: str) -> Self:
        """Open a regular file, or what a link leads to.

        Raises:
            OSError: it cannot be opened.
        """
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise OSError(0, "it is not a regular file", path)
        return cls(fd, found)

    def again(self) -> LogFile:
        """The same file from its beginning, after it was truncated."""
        return LogFile(os.dup(self._fd), os.fstat(self._fd))

    @property
    def key(self) -> tuple[int, int]:
        """Device and inode."""
        return self.device, self.inode

    @property
    def identity(self) -> Identity:
        """As far as the file was read."""
        return Identity.of(self.device, self.inode, self._head)

    def head(self) -> bytes:
        """The first bytes as they stand in the file now."""
        return os.pread(self._fd, HEAD, 0)

    def go_to(self, position: int) -> bool:
        """Read on from here, trusting what is before it; whether the file reaches that far."""
        self._head = os.pread(self._fd, min(HEAD, position), 0)
        self._trail = os.pread(self._fd, min(_TRAIL, position), max(0, position - _TRAIL))
        self.position = self._seen = position
        return self.size() >= position

    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self._fd).st_size

    def has_more(self) -> bool:
        """Whether there are bytes that were never read; notices if the file was cut."""
        size = self.size()
        self.truncated = self.truncated or size < self._seen
        return not self.truncated and self._end(size) > self._seen

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
            # What was just read may be of the new content: it is read again as that.
            self.truncated = True
            return 0
        self._remember(free[:count])
        return count

    def matches(self, other: Content) -> bool:
        """Whether `other` holds the bytes that were read of this file, as far as is known."""
        return other.head()[: len(self._head)] == self._head

    def close(self) -> None:
        """Close it; closing again does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
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
            new = bytes(data[-min(_TRAIL, self.position - self._seen) :])
            self._trail = (self._trail + new)[-_TRAIL:]
            self._seen = self.position


class CompressedCopy:
    """A `.gz` that a rotation left: read once, in order; it does not grow."""

    static = True
    limit = None
    truncated = False
    removed = False

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = gzip.open(path, "rb")  # noqa: SIM115  # closed by `close`
        found = os.stat(path)
        self.device, self.inode = found.st_dev, found.st_ino
        self._head = self._peek()
        self.position = 0
        self._more = True

    @property
    def key(self) -> tuple[int, int]:
        """Device and inode of the compressed file."""
        return self.device, self.inode

    @property
    def identity(self) -> Identity:
        """Of the content that was compressed."""
        return Identity.of(self.device, self.inode, self._head)

    def head(self) -> bytes:
        """The first bytes of the content."""
        return self._head

    def go_to(self, position: int) -> bool:
        """Read on from here; whether the content reaches that far."""
        try:
            self.position = self._file.seek(position)
        except (OSError, EOFError, zlib.error):
            return False
        return self.position == position

    def has_more(self) -> bool:
        """Whether the end was not reached yet."""
        return self._more

    def read_into(self, free: memoryview) -> int:
        """Read on; 0 at the end.

        Raises:
            OSError: it cannot be decompressed.
        """
        try:
            count = self._file.readinto(free)
        except (EOFError, zlib.error) as exc:
            raise OSError(0, f"it cannot be decompressed: {exc}", self._path) from exc
        self.position += count
        self._more = count > 0
        return count

    def close(self) -> None:
        """Close it."""
        self._file.close()

    def _peek(self) -> bytes:
        try:
            return self._file.read(HEAD)
        except (OSError, EOFError, zlib.error):
            return b""
        finally:
            self._file.seek(0)


Content = LogFile | CompressedCopy


def open_content(path: str) -> Content:
    """Open a file that a rotation left, compressed or not.

    Raises:
        OSError: it cannot be opened.
    """
    return CompressedCopy(path) if path.endswith(".gz") else LogFile.open(path)
