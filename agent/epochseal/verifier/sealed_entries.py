"""The entries of one segment, read in order and compared with the digests that were sealed.

Plain files are read in place; `.gz` and `.zst` are decompressed as a stream, never past the sealed byte
count.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from epochseal.errors import StorageError
from epochseal.format.seal_lines import Block
from epochseal.verifier.log_streams import Stream, decompressor, open_log

_PIECE = 1 << 20
_WINDOW = 16 << 10
_LINE_FEED = 0x0A
_SEARCH_BUDGET = 256 << 20


class SealedEntries:
    """Checks blocks against the log file of a segment.

    After an insertion or a deletion everything behind it is moved; `shift` follows, so that the damage that
    is reported is where it was done and not the whole rest of the file. With `keep`, `kept` holds the very
    bytes that were hashed for the last block, so that what is handed on is what was verified.
    """

    def __init__(self, path: Path, sealed: int, *, keep: bool = False) -> None:
        self._path = path
        self._keep = keep
        self.kept = bytearray()
        self._sealed = sealed
        self._buffer = bytearray(_PIECE)
        self._position = 0
        self._budget = _SEARCH_BUDGET
        self._matched = 0
        self.shift = 0
        try:
            self._file = open_log(path)
            self.size = os.fstat(self._file.fileno()).st_size
        except OSError as exc:
            raise StorageError(f"cannot read {path}: {exc.strerror}") from exc
        opened = Path(self._file.name)
        self._plain = opened.suffix == ".log"
        self._stream: Stream = self._file if self._plain else decompressor(opened, self._file)

    def matches(self, block: Block) -> bool:
        """Whether the block's bytes are in the file, whole and at their place (moved by `shift`).

        Raises:
            StorageError: the file cannot be read.
        """
        found = self._holds(block, self.shift) or (self._plain and self._found_elsewhere(block))
        if found:
            self._matched = self._position
        return found

    def ends_before(self, block: Block) -> bool:
        """Whether the file ends before the first byte of the block, after `matches` did not find it."""
        if self._plain:
            return self.size <= block.offset + self.shift
        return self._position <= block.offset

    def extra(self) -> bool:
        """Whether anything follows the sealed bytes, compressed or not.

        Raises:
            StorageError: the file cannot be read.
        """
        if self._plain:
            return self.size > self._sealed
        self._skip_to(self._sealed)
        with memoryview(self._buffer) as view:
            try:
                return self._stream.readinto(view[:1]) != 0 or bool(self._file.read(1))
            except (zlib.error, EOFError):
                # The trailer is damaged, or what follows it is not compressed data: bytes that nobody sealed.
                return True

    def pieces(self) -> Iterator[bytes]:
        """Everything in the file, decompressed, unchecked; what cannot be decompressed ends it."""
        with memoryview(self._buffer) as view:
            while count := self._read(view):
                yield bytes(view[:count])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _holds(self, block: Block, shift: int) -> bool:
        if block.offset + shift < 0 or not self._skip_to(block.offset + shift):
            return False
        digest, left, last = hashlib.sha256(), block.size, _LINE_FEED
        self.kept.clear()
        with memoryview(self._buffer) as view:
            while left:
                count = self._read(view[: min(left, _PIECE)])
                if not count:
                    return False
                digest.update(view[:count])
                if self._keep:
                    self.kept += view[:count]
                last = self._buffer[count - 1]
                left -= count
        # The number of entries is authenticated by the line; counting newlines again would double the time.
        return digest.digest() == block.digest and last == _LINE_FEED

    def _found_elsewhere(self, block: Block) -> bool:
        if self.size == self._sealed and not self.shift:
            # The file has its sealed size, so nothing was inserted or removed before this block. Equal bytes
            # elsewhere are another block that repeats these entries.
            return False
        for shift in dict.fromkeys((0, self.size - self._sealed)):
            # Never before the end of an earlier block that was found: two blocks that changed places are
            # altered, not moved.
            if shift != self.shift and block.offset + shift >= self._matched and self._holds(block, shift):
                self.shift = shift
                return True
        return self._searched(block)

    def _searched(self, block: Block) -> bool:
        """Look for the block at line starts around its place; bounded: a rewritten file has no match."""
        start = max(block.offset + self.shift - _WINDOW, self._matched)
        if block.size > _PIECE or self._budget <= 0 or not self._skip_to(start):
            return False
        window = bytearray(2 * _WINDOW + block.size)
        with memoryview(window) as view:
            have = 0
            while have < len(window) and (count := self._read(view[have:])):
                have += count
            place = 0
            while 0 <= place <= min(have - block.size, 2 * _WINDOW) and self._budget > 0:
                self._budget -= block.size
                shift = start + place - block.offset
                digest = hashlib.sha256(view[place : place + block.size]).digest()
                if self._plausible(shift) and digest == block.digest:
                    self.shift = shift
                    self._skip_to(start + place + block.size)
                    return True
                place = window.find(b"\n", place, have) + 1 or -1
        return False

    def _plausible(self, shift: int) -> bool:
        """Logs repeat themselves: content is only moved as far as the whole file grew or shrank."""
        moved = self.size - self._sealed
        return min(moved, 0) <= shift <= max(moved, 0)

    def _skip_to(self, position: int) -> bool:
        if self._plain:
            if position > self.size:
                return False
            if position != self._position:
                self._file.seek(position)
                self._position = position
            return True
        with memoryview(self._buffer) as view:
            while self._position < position:
                if not self._read(view[: min(position - self._position, _PIECE)]):
                    return False
        return self._position == position

    def _read(self, view: memoryview) -> int:
        try:
            count = self._stream.readinto(view)
        except (zlib.error, EOFError):
            return 0
        except OSError as exc:
            raise StorageError(f"cannot read {self._path}: {exc.strerror}") from exc
        self._position += count
        return count
