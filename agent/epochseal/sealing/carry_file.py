"""The carry of a clean close, on disk until the log goes on: whoever reads it can go on with this log, once.

The file is 152 bytes: `epochseal carry1` (16) · the log's id (32) · tree size (8, little-endian) · root (32)
· the carry (32) · SHA-256 of the 120 bytes before. Size and root are those of the tree that the close ended.
The sum is there because a rotten carry would make an epoch that looks forged. The carry itself goes between
the file and a locked page, and is never an object of this process.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from epochseal.errors import StorageError
from epochseal.storage.durable import DiskFullError, sync_directory
from epochseal.storage.own_files import OWN_MODE

_MAGIC = b"epochseal carry1"
_HEAD = struct.Struct("<16s32sQ32s")
_CARRY = 32
_SIZE = _HEAD.size + _CARRY + 32
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class CarriedClose:
    """The close that a carry belongs to: the log's id, and size and root of the tree that it ended."""

    log: bytes
    size: int
    root: bytes


def write_carry(path: Path, close: CarriedClose, carry: memoryview) -> None:
    """Write the file, durably; one that is there already is destroyed first.

    Raises:
        StorageError: it cannot be written; then none is left.
    """
    destroy_carry(path)
    head = _HEAD.pack(_MAGIC, close.log, close.size, close.root)
    digest = hashlib.sha256(head)
    digest.update(carry)
    try:
        with _translated(path), _opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
            _write_all(descriptor, (head, carry, digest.digest()))
            os.fsync(descriptor)
    except BaseException:
        with contextlib.suppress(StorageError):
            destroy_carry(path)
        raise
    sync_directory(path.parent)


def read_carry(path: Path, into: memoryview) -> CarriedClose | None:
    """Read the carry into 32 bytes of a page, and return what it belongs to.

    Nothing is read, and `into` is zero, where there is no whole file of ours alone.

    Raises:
        StorageError: it cannot be read.
    """
    head, digest = bytearray(_HEAD.size), bytearray(32)
    into[:] = bytes(_CARRY)
    try:
        with _translated(path), _opened(path, os.O_RDONLY) as descriptor:
            found = os.fstat(descriptor)
            if (
                not stat.S_ISREG(found.st_mode)
                or found.st_size != _SIZE
                or found.st_uid not in {0, os.geteuid()}
                or found.st_mode & ~OWN_MODE & 0o777
                or os.preadv(descriptor, [head, into, digest], 0) != _SIZE
            ):
                into[:] = bytes(_CARRY)
                return None
    except FileNotFoundError:
        return None
    whole = hashlib.sha256(head)
    whole.update(into)
    magic, log, size, root = _HEAD.unpack(head)
    if magic != _MAGIC or whole.digest() != digest:
        into[:] = bytes(_CARRY)
        return None
    return CarriedClose(log, size, root)


def destroy_carry(path: Path) -> None:
    """Overwrite the carry and delete the file, durably; nothing where there is none.

    What stands in its place and is no regular file is deleted as it is. A file system that does not write in
    place (btrfs, a log-structured flash) keeps the old blocks for a while.

    Raises:
        StorageError: it cannot be overwritten or deleted.
    """
    try:
        with _translated(path):
            if stat.S_ISREG(path.lstat().st_mode):
                with _opened(path, os.O_WRONLY) as descriptor:
                    size = os.fstat(descriptor).st_size
                    os.pwrite(descriptor, bytes(min(size, _SIZE)), 0)
                    os.fdatasync(descriptor)
            path.unlink()
    except FileNotFoundError:
        return
    sync_directory(path.parent)


def _write_all(descriptor: int, parts: Sequence[bytes | memoryview]) -> None:
    at = 0
    for part in parts:
        at += os.pwrite(descriptor, part, at)
    if at != _SIZE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | _FLAGS, OWN_MODE)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as exc:
        kind = DiskFullError if exc.errno in _NO_ROOM else StorageError
        raise kind(f"cannot use {path}: {exc.strerror}") from exc
