"""Compressed log files: a stream that is read no further than asked, and is whole (docs/format.md, 10.5)."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import msgspec

from epochseal.errors import ConfigError
from epochseal.storage.opener import LogFile

_PIECE = 64 << 10
_MOST_WINDOW = 128 << 20
_FRAME = 0xFD2FB528
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_DICTIONARY_ID_SIZES = (0, 1, 2, 4)
_CONTENT_SIZES = (0, 2, 4, 8)
_RLE, _RESERVED, _BLOCK_HEAD = 1, 3, 3
_CUT = "the compressed file is cut off"


class BrokenStreamError(Exception):
    """What follows cannot be decompressed: it is cut, changed, or no member or frame."""


class TooManyPartsError(Exception):
    """More members or frames than a file of this size has."""


class Stream(Protocol):
    """Plain bytes in order."""

    def readinto(self, into: memoryview) -> int:
        """As many bytes as there are at once, at most what `into` holds; 0 at the end.

        Raises:
            BrokenStreamError, TooManyPartsError: there is no telling what follows.
            OSError: the file cannot be read.
        """
        ...

    def check_whole(self) -> None:
        """After the end was reached: whether the file is whole; raises as `readinto`."""
        ...


class RepeatedStream:
    """A stream of which a part can be given back, to be read again."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._again = memoryview(b"")

    def readinto(self, into: memoryview) -> int:
        """As that of the stream."""
        if not self._again:
            return self._stream.readinto(into)
        count = min(len(into), len(self._again))
        into[:count], self._again = self._again[:count], self._again[count:]
        return count

    def give_back(self, data: bytes) -> None:
        """What was read last comes again."""
        self._again = memoryview(data + self._again)

    def check_whole(self) -> None:
        """As that of the stream."""
        self._stream.check_whole()


def open_stream(path: Path, file: LogFile) -> RepeatedStream:
    """The plain bytes of a `.gz` or `.zst` file.

    Raises:
        ConfigError: the library for it is not installed.
    """
    size = file.size
    most = 16 + size // 1024
    stream = _Gzip(file, most) if path.suffix == ".gz" else _Zstandard(path, file, size, most)
    return RepeatedStream(stream)


class _Gzip:
    """RFC 1952, any number of members."""

    def __init__(self, file: LogFile, most: int) -> None:
        self._file = file
        self._left = most
        self._inflate = zlib.decompressobj(31)
        self._input = b""

    def readinto(self, into: memoryview) -> int:
        while True:
            if self._inflate.eof:
                self._input = self._inflate.unused_data or self._file.read(_PIECE)
                if not self._input:
                    return 0
                self._left -= 1
                if self._left <= 0:
                    raise TooManyPartsError
                self._inflate = zlib.decompressobj(31)
            elif not self._input and not (read := self._file.read(_PIECE)):
                raise BrokenStreamError("the compressed file is cut off")
            elif not self._input:
                self._input = read
            try:
                data = self._inflate.decompress(self._input, len(into))
            except zlib.error as exc:
                raise BrokenStreamError(str(exc)) from exc
            self._input = self._inflate.unconsumed_tail
            if data:
                into[: len(data)] = data
                return len(data)

    def check_whole(self) -> None:
        """Each member is checked, with its length and check sum, before its end is reached."""


class _Zstandard:
    """RFC 8878, any number of frames."""

    def __init__(self, path: Path, file: LogFile, size: int, most: int) -> None:
        try:
            import zstandard  # noqa: PLC0415  # an extra, for logs that are compressed with it
        except ImportError as exc:
            raise ConfigError(
                f"{path} is compressed with zstd", "in a checkout: pip install '.[zstd]'"
            ) from exc
        self._error = zstandard.ZstdError
        self._file, self._size, self._most = file, size, most
        decompressor = zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW)
        self._reader = decompressor.stream_reader(cast("BinaryIO", file), read_across_frames=True)
        self._found: _Frames | None = None

    def readinto(self, into: memoryview) -> int:
        # Frames without content are passed over inside of one call: so they are counted before it.
        self._frames()
        try:
            return self._reader.readinto(into)
        except self._error as exc:
            raise BrokenStreamError(str(exc)) from exc

    def check_whole(self) -> None:
        """The library takes a frame that is cut for the end: the blocks say whether it is one."""
        if (fault := self._frames().fault) is not None:
            raise fault

    def _frames(self) -> _Frames:
        if self._found is None:
            self._found = _count_frames(_Window(self._file), self._size, self._most)
        return self._found


