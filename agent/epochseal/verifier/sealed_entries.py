"""The entries of one segment, read in order and compared with the digests that were sealed.

Plain files are read in place; `.gz` and `.zst` are decompressed as a stream, never past the sealed byte
count and one more byte.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from epochseal.errors import StorageError
from epochseal.format.block_columns import digests_between, spell
from epochseal.format.seal_lines import Block
from epochseal.storage.holes import TIMES
from epochseal.storage.opener import GoneError, LogFile, NotAFileError, open_file
from epochseal.verifier.log_streams import BrokenStreamError, RepeatedStream, TooManyPartsError, open_stream
from epochseal.verifier.reading_budget import SHARED, Reading

AT_ONCE = 1 << 20
"""So many bytes are read at once."""
_RUN = 8 << 20
_LEAST, _LEAST_PLAIN = 64 << 10, 4 << 10
_WINDOW = 16 << 10
_LINE_FEED = 0x0A
# To hash a piece and compare it costs as much as so many bytes more.
_TRIAL = 2048

Finding = Literal["good", "altered", "missing", "behind", "unread"]
"""`behind`: the log file of the last segment ends before the block; `unread`: too much was read already."""


class LogEnd(msgspec.Struct, frozen=True, gc=False):
    """Of a log file: whether bytes follow the sealed ones, it is whole, and it has no bytes at all."""

    extra: bool = False
    whole: bool = True
    empty: bool = False


class SealedEntries:
    """Checks blocks against the log file of a segment.

    `bounded` and `too_far` are whether it asked for what no file of its size is asked for, and whether it is
    larger than what may be read of it (reading_budget.py). `run` is how many bytes a run of blocks should
    have, and half of the most that `holds_all` takes.

    After an insertion or a deletion everything behind it is moved; `shift` follows, so that the damage that
    is reported is where it was done and not the whole rest of the file. With `keep`, `kept` holds the very
    bytes that were hashed for the last block, so that what is handed on is what was verified.

    Args:
        path: the log file; what is no regular file is as good as an empty one.
        sealed: how many bytes of it are sealed.
        reading: what it may cost.
        last: it is that of the last segment, which a copy may have taken before its seal file.
        asked: so many bytes of a plain file were read already, by others.

    Raises:
        GoneError: it is gone.
        StorageError: it cannot be read.
    """

    def __init__(
        self,
        path: Path,
        sealed: int,
        reading: Reading,
        *,
        keep: bool = False,
        last: bool = False,
        asked: int = 0,
    ) -> None:
        self._path = path
        self._keep = keep
        self.kept = bytearray()
        self._sealed = sealed
        self._position = 0
        self._most, self._largest, self._budget = reading.plain, reading.block, reading.search
        self._own = TIMES * reading.stored
        self._matched = 0
        self._run = 0, 0
        self.shift = 0
        self.asked = asked
        self.bounded, self.too_far = True, False
        self._file, opened = _open(path)
        self._stream: RepeatedStream | None = None
        self.size = self._file.size if self._file is not None else 0
        if self._file is not None and opened.suffix != ".log":
            self._stream = open_stream(opened, self._file)
            # Holes are read too, and say nothing.
            self.too_far = self.size - reading.stored > SHARED
        # A log may have a segment for each kilobyte: none gets more room than it can fill.
        room = max(_LEAST_PLAIN, self.size)
        if self._stream is not None:
            room = max(_LEAST, min(sealed, reading.plain))
        self._buffer = bytearray(min(AT_ONCE, room))
        # What was decompressed for nothing is given back out of the buffer.
        self.run = _RUN if self._stream is None else len(self._buffer) // 2
        self._behind = last and self._stream is None and self.size < sealed

    def judge(self, block: Block) -> Finding:
        """Whether the block's bytes are in the file, whole and at their place (moved by `shift`).

        Raises:
            StorageError: the file cannot be read.
        """
        if self._behind and block.offset + block.size > self.size:
            return "behind"
        if self._stream is None and block.offset + self.shift + block.size <= self.size:
            self.asked += block.size
            self.bounded = self.bounded and self.asked <= 2 * self.size
            self.too_far = self.too_far or self.asked > self._most
            if not self.bounded or self.too_far:
                return "unread"
        if self._keep and block.size > self._largest:
            last = block.first_entry + block.entries - 1
            raise StorageError(
                f"the block of entries {block.first_entry} to {last} of {self._path} has {block.size} bytes, "
                f"far more than lie on the disk",
                "unpack the file, or copy it without holes, and try again",
            )
        if self._holds(block, self.shift) or (self._stream is None and self._found_elsewhere(block)):
            self._matched = self._position
            return "good"
        if not self.bounded or self.too_far:
            return "unread"
        return "missing" if self._ends_before(block) else "altered"

    def holds_all(self, bounds: list[int], digests: list[bytes]) -> bool:
        """Whether every block between these places of the file has its digest, in base64, and ends a line.

        If one does not, or that is not known, it is as if nothing had been read.

        Raises:
            StorageError: the file cannot be read.
        """
        start, size = bounds[0], bounds[-1] - bounds[0]
        if self._stream is None:
            known = bounds[-1] <= self.size and self.asked + size <= min(2 * self.size, self._most)
        else:
            known = self._position == start and bounds[-1] <= self._most
        if self.shift or self._keep or not self.bounded or self.too_far or size > 2 * self.run or not known:
            return False
        position = self._position
        with memoryview(self._buffer) as view:
            held = self._skip_to(start) and self._all_hold(view, bounds, digests)
        if not held:
            self._give_back(self._position - position)
            return False
        self._run = size, self._matched
        self._matched = self._position
        self.asked += size if self._stream is None else 0
        return True

    def _all_hold(self, view: memoryview, bounds: list[int], digests: list[bytes]) -> bool:
        """Read the blocks between these places, as many at a time as there is room for."""
        found: list[bytes] = []
        while (low := len(found)) < len(digests):
            high = bisect_right(bounds, bounds[low] + len(view), low) - 1
            data, places = view[: bounds[high] - bounds[low]], bounds[low : high + 1]
            if high == low or self._fill(data) < len(data):
                return False
            if {data[place - bounds[low] - 1] for place in places[1:]} != {_LINE_FEED}:
                return False
            found += digests_between(data, places)
        return spell(found, digests)

    def held_elsewhere(self, start: int, stop: int) -> bool:
        """Count the bytes from `start` to `stop`, which another process found to hold; whether they count."""
        size = stop - start
        if (
            self._stream is not None
            or self.shift
            or self._keep
            or not self.bounded
            or self.too_far
            or stop > self.size
            or self.asked + size > min(2 * self.size, self._most)
        ):
            return False
        self._matched = stop
        self.asked += size
        return True

    def forget_run(self) -> None:
        """What `holds_all` found last does not count: something else of its lines does not hold."""
        size, self._matched = self._run
        self.asked -= size if self._stream is None else 0
        self._give_back(size)

    def _give_back(self, count: int) -> None:
        """What was read last, and lies in the buffer, is read again."""
        # A plain file needs nothing: the next read says where from.
        if self._stream is not None:
            self._stream.give_back(bytes(self._buffer[:count]))
            self._position -= count

    def _ends_before(self, block: Block) -> bool:
        if self._stream is None:
            return self.size <= block.offset + self.shift
        return self._position <= block.offset

    def end(self) -> LogEnd:
        """What stands behind the sealed bytes, compressed or not.

        Raises:
            StorageError: the file cannot be read.
        """
        if self._stream is None:
            return LogEnd(self.size > self._sealed, empty=not self.size)
        with memoryview(self._buffer) as view:
            try:
                while self._position < self._sealed:
                    most = min(self._sealed - self._position, AT_ONCE)
                    if not (count := self._next(self._stream, view[:most])):
                        break
                    self._position += count
                if self.too_far or self._next(self._stream, view[:1]):
                    return LogEnd(extra=not self.too_far)
                self._stream.check_whole()
                return LogEnd(empty=not self._position)
            except TooManyPartsError:
                self.bounded = False
                return LogEnd()
            except BrokenStreamError:
                return LogEnd(whole=False, empty=not self._position)
            except OSError as exc:
                raise StorageError(f"cannot read {self._path}: {exc.strerror}") from exc

    def pieces(self, shared: int = 0) -> Iterator[bytes]:
        """Everything in the file, decompressed, unchecked; what cannot be decompressed ends it.

        As far as it may be read: `shared` are bytes that it may have beside its own.
        """
        self._most = max(self._most, self._own + shared)
        with memoryview(self._buffer) as view:
            while self._position < self._most and (count := self._read(view)):
                yield bytes(view[:count])
        self.too_far = self.too_far or self._position >= self._most

    @property
    def beyond(self) -> int:
        """How many bytes were read beside those that it may have by itself."""
        return max(self._position - self._own, 0)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _holds(self, block: Block, shift: int) -> bool:
        start = block.offset + shift
        if start < 0 or (self._stream is None and start + block.size > self.size) or not self._skip_to(start):
            return False
        digest, left, last = hashlib.sha256(), block.size, _LINE_FEED
        self.kept.clear()
        with memoryview(self._buffer) as view:
            while left:
                count = self._read(view[: min(left, AT_ONCE)])
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
            # Nothing was moved as a whole: an equal block elsewhere is a repetition, not this one.
            return False
        for shift in dict.fromkeys((0, self.size - self._sealed)):
            # Never back into what an earlier block was found in: exchanged blocks are not moved ones.
            if shift == self.shift or block.offset + shift < self._matched or self._budget <= 0:
                continue
            self._budget -= block.size + _TRIAL
            if self._holds(block, shift):
                self.shift = shift
                return True
        return self._searched(block)

    def _searched(self, block: Block) -> bool:
        """Look for the block at line starts around its place; bounded: a rewritten file has no match."""
        start = max(block.offset + self.shift - _WINDOW, self._matched)
        if block.size > AT_ONCE or self._budget <= 0 or not self._skip_to(start):
            return False
        window = bytearray(2 * _WINDOW + block.size)
        self._budget -= len(window)
        with memoryview(window) as view:
            have, place = self._fill(view), 0
            while 0 <= place <= min(have - block.size, 2 * _WINDOW) and self._budget > 0:
                self._budget -= block.size + _TRIAL
                shift = start + place - block.offset
                found = view[place : place + block.size]
                if (
                    self._plausible(shift)
                    and found[-1] == _LINE_FEED
                    and hashlib.sha256(found).digest() == block.digest
                ):
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
        if self._stream is None:
            if position > self.size or self._file is None:
                return False
            if position != self._position:
                self._file.seek(position)
                self._position = position
            return True
        with memoryview(self._buffer) as view:
            while self._position < position:
                if not self._read(view[: min(position - self._position, AT_ONCE)]):
                    return False
        return self._position == position

    def _fill(self, view: memoryview) -> int:
        """Read until it is full or nothing follows; how many bytes."""
        have = 0
        while have < len(view) and (count := self._read(view[have:])):
            have += count
        return have

    def _read(self, view: memoryview) -> int:
        if (source := self._stream or self._file) is None:
            return 0
        try:
            count = source.readinto(view) if self._stream is None else self._next(self._stream, view)
        except TooManyPartsError:
            self.bounded = False
            return 0
        except BrokenStreamError:
            return 0
        except OSError as exc:
            raise StorageError(f"cannot read {self._path}: {exc.strerror}") from exc
        self._position += count
        return count

    def _next(self, stream: RepeatedStream, view: memoryview) -> int:
        """What follows in a compressed file, as far as it may be read."""
        room = self._most - self._position
        if room <= 0:
            self.too_far = self.too_far or bool(stream.readinto(view[:1]))
        return 0 if self.too_far or room <= 0 else stream.readinto(view[:room])


def _open(path: Path) -> tuple[LogFile | None, Path]:
    """The file, or the compressed one that a living agent put in its place since it was listed."""
    for ending in ("", ".gz", ".zst"):
        name = path.with_name(path.name + ending) if ending else path
        try:
            with suppress(GoneError):
                return open_file(name), name
        except NotAFileError:
            return None, name
    raise GoneError(f"there is no {path}")
