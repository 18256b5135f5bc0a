"""How much of a file lies on the disk: a file with holes can be of any size and take no room."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from epochseal.errors import StorageError
from epochseal.storage.opener import GoneError, LogFile, open_file
from epochseal.storage.stored_file import StoredFile

_BLOCK = 512
"""Bytes in one of the blocks that `stat` counts, whatever the file system has."""

TIMES = 64
"""A file is read up to so many times what it takes on the disk."""


def stored_bytes(path: Path) -> int:
    """The bytes of a regular file that are not in holes; where a file system knows none, all of them.

    Raises:
        GoneError, NotAFileError, StorageError: as `open_file`; or it cannot be looked at.
    """
    try:
        status = path.lstat()
        # The number of blocks is no measure by itself: a file system may compress, or not tell.
        if stat.S_ISREG(status.st_mode) and status.st_blocks * _BLOCK >= status.st_size:
            return status.st_size
        with open_file(path) as file:
            return file.size if isinstance(file, StoredFile) else _outside_holes(file.fileno(), file.size)
    except FileNotFoundError as exc:
        raise GoneError(f"there is no {path}") from exc
    except OSError as exc:
        raise StorageError(f"cannot read {path}: {exc.strerror}") from exc


def readable_size(file: LogFile) -> int:
    """Up to which byte a file is read: to its end, or to its first hole if nearly all of it is holes.

    Zeros stand there, which no line of a log holds: what would be read is damage, and can be of any size. The
    file is read from its beginning next.

    Raises:
        OSError: it cannot be looked at.
    """
    if isinstance(file, StoredFile):
        # An object has no holes.
        return file.size
    status = os.fstat(file.fileno())
    size = status.st_size
    if status.st_blocks * _BLOCK * TIMES >= size:
        return size
    stored = _outside_holes(file.fileno(), size)
    hole = size if stored * TIMES >= size else _seek(file.fileno(), 0, os.SEEK_HOLE, size)
    file.seek(0)
    return hole


def data_ranges(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Where the first `size` bytes of a file are not in holes: from one byte up to another, in order.

    It moves the place at which the file is read.

    Raises:
        OSError: it cannot be looked at.
    """
    stop = 0
    while stop < size and (start := _seek(descriptor, stop, os.SEEK_DATA, size)) < size:
        stop = min(_seek(descriptor, start, os.SEEK_HOLE, size), size)
        yield start, stop


def _outside_holes(descriptor: int, size: int) -> int:
    return sum(stop - start for start, stop in data_ranges(descriptor, size))


def _seek(descriptor: int, position: int, whence: int, size: int) -> int:
    """As lseek; what follows no more, or cannot be asked, is at the end."""
    try:
        return os.lseek(descriptor, position, whence)
    except OSError as exc:
        if exc.errno == errno.ENXIO:
            return size
        if exc.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            return position if whence == os.SEEK_DATA else size
        raise
