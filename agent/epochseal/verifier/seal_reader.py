"""The lines of one epoch out of its seal file, none of them longer than a seal line may be."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedReader
from typing import Self

from epochseal.errors import StorageError
from epochseal.format.seal_lines import MAX_LINE
from epochseal.storage.opener import open_file
from epochseal.verifier.seal_files import EpochPart
from epochseal.verifier.snapshot import SegmentPart

_BUFFER = 1 << 16


class LineReader:
    """Gives each line without its newline; of one that is too long the beginning, which is too long as well.

    Raises:
        GoneError: the file is gone.
        StorageError: it cannot be read.
    """

    def __init__(self, part: SegmentPart, epoch: EpochPart) -> None:
        self._path = part.seal
        self._left = epoch.stop - epoch.start
        self._file = BufferedReader(open_file(part.seal), _BUFFER)
        self._lines = self._read(epoch.start)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        return next(self._lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._file.close()

    def ahead(self) -> bytes:
        """Some of what comes next; it comes again."""
        try:
            return self._file.peek()[: self._left]
        except OSError as exc:
            raise self._failure(exc) from exc

    def skip(self, size: int) -> None:
        """Pass so many bytes of what `ahead` gave, which must be whole lines."""
        # They are in the buffer: nothing is read from the file.
        self._left -= len(self._file.read(size))

    def _read(self, start: int) -> Iterator[bytes]:
        try:
            self._file.seek(start)
            while self._left > 0 and (raw := self._readline(MAX_LINE + 2)):
                line = raw
                while raw and self._left > 0 and not raw.endswith(b"\n"):
                    raw = self._readline(_BUFFER)
                yield line.removesuffix(b"\n")
        except OSError as exc:
            raise self._failure(exc) from exc

    def _readline(self, most: int) -> bytes:
        raw = self._file.readline(min(self._left, most))
        self._left -= len(raw)
        return raw

    def _failure(self, exc: OSError) -> StorageError:
        return StorageError(f"cannot read {self._path}: {exc.strerror}")
