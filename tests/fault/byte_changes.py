"""A byte of a log is changed, and put back, while an agent may compress the file that it lies in."""

from __future__ import annotations

import gzip
import random
import time
from dataclasses import dataclass
from pathlib import Path

_MARGIN = 400
"""So many bytes at the end of a live log's file are left alone: they may not be sealed yet."""
_SETTLED = 1.0
_GZIP = ".gz"


@dataclass(frozen=True)
class ByteChange:
    """One byte of a segment's file: what it was, and is to be again. Of a compressed file, of its content."""

    path: Path
    at: int
    before: int

    def put_back(self) -> None:
        """Again and again, until it stays: a compression under way writes what it has read before."""
        quiet = time.monotonic()
        while time.monotonic() < quiet + _SETTLED:
            if (path := present(self.path)) is not None and content(path)[self.at] != self.before:
                _write(path, self.at, self.before)
                quiet = time.monotonic()
            time.sleep(0.05)


def change_byte(log: Path, chance: random.Random, *, live: bool) -> ByteChange:
    """Change one byte of a log: of a live one every second time of its last files."""
    while True:
        files = sorted((log / "segments").iterdir())
        path = chance.choice(files[-4:] if live and chance.random() < 0.5 else files)
        try:
            held = content(path)
        except FileNotFoundError:  # compressed meanwhile
            continue
        size = len(held) - (_MARGIN if live else 0)
        if size > 0:
            at = chance.randrange(size)
            _write(path, at, held[at] ^ 1)
            return ByteChange(path, at, held[at])
        time.sleep(0.05)


def compress_some(log: Path) -> None:
    """Every second log file of a closed log, as an agent does it."""
    for path in sorted((log / "segments").glob("*.log"))[::2]:
        path.with_name(path.name + _GZIP).write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


def present(path: Path) -> Path | None:
    """The file, as it is now: compressed or not; None if it has expired."""
    plain = path.with_name(path.name.removesuffix(_GZIP))
    return next((item for item in (path, plain.with_name(plain.name + _GZIP), plain) if item.exists()), None)


def content(path: Path) -> bytes:
    """What a file of a segment holds, decompressed."""
    raw = path.read_bytes()
    return gzip.decompress(raw) if path.suffix == _GZIP else raw


def _write(path: Path, at: int, byte: int) -> None:
    if path.suffix != _GZIP:
        with path.open("r+b") as file:
            file.seek(at)
            file.write(bytes([byte]))
        return
    held = bytearray(content(path))
    held[at] = byte
    # Beside `segments`, where nobody takes it for a part of the log.
    made = path.parent.parent / ".changed"
    made.write_bytes(gzip.compress(bytes(held)))
    made.replace(path)
