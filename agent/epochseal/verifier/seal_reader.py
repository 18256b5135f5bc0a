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

_BUFFER, _LEAST = 1 << 17, 1 << 12
_FEW, _SHORT = 16, 32
"""So many lines are read whatever they are, and one more for each so many bytes: a tag alone takes more."""


class LineReader:
    """Gives each line without its newline; of one that is too long the beginning, which is too long as well.

    Where there are more lines than its bytes explain, the rest of the epoch is taken for one line: `gave_up`.

    Raises:
        GoneError: the file is gone.
        StorageError: it cannot be read.
    """

    def __init__(self, part: SegmentPart, epoch: EpochPart) -> None:
        self.gave_up = False
        self._path = part.seal
        self._count = 0
        self._left = epoch.stop - epoch.start
        # A log may have an epoch for each kilobyte: none gets more room than it can fill.
        self._file = BufferedReader(open_file(part.seal), min(_BUFFER, max(self._left, _LEAST)))
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
        """Pass so many bytes of what was seen ahead, which must be whole lines."""
        self._left -= len(self._file.read(size))

    def pass_to(self, position: int) -> None:
        """Go on at this byte of the file, behind all that was read."""
        self._left -= position - self._file.tell()
        self._file.seek(position)

    @property
    def left(self) -> int:
        """How many bytes of the epoch come next."""
        return self._left

    @property
    def place(self) -> int:
        """The byte of the seal file that comes next."""
        return self._file.tell()

    def far_ahead(self, distance: int, size: int) -> bytes:
        """So many bytes behind the `distance` that come next, or what there is of them; they come again."""
        try:
            place = self._file.tell()
            self._file.seek(place + distance)
            data = self._file.read(max(min(size, self._left - distance), 0))
            self._file.seek(place)
        except OSError as exc:
            raise self._failure(exc) from exc
        return data

    def _read(self, start: int) -> Iterator[bytes]:
        size = self._left
        try:
            self._file.seek(start)
            while self._left > 0 and (raw := self._readline(MAX_LINE + 2)):
                self._count += 1
                self.gave_up = self._count > _FEW + (size - self._left) // _SHORT
                if self.gave_up:
                    self._left = 0
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
