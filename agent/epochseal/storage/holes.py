"""How much of a file lies on the disk: a file with holes can be of any size and take no room."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from epochseal.errors import StorageError
from epochseal.storage.opener import GoneError, open_file

_BLOCK = 512
"""Bytes in one of the blocks that `stat` counts, whatever the file system has."""


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
            return _outside_holes(file.fileno(), os.fstat(file.fileno()).st_size)
    except FileNotFoundError as exc:
        raise GoneError(f"there is no {path}") from exc
    except OSError as exc:
        raise StorageError(f"cannot read {path}: {exc.strerror}") from exc


def _outside_holes(descriptor: int, size: int) -> int:
    position = stored = 0
    while position < size:
        start = _seek(descriptor, position, os.SEEK_DATA, size)
        position = _seek(descriptor, start, os.SEEK_HOLE, size) if start < size else size
        stored += position - start if start < size else 0
    return stored


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
