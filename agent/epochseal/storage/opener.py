"""The one way to open what stands in a log: in a directory that others may write, or in an archive.

Only regular files are opened, and no open ever waits: a FIFO without a writer, or a link to a file that its
owner did not mean, is refused. Whoever reads says how much at most.
"""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path

from epochseal.errors import ConfigError, StorageError
from epochseal.regular_files import open_regular
from epochseal.storage.archive_path import ArchivePath
from epochseal.storage.stored_file import StoredFile

_PIECE = 1 << 20


class GoneError(StorageError):
    """There is no file of that name: it may have been there a moment ago."""


class NotAFileError(StorageError):
    """What stands under a file's name is a link, a FIFO, a socket, a device or a folder."""


class DiskFile(FileIO):
    """A regular file that is open for reading."""

    @property
    def size(self) -> int:
        """How many bytes it has now."""
        return os.fstat(self.fileno()).st_size

    def pread(self, size: int, position: int) -> bytes:
        """Bytes at a place, fewer only at the end of the file; where it is read next stays as it is."""
        return os.pread(self.fileno(), size, position)


LogFile = DiskFile | StoredFile
"""A file of a log, open for reading: `size`, `pread`, and what an unbuffered file of Python's has."""


def open_file(path: Path) -> LogFile:
    """Open a file of a log for reading, unbuffered: a regular file, or an object of an archive.

    Raises:
        GoneError: there is none of that name.
        NotAFileError: something else stands there.
        StorageError: it cannot be opened.
    """
    if not isinstance(path, ArchivePath):
        return open_disk_file(path)
    try:
        return path.open_stored()
    except FileNotFoundError as exc:
        raise GoneError(f"there is no {path}") from exc


def open_disk_file(path: Path) -> DiskFile:
    """As `open_file`, of what stands in a directory.

    Raises:
        GoneError, NotAFileError, StorageError: as `open_file`.
    """
    try:
        descriptor = open_regular(path, follow=False)
    except FileNotFoundError as exc:
        raise GoneError(f"there is no {path}") from exc
    except OSError as exc:
        raise StorageError(f"cannot read {path}: {exc.strerror}") from exc
    if descriptor is None:
        raise NotAFileError(f"{path} is no regular file")
    return DiskFile(descriptor, "rb")


def size_of(path: Path) -> int:
    """The size of a file, in bytes.

    Raises:
        GoneError: there is none of that name.
        StorageError: it cannot be looked at.
    """
    try:
        return path.stat().st_size
    except FileNotFoundError as exc:
        raise GoneError(f"there is no {path}") from exc
    except OSError as exc:
        raise StorageError(f"cannot look at {path}: {exc.strerror}") from exc


def read_file(path: Path, limit: int) -> bytes:
    """At most `limit` bytes of a regular file, and one more byte if it is longer than that.

    Raises:
        GoneError, NotAFileError, StorageError: as `open_file`; or it cannot be read.
    """
    with open_file(path) as file:
        try:
            return _read_up_to(file, limit + 1)
        except OSError as exc:
            raise StorageError(f"cannot read {path}: {exc.strerror}") from exc


def read_named_file(path: Path, limit: int = _PIECE) -> bytes:
    """A regular file that the user has named, of at most `limit` bytes; links are followed.

    Raises:
        ConfigError: it is something else, which might never end or never begin; or it is larger.
        OSError: it cannot be read.
    """
    with open_named_file(path) as file:
        if os.fstat(file.fileno()).st_size > limit:
            raise ConfigError(f"{path} is larger than {limit} bytes")
        # It may grow meanwhile: what follows is left.
        return _read_up_to(file, limit)


def open_named_file(path: Path) -> FileIO:
    """Open a regular file that the user has named, unbuffered; links are followed.

    Raises:
        ConfigError: it is something else.
        OSError: it cannot be opened.
    """
    if (descriptor := open_regular(path, follow=True)) is None:
        raise ConfigError(f"{path} is no regular file", "write it to a file first")
    return FileIO(descriptor, "rb")


def _read_up_to(file: LogFile | FileIO, most: int) -> bytes:
    pieces = []
    # In pieces: a file makes room for as much as is asked for, whatever there is.
    while most and (piece := file.read(min(most, _PIECE))):
        pieces.append(piece)
        most -= len(piece)
    return b"".join(pieces)
