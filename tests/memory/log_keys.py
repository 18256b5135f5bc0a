"""Every key that sealing a log ever made, computed again from the log with a verifier's credential.

The agent records nothing: the test knows the keys because the key schedule of docs/format.md is known, and
because it holds what the agent must not have.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from epochseal import ratchet
from epochseal.encoding import b64decode
from epochseal.keys import Context, Recoverer
from epochseal.lines import Header, TaggedLine, parse_line
from epochseal.segments import list_segments

_ZERO = bytes(32)


@dataclass(frozen=True)
class LogKey:
    """One key.

    Args:
        name: what it was, in which epoch.
        value: 32 bytes.
        gone: the number of durable seal lines from which on it must not be anywhere.
    """

    name: str
    value: bytes
    gone: int


def count_lines(logdir: Path) -> int:
    """The tagged lines that are durable at this moment."""
    return sum(1 for _ in _tagged(logdir))


def _tagged(logdir: Path) -> Iterator[bytes]:
    for segment in list_segments(logdir).segments:
        assert segment.seal is not None
        for raw in segment.seal.read_bytes().split(b"\n")[:-1]:
            if not raw.startswith(b"note "):
                yield raw


def keys_of_log(logdir: Path, recoverer: Recoverer) -> list[LogKey]:
    """The secret, carry, derivation keys and every ratchet key of every epoch, and the key after the last."""
    keys: list[LogKey] = []
    key, carry = _ZERO, _ZERO
    place = epoch = 0
    for place, raw in enumerate(_tagged(logdir)):
        if raw.startswith(b"epoch "):
            line = parse_line(raw)
            assert isinstance(line, TaggedLine)
            assert isinstance(line.body, Header)
            header, epoch = line.body, line.body.epoch
            if place:
                # The key after `end` is not used: the carry is derived from it at once.
                keys.append(LogKey(f"key after epoch {epoch - 1}", key, place))
                carry = _expand(key, b"epochseal/v1/carry")
            carry = carry if header.link == "carry" else _ZERO
            secret = _recover(header, recoverer)
            # The header is durable only after its epoch's first keys were used and wiped.
            keys.append(LogKey(f"secret of epoch {epoch}", secret, place + 1))
            if carry != _ZERO:
                keys.append(LogKey(f"carry into epoch {epoch}", carry, place + 1))
                sealing = _hkdf_parts(_ZERO, secret, _seal_info(header))
                keys += _named(("extract of carry seal", "carry seal"), sealing, epoch, place)
            info = hashlib.sha256(raw.rpartition(b" ")[0]).digest()
            first = _hkdf_parts(b"epochseal/v1/epoch", secret + carry, info)
            keys += _named(("extract of epoch key",), first[:1], epoch, place)
            key = first[1]
        keys.append(LogKey(f"key of line {place}", key, place + 1))
        key = _expand(key, b"epochseal/v1/next")
    keys.append(LogKey(f"key of line {place + 1}", key, place + 2))
    return keys


def _named(names: tuple[str, ...], values: tuple[bytes, ...], epoch: int, place: int) -> list[LogKey]:
    return [
        LogKey(f"{name} of epoch {epoch}", value, place + 1)
        for name, value in zip(names, values, strict=True)
    ]


def _context(header: Header) -> Context:
    tag = b64decode(header.asked.tag, "asked")
    return Context(header.origin, b64decode(header.log, "log"), header.epoch, tag)


def _recover(header: Header, recoverer: Recoverer) -> bytes:
    into = bytearray(32)
    recoverer.recover(b64decode(header.wrapped, "wrapped"), _context(header), memoryview(into))
    return bytes(into)


def _seal_info(header: Header) -> bytes:
    return b"epochseal/v1/carry-seal" + hashlib.sha256(_context(header).encode()).digest()


def _hkdf_parts(salt: bytes, secret: bytes, info: bytes) -> tuple[bytes, bytes]:
    """The extracted key and the derived one (RFC 5869), for 32 bytes."""
    extracted = hmac.digest(salt, secret, "sha256")
    return extracted, _expand(extracted, info)


def _expand(key: bytes, info: bytes) -> bytes:
    return hmac.digest(key, info + b"\x01", "sha256")


def check_schedule() -> None:
    """The schedule here and the agent's agree, so that what is looked for is what there was."""
    into, scratch = bytearray(32), memoryview(bytearray(32))
    ratchet.derive_epoch_key(memoryview(bytearray(b"s" * 32 + b"c" * 32)), b"payload", memoryview(into))
    info = hashlib.sha256(b"payload").digest()
    assert _hkdf_parts(b"epochseal/v1/epoch", b"s" * 32 + b"c" * 32, info)[1] == into
    ratchet.advance(memoryview(into), scratch)
    assert _expand(bytes(into), b"epochseal/v1/next") == scratch
    ratchet.derive_carry(memoryview(into), scratch)
    assert _expand(bytes(into), b"epochseal/v1/carry") == scratch