class _Frames(msgspec.Struct, frozen=True):
    """Why a file is not whole; None if it is."""

    fault: BrokenStreamError | None


_NO_FRAME = _Frames(BrokenStreamError("the compressed file has no frame"))


class _Window:
    """A few bytes at any place of a file, for many places that follow each other."""

    def __init__(self, file: LogFile) -> None:
        self._file = file
        self._start, self._data = 0, b""

    def read(self, position: int, size: int) -> bytes:
        at = position - self._start
        if at < 0 or at + size > len(self._data):
            self._start, at = position, 0
            # Not mapped: whoever cuts the file meanwhile would end the process.
            self._data = self._file.pread(_PIECE, position)
        return self._data[at : at + size]

    def around(self, position: int, size: int) -> tuple[bytes, int]:
        """Some bytes, and where among them `position` is, with so many behind it if there are as many."""
        self.read(position, size)
        return self._data, position - self._start


def _count_frames(content: _Window, size: int, most: int) -> _Frames:
    frames = skipped = position = 0
    while position < size:
        if frames + skipped == most:
            raise TooManyPartsError
        try:
            position, has_content = _end_of_frame(content, size, position)
        except BrokenStreamError as exc:
            return _Frames(exc)
        frames, skipped = frames + has_content, skipped + (not has_content)
    return _Frames(None) if frames else _NO_FRAME


def _end_of_frame(content: _Window, size: int, position: int) -> tuple[int, bool]:
    head = content.read(position, 8)
    magic = int.from_bytes(head[:4], "little")
    if magic in _SKIPPABLE and len(head) == 8:  # noqa: PLR2004  # magic number and length
        end = position + 8 + int.from_bytes(head[4:], "little")
        return _within(end, size), False
    if magic != _FRAME or len(head) < 5:  # noqa: PLR2004  # magic number and descriptor
        raise BrokenStreamError("no frame begins where one has to")
    flags = head[4]
    if flags & 0x08 or flags & 3:
        raise BrokenStreamError("a frame of another kind, or with a dictionary")
    single = flags >> 5 & 1
    content_size = _CONTENT_SIZES[flags >> 6] or single
    end = position + 5 + (not single) + _DICTIONARY_ID_SIZES[flags & 3] + content_size
    end = _end_of_blocks(content, size, end)
    return _within(end + 4 * (flags >> 2 & 1), size), True


def _end_of_blocks(content: _Window, size: int, end: int) -> int:
    data, at, last = b"", 0, 0
    # A block can be 4 bytes long: so there is little in this loop.
    while not last:
        if at + _BLOCK_HEAD > len(data):
            data, at = content.around(end, _BLOCK_HEAD)
            if at + _BLOCK_HEAD > len(data):
                raise BrokenStreamError(_CUT)
        first = data[at]
        last, kind = first & 1, first >> 1 & 3
        if kind == _RESERVED:
            raise BrokenStreamError("a block of no known kind")
        whole = 4 if kind == _RLE else _BLOCK_HEAD + ((first | data[at + 1] << 8 | data[at + 2] << 16) >> 3)
        end, at = end + whole, at + whole
        if end > size:
            raise BrokenStreamError(_CUT)
    return end


def _within(end: int, size: int) -> int:
    if end > size:
        raise BrokenStreamError(_CUT)
    return end
