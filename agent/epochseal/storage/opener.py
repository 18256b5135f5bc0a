"""The one way to open what stands in a directory that others may write.

Only regular files are opened, and no open ever waits: a FIFO without a writer, or a link to a file that its
owner did not mean, is refused. Whoever reads says how much at most.
"""

from __future__ import annotations

import errno
import os
import stat
from io import FileIO
from pathlib import Path

from epochseal.errors import StorageError


class GoneError(StorageError):
    """There is no file of that name: it may have been there a moment ago."""


class NotAFileError(StorageError):
    """What stands under a file's name is a link, a FIFO, a socket, a device or a folder."""


def open_file(path: Path) -> FileIO:
    """Open a regular file for reading, unbuffered.

    Raises:
        GoneError: there is none of that name.
        NotAFileError: something else stands there.
        StorageError: it cannot be opened.
    """
    try:
        # Looked at first: to open a device can already do something. It may be exchanged until the open,
        # which then neither follows a link nor waits; what was opened is looked at again.
        _check(path, os.lstat(path))
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        descriptor = os.open(path, flags)
    except FileNotFoundError as exc:
        raise GoneError(f"there is no {path}") from exc
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.ENXIO, errno.ENODEV):
            raise NotAFileError(f"{path} is no regular file") from exc
        raise StorageError(f"cannot read {path}: {exc.strerror}") from exc
    try:
        _check(path, os.fstat(descriptor))
        return FileIO(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_file(path: Path, limit: int) -> bytes:
    """At most `limit` bytes of a regular file, and one more byte if it is longer than that.

    Raises:
        GoneError, NotAFileError, StorageError: as `open_file`; or it cannot be read.
    """
    with open_file(path) as file:
        pieces, left = [], limit + 1
        try:
            while left and (piece := file.read(left)):
                pieces.append(piece)
                left -= len(piece)
        except OSError as exc:
            raise StorageError(f"cannot read {path}: {exc.strerror}") from exc
    return b"".join(pieces)


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotAFileError(f"{path} is no regular file")
