"""Logs whose blocks, or whose compressed log files, ask for as much reading as their bytes can buy.

Each function makes one of about `size` bytes in a folder, and gives its path.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

from tests.bench.bulk import SOURCE, Bulk, started
from tests.reference.keys import Keys, text
from tests.reference.notes import sha

GIB = 1 << 30
_SPARSE_BLOCK = f"1 0 {GIB}"


# --- blocks and the log file ----------------------------------------------------------------------------


def overlapping_sparse(folder: Path, keys: Keys, size: int) -> Path:
    """Each block is all of a log file of 1 GiB that takes no room on the disk."""
    log = Bulk(folder, keys)
    log.begin("genesis")
    digest = text(sha(b"x"))
    while log.room < size:
        log.line("block", f"{log.entries} {_SPARSE_BLOCK} {log.time} {digest} {SOURCE}")
        log.entries += 1
    path = log.done()
    os.truncate(next((path / "segments").glob("*.log")), GIB)
    return path


def overlapping_true(folder: Path, keys: Keys, size: int) -> Path:
    """Half of it is entries; each block is all of them, and its digest holds."""
    data = b"x" * 99 + b"\n"
    data *= size // 2 // len(data)
    log = started(folder, keys, entry=data)
    fields = f"0 {len(data)} {log.time} {text(sha(data))}"
    while log.room < size:
        log.line("block", f"{log.entries} 1 {fields} {SOURCE}")
        log.entries += 1
    return log.done()


def _moved(folder: Path, keys: Keys, size: int, block: int, line: int) -> Path:
    """Every block stands nowhere, and the file has grown: each is looked for around its place."""
    log = Bulk(folder, keys)
    log.begin("genesis")
    data = b"a" * (line - 1) + b"\n"
    data *= block // line
    while log.room < size:
        log.block(data)
    path = log.done()
    file = next((path / "segments").glob("*.log"))
    file.write_bytes((b"b" * (line - 1) + b"\n") * (file.stat().st_size // line + 20_000 // line))
    return path


def moved_small_blocks(folder: Path, keys: Keys, size: int) -> Path:
    """Blocks of 12 bytes in lines of 2."""
    return _moved(folder, keys, size, 12, 2)


def moved_large_blocks(folder: Path, keys: Keys, size: int) -> Path:
    """Blocks of 16 KiB in lines of 2 bytes."""
    return _moved(folder, keys, size, 16 << 10, 2)


def _packed(folder: Path, keys: Keys, ending: str, packed: bytes, plain: int) -> Path:
    log = Bulk(folder, keys)
    log.begin("genesis")
    log.line("block", f"0 1 0 {plain} {log.time} {text(sha(b'x'))} {SOURCE}")
    log.entries += 1
    path = log.done()
    file = next((path / "segments").glob("*.log"))
    file.with_name(f"{file.name}.{ending}").write_bytes(packed)
    file.unlink()
    return path


def gzip_empty_members(folder: Path, keys: Keys, size: int) -> Path:
    """A member without content takes 20 bytes."""
    member = gzip.compress(b"", mtime=0)
    return _packed(folder, keys, "gz", member * (size // len(member)), 1)


def gzip_bomb(folder: Path, keys: Keys, size: int) -> Path:
    """Zeros, 1030 times as many as the file has bytes, in one block."""
    member = gzip.compress(bytes(1 << 26), mtime=0)
    count = size // len(member)
    return _packed(folder, keys, "gz", member * count, count << 26)


def zstd_empty_frames(folder: Path, keys: Keys, size: int) -> Path:
    """A frame without content takes 9 bytes."""
    frame = bytes.fromhex("28b52ffd2000010000")
    return _packed(folder, keys, "zst", frame * (size // len(frame)), 1)


def zstd_bomb(folder: Path, keys: Keys, size: int) -> Path:
    """Blocks of 128 KiB of one byte, in 4 bytes each, with the widest window that is read."""
    # Magic number, descriptor without sizes, a window of 128 MiB.
    head = bytes.fromhex("28b52ffd00") + bytes([17 << 3])
    count = (size - len(head)) // 4
    block = (131072 << 3 | 1 << 1).to_bytes(3, "little") + b"\n"
    last = (131072 << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\n"
    return _packed(folder, keys, "zst", head + block * (count - 1) + last, count << 17)


def bomb_segments(folder: Path, keys: Keys, size: int) -> Path:
    """Many segments, each a small bomb of its own."""
    log = Bulk(folder, keys)
    log.begin("genesis", signed=False)
    head = bytes.fromhex("28b52ffd00") + bytes([17 << 3])
    block, last = ((131072 << 3 | 1 << 1 | end).to_bytes(3, "little") + b"\n" for end in (0, 1))
    packed = head + block * 255 + last
    while log.room < size:
        log.line("block", f"{log.entries} 1 0 {256 << 17} {log.time} {text(sha(b'x'))} {SOURCE}")
        log.entries += 1
        log.kept[log.file("log.zst")] += packed
        del log.kept[log.file("log")]
        log.turn("segment", signed=False)
    return log.done()


BLOCKS: tuple[Callable[[Path, Keys, int], Path], ...] = (
    overlapping_sparse,
    overlapping_true,
    moved_small_blocks,
    moved_large_blocks,
    gzip_empty_members,
    gzip_bomb,
    zstd_empty_frames,
    zstd_bomb,
    bomb_segments,
)
