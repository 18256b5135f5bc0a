"""A log file as one stream of its entries' bytes, whether it is plain, `.gz` or `.zst`."""

from __future__ import annotations

import zlib
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Protocol

from epochseal.errors import ConfigError

_PIECE = 1 << 20


class Stream(Protocol):
    """Bytes in order: a plain file, or what a decompressor gives."""

    def readinto(self, into: memoryview) -> int:
        """Fill the beginning of `into`; how many bytes it is, 0 at the end."""


class Gzip:
    """RFC 1952, any number of members; gives at most as many bytes as are asked for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inflate = zlib.decompressobj(31)
        self._input = b""

    def readinto(self, into: memoryview) -> int:
        """As `Stream`."""
        while True:
            if self._inflate.eof:
                self._input = self._inflate.unused_data or self._file.read(_PIECE)
                if not self._input:
                    return 0
                self._inflate = zlib.decompressobj(31)
            elif not self._input and not (read := self._file.read(_PIECE)):
                raise EOFError("the compressed file is cut off")
            elif not self._input:
                self._input = read
            data = self._inflate.decompress(self._input, len(into))
            self._input = self._inflate.unconsumed_tail
            if data:
                into[: len(data)] = data
                return len(data)


class Zstandard:
    """RFC 8878, any number of frames."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        try:
            import zstandard  # noqa: PLC0415  # an extra, for logs that are compressed with it
        except ImportError as exc:
            raise ConfigError(f"{path} is compressed with zstd", "pip install 'epochseal[zstd]'") from exc
        self._error = zstandard.ZstdError
        self._reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)

    def readinto(self, into: memoryview) -> int:
        """As `Stream`."""
        try:
            return self._reader.readinto(into)
        except self._error as exc:
            raise EOFError(str(exc)) from exc


def open_log(path: Path) -> FileIO:
    """The file, or the compressed one that a living agent put in its place since it was listed."""
    try:
        return path.open("rb", buffering=0)
    except FileNotFoundError:
        for ending in (".gz", ".zst"):
            with suppress(FileNotFoundError):
                return path.with_name(path.name + ending).open("rb", buffering=0)
        raise


def decompressor(path: Path, file: BinaryIO) -> Stream:
    """The stream that undoes the compression which the file's ending names; both give EOFError for damage.

    Raises:
        ConfigError: the file is `.zst`, and the library for it is not installed.
    """
    return Gzip(file) if path.suffix == ".gz" else Zstandard(path, file)
