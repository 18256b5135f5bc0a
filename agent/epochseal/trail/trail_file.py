"""One file of a trail, gzipped or not, read in pieces: whatever it holds, in bounded time and memory."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

from epochseal.errors import FormatError, StorageError
from epochseal.storage.opener import open_named_file

_GZIP = b"\x1f\x8b"
_PIECE = 1 << 20
_TIMES, _FREE = 24, 64 << 20
"""What is gzipped is read up to so many times its size, and so many bytes more."""
_MOST_AT_ONCE = 64 << 20
"""A file of CloudTrail, or a digest, is read as a whole: it is at most that long."""


class TrailFile:
    """The plain bytes of a file.

    Raises:
        FormatError: it is damaged, cut off, or larger than it may be.
        StorageError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = open_named_file(path)
            size = os.fstat(self._file.fileno()).st_size
            packed = self._file.read(len(_GZIP)) == _GZIP
            self._file.seek(0)
        except OSError as exc:
            raise StorageError(f"cannot read {path}: {exc.strerror or exc}") from exc
        self._path = path
        self._source: IO[bytes] = gzip.GzipFile(fileobj=self._file) if packed else self._file  # type: ignore[assignment]  # both read bytes
        self._left = _FREE + _TIMES * size if packed else size
        self._again = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._file.close()

    def skip_blanks(self, size: int) -> bytes:
        """What it begins with behind blanks, about `size` bytes, empty if nothing follows; it comes again."""
        while len(self._again) < size and (piece := self._read(_PIECE)):
            self._again = (self._again + piece).lstrip()
        return self._again

    def pieces(self) -> Iterator[bytes]:
        """All of it, in pieces; what is blank at the beginning may have been skipped."""
        while piece := self._again or self._read(_PIECE):
            self._again = b""
            yield piece

    def whole(self) -> bytes:
        """All of it.

        Raises:
            FormatError: it is too large for that.
        """
        pieces, size = [], 0
        for piece in self.pieces():
            pieces.append(piece)
            size += len(piece)
            if size > _MOST_AT_ONCE:
                raise FormatError(f"more than {_MOST_AT_ONCE} bytes in one file of CloudTrail")
        return b"".join(pieces)

    def digest(self) -> str:
        """SHA-256 of all of it, in hex."""
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()

    def _read(self, size: int) -> bytes:
        try:
            # A plain file may grow meanwhile: what follows is left.
            data = self._source.read(min(size, self._left + (self._source is not self._file)))
        except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
            raise FormatError(f"damaged gzip data: {exc}") from exc
        except OSError as exc:
            raise StorageError(f"cannot read {self._path}: {exc.strerror or exc}") from exc
        self._left -= len(data)
        if self._left < 0:
            raise FormatError(
                f"more than {_TIMES} times as many bytes as it has on the disk", "unpack it, and try again"
            )
        return data
