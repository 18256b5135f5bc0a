"""Tags of many lines that follow each other, for a verifier: twice as fast as one after the other in a page.

HMAC is two SHA-256 over a key that was padded by a table (RFC 2104). The keys pass through Python's objects
on the way, which an agent's never do. Every object that is a key is kept until the end, and set to zero
before its memory is given back. A padded key lives for one call: the digest that comes next has its size, and
CPython puts it into the block that was freed last. What is left is the one key in the caller's page;
tests/memory looks for all others.
"""

from __future__ import annotations

import ctypes
import os
from array import array
from collections.abc import Sequence
from hashlib import sha256
from itertools import repeat

from epochseal.custody.ratchet import KEY_SIZE, NEXT_LABEL, TAG_LABEL
from epochseal.errors import StorageError

_INNER = bytes(number ^ 0x36 for number in range(256))
_OUTER = bytes(number ^ 0x5C for number in range(256))
# A key has half of SHA-256's block; the other half of the padded key is the same for all.
_INNER_REST = bytes([0x36]) * 32
_OUTER_REST = bytes([0x5C]) * 32

_CONTENT = bytes.__basicsize__ - 1
"""Where the content of a bytes object begins, behind its address: CPython lays them out so."""
_FEW = 8
_MOST_AT_ONCE = 1024  # UIO_MAXIOV, on every Linux
_readv = ctypes.CDLL(None, use_errno=True).readv
_readv.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
_readv.restype = ctypes.c_ssize_t


def tag_lines(key: memoryview, previous_tag: bytes, leaves: Sequence[bytes]) -> list[bytes]:
    """The 32-byte tags of lines with these leaves; the key becomes that of the line behind them.

    Args:
        key: 32 bytes, the key of the first line.
        previous_tag: that of the line before it.
        leaves: 32 bytes each.

    Raises:
        StorageError: /dev/zero cannot be read; the key may be that of any of the lines then.
    """
    tags, tag, current = [], previous_tag, bytes(key)
    keys = [current]
    try:
        for leaf in leaves:
            # A padded key is a block, hashed once for both of its messages. The library wipes its copies.
            inner = sha256(current.translate(_INNER))
            inner.update(_INNER_REST)
            of_tag = inner.copy()
            of_tag.update(TAG_LABEL + tag + leaf)
            outer = sha256(current.translate(_OUTER))
            outer.update(_OUTER_REST)
            whole = outer.copy()
            whole.update(of_tag.digest())
            tags.append(tag := whole.digest())
            inner.update(NEXT_LABEL)
            outer.update(inner.digest())
            keys.append(current := outer.digest())
        key[:] = current
    finally:
        _wipe(keys)
    return tags


def step_key(key: memoryview, count: int) -> None:
    """Make the 32-byte key that of so many lines later.

    Raises:
        StorageError: as `tag_lines`.
    """
    current = bytes(key)
    keys = [current]
    try:
        for _ in range(count):
            (inner := sha256(current.translate(_INNER))).update(_INNER_REST + NEXT_LABEL)
            digest = inner.digest()
            (outer := sha256(current.translate(_OUTER))).update(_OUTER_REST + digest)
            keys.append(current := outer.digest())
        key[:] = current
    finally:
        _wipe(keys)


def _wipe(keys: Sequence[bytes]) -> None:
    """Set objects of 32 bytes to zero where they are; nobody else may have one of them.

    One call for all, which is a third of what a call for each takes: the kernel's zeros are read into them.
    For a few keys the file alone would cost more than that.
    """
    if len(keys) <= _FEW:
        for item in keys:
            ctypes.memset(id(item) + _CONTENT, 0, KEY_SIZE)
        return
    places = array("Q", map(_CONTENT.__add__, map(id, keys)))
    vectors = array("Q", repeat(KEY_SIZE, 2 * len(places)))
    vectors[::2] = places
    start, size = vectors.buffer_info()[0], vectors.itemsize
    try:
        zeros = os.open("/dev/zero", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise StorageError(f"cannot open /dev/zero: {exc.strerror}") from exc
    try:
        for first in range(0, len(places), _MOST_AT_ONCE):
            count = min(len(places) - first, _MOST_AT_ONCE)
            if _readv(zeros, start + 2 * first * size, count) != count * KEY_SIZE:
                raise StorageError(f"cannot read /dev/zero: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(zeros)
