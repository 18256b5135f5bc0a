"""Every key that sealing a log ever made, computed again from the log with a verifier's credential.

The agent records nothing: the test knows the keys because the key schedule of docs/format.md is known, and
because it holds what the agent must not have.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from epochseal.custody import ratchet
from epochseal.encoding import b64decode
from epochseal.format.seal_lines import Header, TaggedLine, parse_line
from epochseal.keys import Context, Recoverer, recover_one
from epochseal.storage.segments import list_segments

_ZERO = bytes(32)
_NEVER = 1 << 62


@dataclass(frozen=True)
class LogKey:
    """One key.

    Args:
        name: what it was, in which epoch.
        value: 32 bytes.
        gone: the number of durable seal lines from which on it must not be anywhere.
        epoch: the epoch that it belongs to.
    """

    name: str
    value: bytes
    gone: int
    epoch: int


class Recovered:
    """A verifier's access that asks its key service once for each secret."""

    def __init__(self, recoverer: Recoverer) -> None:
        self._recoverer = recoverer
        self._known: dict[tuple[bytes, bytes], bytes] = {}

    def secret(self, wrapped: bytes, context: Context) -> bytes:
        """The 32 bytes in a wrapped secret."""
        call = wrapped, context.encode()
        if call not in self._known:
            into = bytearray(32)
            recover_one(self._recoverer, wrapped, context, memoryview(into))
            self._known[call] = bytes(into)
        return self._known[call]


def count_lines(logdir: Path) -> int:
    """The tagged lines that are durable at this moment."""
    return sum(1 for _ in _tagged(logdir))


def _tagged(logdir: Path) -> Iterator[bytes]:
    for segment in list_segments(logdir).segments:
        if segment.seal is None:
            continue  # the agent is about to make the pair: no line of it is durable
        for raw in segment.seal.read_bytes().split(b"\n")[:-1]:
            if not raw.startswith(b"note "):
                yield raw


def headers(logdir: Path) -> Iterator[Header]:
    """The epoch lines that are durable at this moment."""
    for raw in _tagged(logdir):
        if raw.startswith(b"epoch "):
            yield _header(raw)


def _header(raw: bytes) -> Header:
    line = parse_line(raw)
    assert isinstance(line, TaggedLine)
    assert isinstance(line.body, Header)
    return line.body


def keys_of_log(logdir: Path, recovered: Recovered) -> list[LogKey]:
    """The secret, carry, derivation keys and every ratchet key of every epoch, and the key after the last."""
    keys: list[LogKey] = []
    key, carry = _ZERO, _ZERO
    place, epoch, raw = 0, 0, b""
    for place, raw in enumerate(_tagged(logdir)):
        if raw.startswith(b"epoch "):
            header = _header(raw)
            epoch = header.epoch
            if place:
                # The key after `end` is not used: the carry is derived from it at once.
                keys.append(LogKey(f"key after epoch {epoch - 1}", key, place, epoch - 1))
                carry = _expand(key, b"epochseal/v1/carry")
            carry = carry if header.link == "carry" else _ZERO
            secret = recovered.secret(b64decode(header.wrapped, "wrapped"), _context(header))
            # The header is durable only after its epoch's first keys were used and wiped.
            keys.append(LogKey(f"secret of epoch {epoch}", secret, place + 1, epoch))
            if carry != _ZERO:
                # In memory; a file that hands it on keeps it until one more line is durable.
                keys.append(LogKey(f"carry into epoch {epoch}", carry, place + 1, epoch))
                sealing = _hkdf_parts(_ZERO, secret, _seal_info(header))
                keys += _named(("extract of carry seal", "carry seal"), sealing, epoch, place)
            info = hashlib.sha256(raw.rpartition(b" ")[0]).digest()
            first = _hkdf_parts(b"epochseal/v1/epoch", secret + carry, info)
            keys += _named(("extract of epoch key",), first[:1], epoch, place)
            key = first[1]
        keys.append(LogKey(f"key of line {place}", key, place + 1, epoch))
        key = _expand(key, b"epochseal/v1/next")
    keys.append(LogKey(f"key of line {place + 1}", key, place + 2, epoch))
    if raw.startswith(b"end "):
        # It waits for the next epoch, in the page or in its file; it is nobody's to tell.
        carry = _expand(key, b"epochseal/v1/carry")
        keys.append(LogKey(f"carry out of epoch {epoch}", carry, _NEVER, epoch))
    return keys


def keys_of_record(record: Path, recovered: Recovered, known: Sequence[LogKey]) -> list[LogKey]:
    """The secrets that were issued for no epoch of the log, from the record of tests.memory.program.

    One of an epoch that the log has already, by another secret, must be gone. One of the next may come yet,
    or waits until what announces it is signed.
    """
    values = {key.value for key in known}
    last = max((key.epoch for key in known), default=-1)
    keys = []
    for number, line in enumerate(record.read_text(encoding="utf-8").splitlines()):
        call = json.loads(line)
        context = Context(
            call["origin"], b64decode(call["log"], "log"), call["epoch"], b64decode(call["prev"], "prev")
        )
        secret = recovered.secret(b64decode(call["wrapped"], "wrapped"), context)
        if secret not in values:
            gone = 0 if context.epoch <= last else _NEVER
            keys.append(LogKey(f"issued secret {number}", secret, gone, context.epoch))
    return keys


def _named(names: tuple[str, ...], values: tuple[bytes, ...], epoch: int, place: int) -> list[LogKey]:
    return [
        LogKey(f"{name} of epoch {epoch}", value, place + 1, epoch)
        for name, value in zip(names, values, strict=True)
    ]


def _context(header: Header) -> Context:
    tag = b64decode(header.asked.tag, "asked")
    return Context(header.origin, b64decode(header.log, "log"), header.epoch, tag)


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
