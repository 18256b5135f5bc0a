"""The plain bytes of a compressed file, a bounded piece at a time and in bounded memory.

A header may ask for any window: what needs more than `MOST_MEMORY` is refused. Every call reads and gives so
little that the loop, which has other files to look at, never waits long for it.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from io import FileIO
from pathlib import Path
from typing import Protocol

MOST_MEMORY = 128 << 20
"""Bytes that a decoder may take; `xz -9` needs 65 MiB."""
SLICE = 256 << 10
"""Bytes of content at the most that one call gives."""
_PIECE = 64 << 10
_SMALL = 1 << 10
_MOST_PIECES = 16


class _Decoder(Protocol):
    """Of one member of a file, as those of `bz2` and `lzma`."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Inflate:
    """RFC 1952."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not (self.eof or self._zlib.unconsumed_tail)

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


class _Frame:
    """RFC 8878. The library bounds the output by that of its input: a block of 4 bytes may stand for 128 KiB.

    Raises:
        OSError: the library is not installed.
    """

    def __init__(self) -> None:
        try:
            import zstandard  # noqa: PLC0415  # an extra, for files that are compressed with it
        except ImportError as exc:
            raise OSError(
                0, "the library zstandard is missing: in a checkout: pip install '.[zstd]'"
            ) from exc
        self._error = zstandard.ZstdError
        self._object = zstandard.ZstdDecompressor(max_window_size=MOST_MEMORY).decompressobj()
        self._input = self._output = memoryview(b"")

    @property
    def eof(self) -> bool:
        return self._object.eof and not self._output

    @property
    def needs_input(self) -> bool:
        return not (self._object.eof or self._input or self._output)

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data + bytes(self._input)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        self._input = self._input or memoryview(data)
        while self._input and not (self._output or self._object.eof):
            try:
                self._output = memoryview(self._object.decompress(self._input[:_SMALL]))
            except self._error as exc:
                raise OSError(0, str(exc)) from exc
            self._input = self._input[_SMALL:]
        given, self._output = self._output[:max_length], self._output[max_length:]
        return bytes(given)


def _decoder(ending: str) -> _Decoder:
    match ending:
        case ".gz":
            return _Inflate()
        case ".bz2":
            return bz2.BZ2Decompressor()
        case ".zst":
            return _Frame()
        case _:
            return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=MOST_MEMORY)


class PlainBytes:
    """The content of a compressed file, from its beginning on: members, perhaps with zeros between them.

    Args:
        path: of the file; the ending says how it is compressed.
        file: the same, open, at its beginning.

    Raises:
        OSError: the library for it is not installed.
    """

    def __init__(self, path: str, file: FileIO) -> None:
        self._path, self._file, self._ending = path, file, Path(path).suffix
        self._decoder = _decoder(self._ending)
        self._is_begun = False
        self._input = b""
        self.ended = False
        """Whether all of it was given, and the file is whole."""

    def read_into(self, free: memoryview) -> int:
        """Some more of it; 0 does not mean that it ended.

        Raises:
            OSError: what follows cannot be decompressed.
        """
        for _ in range(_MOST_PIECES):
            if self._decoder.eof:
                self._input, self._is_begun = self._decoder.unused_data, False
                self._decoder = _decoder(self._ending)
            if self._decoder.needs_input and not self._read():
                return 0
            try:
                data = self._decoder.decompress(self._input, min(len(free), SLICE))
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as exc:
                raise _broken(
                    self._path, (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
                ) from exc
            self._input = b""
            if data:
                free[: len(data)] = data
                return len(data)
        return 0

    def _read(self) -> bool:
        """Whether there is more to decompress."""
        if not self._is_begun:
            self._input = self._input.lstrip(b"\0")
        if not self._input:
            self._input = self._file.read(_PIECE)
            if not self._input:
                self.ended = True
                if self._is_begun:
                    raise _broken(self._path, "it is cut off")
            elif not self._is_begun:
                self._input = self._input.lstrip(b"\0")
        self._is_begun = self._is_begun or bool(self._input)
        return bool(self._input)


def _broken(path: str, why: str) -> OSError:
    return OSError(0, f"it cannot be decompressed: {why}", path)
