"""Every form in which a 32-byte key can lie in memory, as fixed byte strings to look for.

| form      | where it comes from                                                                            |
|-----------|------------------------------------------------------------------------------------------------|
| raw       | a copy                                                                                         |
| hex, HEX  | a number or a log line                                                                         |
| base64    | JSON of a backend, at each of the three alignments                                             |
| ipad opad | the key blocks of HMAC (RFC 2104): the key XOR 0x36.. and 0x5c..                               |
| midstate  | SHA-256's state after such a block (FIPS 180-4), words in the machine's or in network order    |

Half of a key is counted as the key: an allocator that takes a block back overwrites its first 16 bytes. So of
each form both halves are looked for, of 16 bytes or more: nothing else is equal to them by chance.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

KEY_SIZE = 32
FORMS = ("raw", "hex", "HEX", "base64", "ipad", "opad", "midstate")
_Bytes = npt.NDArray[np.uint8]
_Numbers = npt.NDArray[np.int64]
_Words = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Patterns:
    """The halves to look for, those of one length in one array.

    Args:
        keys: the names of the keys.
        parts: for each length of a half: rows of bytes, and for each row the number of its key, how much
            of the form stands before it, and the form.
    """

    keys: tuple[str, ...]
    parts: dict[int, tuple[_Bytes, _Numbers, _Numbers, tuple[str, ...]]]


def make_patterns(keys: Sequence[tuple[str, bytes]]) -> Patterns:
    """All forms of all keys, each key 32 bytes with a name."""
    raw = np.frombuffer(b"".join(key for _, key in keys), np.uint8).reshape(-1, KEY_SIZE)
    forms: list[tuple[str, _Bytes]] = [("raw", raw), ("hex", _hex(raw)), ("HEX", _upper(_hex(raw)))]
    forms += [("base64", _base64(raw, shift)) for shift in range(3)]
    for name, pad in (("ipad", 0x36), ("opad", 0x5C)):
        block = np.full((len(raw), 64), pad, np.uint8)
        block[:, :KEY_SIZE] ^= raw
        forms.append((name, block[:, :KEY_SIZE]))
        state = _compress(block)
        forms += [("midstate", _as_bytes(state, order)) for order in ("<u4", ">u4")]
    gathered: dict[int, list[tuple[_Bytes, int, str]]] = {}
    for name, rows in forms:
        half = rows.shape[1] // 2
        for lead in (0, rows.shape[1] - half):
            gathered.setdefault(half, []).append((rows[:, lead : lead + half], lead, name))
    parts = {}
    for size, items in gathered.items():
        owners = np.concatenate([np.arange(len(raw)) for _ in items])
        leads = np.repeat([lead for _, lead, _ in items], len(raw))
        names = tuple(name for _, _, name in items for _ in range(len(raw)))
        parts[size] = (
            np.ascontiguousarray(np.concatenate([rows for rows, _, _ in items])),
            owners,
            leads,
            names,
        )
    return Patterns(tuple(name for name, _ in keys), parts)


def _hex(raw: _Bytes) -> _Bytes:
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    return np.stack([digits[raw >> 4], digits[raw & 15]], axis=2).reshape(len(raw), -1)


def _upper(text: _Bytes) -> _Bytes:
    return np.where(text >= ord("a"), text - 32, text).astype(np.uint8)


def _base64(raw: _Bytes, shift: int) -> _Bytes:
    """The characters that depend on the key alone, when it begins `shift` bytes after a multiple of 3."""
    first = -(-8 * shift // 6)
    last = 8 * (shift + KEY_SIZE) // 6
    lines = [base64.b64encode(bytes(shift) + key.tobytes())[first:last] for key in raw]
    return np.frombuffer(b"".join(lines), np.uint8).reshape(len(raw), -1)


def _as_bytes(state: _Words, order: str) -> _Bytes:
    return np.ascontiguousarray(state.astype(order)).view(np.uint8).reshape(len(state), -1)


_PRIMES = [p for p in range(2, 312) if all(p % q for q in range(2, int(p**0.5) + 1))]


def _root(number: int, power: int) -> int:
    """The first 32 bits of the fraction of a square or cube root (FIPS 180-4, 4.2.2 and 5.3.3)."""
    scaled = number << (32 * power)
    low, high = 0, 1 << 40
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**power <= scaled else (low, middle)
    return low & 0xFFFFFFFF


def _turn(words: _Words, count: int) -> _Words:
    return (words >> np.uint32(count)) | (words << np.uint32(32 - count))


def _compress(blocks: _Bytes, before: _Words | None = None) -> _Words:
    """SHA-256's state after one more block each (FIPS 180-4, 6.2.2), for many at once."""
    schedule = [np.ascontiguousarray(blocks).view(">u4")[:, place].astype(np.uint32) for place in range(16)]
    for place in range(16, 64):
        early, later = schedule[place - 15], schedule[place - 2]
        small = _turn(early, 7) ^ _turn(early, 18) ^ (early >> np.uint32(3))
        large = _turn(later, 17) ^ _turn(later, 19) ^ (later >> np.uint32(10))
        schedule.append(schedule[place - 16] + small + schedule[place - 7] + large)
    start = [np.full(len(blocks), _root(prime, 2), np.uint32) for prime in _PRIMES[:8]]
    if before is not None:
        start = [before[:, place] for place in range(8)]
    a, b, c, d, e, f, g, h = start
    for place in range(64):
        constant = np.uint32(_root(_PRIMES[place], 3))
        chosen = (e & f) ^ (~e & g)
        one = h + (_turn(e, 6) ^ _turn(e, 11) ^ _turn(e, 25)) + chosen + constant + schedule[place]
        two = (_turn(a, 2) ^ _turn(a, 13) ^ _turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))
        a, b, c, d, e, f, g, h = one + two, a, b, c, d + one, e, f, g
    return np.stack([old + new for old, new in zip(start, (a, b, c, d, e, f, g, h), strict=True)], axis=1)
