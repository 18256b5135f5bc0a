"""HMAC-SHA-256 whose result is written where the caller says, and nowhere else.

The libraries' functions return a `bytes` object, or fill a buffer from one: a copy that is only dropped, and
lies in the heap until something else is put there (a scan of the agent's memory found the live key in it).
This calls OpenSSL's one-shot `HMAC`, which wipes what it used on its own, in the OpenSSL that Python's
`hashlib` loaded.

A Python that has OpenSSL linked into itself may not show that function. There the library's way is taken, and
its object is wiped while it is still ours alone (docs/limitations.md).

To find the addresses of three places takes longer than the HMAC does. Where they are always the same,
`hmac_between` finds them once.
"""

from __future__ import annotations

import _hashlib
import ctypes
from collections.abc import Callable
from functools import partial

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

HASH_SIZE = 32

_address, _buffer = ctypes.addressof, ctypes.c_char.from_buffer


def _find() -> tuple[Callable[..., object], ctypes.c_void_p] | None:
    try:
        # A symbol is looked up in the module and in all that it was linked with.
        library = ctypes.PyDLL(_hashlib.__file__)
        one_shot, sha256 = library.HMAC, library.EVP_sha256
    except (AttributeError, OSError):
        return None
    sha256.restype = ctypes.c_void_p
    # What it is called with is of C's types already, so it need not be told of them (see `_arguments`).
    one_shot.restype = ctypes.c_void_p
    return one_shot, ctypes.c_void_p(sha256())


_found = _find()


def hmac_into(key: memoryview, message: memoryview, into: memoryview) -> None:
    """HMAC-SHA-256 (RFC 2104) into 32 writable bytes, which may be those of the key or of the message.

    Args:
        key: writable memory of any size.
        message: writable memory of any size.
        into: 32 bytes.

    Raises:
        ValueError: `into` has another size, or OpenSSL refuses.
    """
    if into.nbytes != HASH_SIZE:
        raise ValueError(f"a result of {HASH_SIZE} bytes does not go into {into.nbytes}")
    if _found is None:
        _copy_and_wipe(key, message, into)
        return
    one_shot, sha256 = _found
    if not one_shot(sha256, *_arguments(key, message, into)):
        raise ValueError("OpenSSL computes no HMAC-SHA-256")


def hmac_between(key: memoryview, message: memoryview, into: memoryview) -> Callable[[], None]:
    """What computes `hmac_into` of these three places each time that it is called; it keeps their memory.

    Raises:
        ValueError: `into` has another size; the call itself as `hmac_into`.
    """
    if into.nbytes != HASH_SIZE:
        raise ValueError(f"a result of {HASH_SIZE} bytes does not go into {into.nbytes}")
    if _found is None:
        return partial(_copy_and_wipe, key, message, into)
    one_shot, sha256 = _found
    # While these are there, none of the three can be released or unmapped under its address.
    held = _buffer(key), _buffer(message), _buffer(into)
    compute = partial(one_shot, sha256, *_arguments(key, message, into))

    def hmac(_held: object = held) -> None:
        if not compute():
            raise ValueError("OpenSSL computes no HMAC-SHA-256")

    return hmac


def hmac_of(key: memoryview, message: bytes) -> bytes:
    """HMAC-SHA-256 of which the result is no secret: OpenSSL's one-shot, so nothing of the key is left."""
    return _hashlib.hmac_digest(key, message, "sha256")


def _arguments(key: memoryview, message: memoryview, into: memoryview) -> tuple[object, ...]:
    """What the one-shot takes after the digest; the length of its result is not asked for."""
    # (const EVP_MD *, const void *key, int, const unsigned char *data, size_t, unsigned char *md, unsigned *)
    pointer = ctypes.c_void_p
    return (
        pointer(_address(_buffer(key))),
        ctypes.c_int(key.nbytes),
        pointer(_address(_buffer(message))),
        ctypes.c_size_t(message.nbytes),
        pointer(_address(_buffer(into))),
        pointer(None),
    )


def _copy_and_wipe(key: memoryview, message: memoryview, into: memoryview) -> None:
    mac = HMAC(key, SHA256())
    mac.update(message)
    result = mac.finalize()
    into[:] = result
    # No other name and no cache has this object, so nothing can see that its content changes.
    ctypes.memset(ctypes.c_char_p(result), 0, HASH_SIZE)
