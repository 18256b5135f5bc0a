"""Cosignatures of witnesses: C2SP tlog-cosignature, type 0x04, timestamped Ed25519 (docs/format.md, 8.7).

A witness says with one: at that time, this was the largest tree of this log that I had seen, and it had grown
from the one that I saw before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from epochseal.encoding import MAX_INT, b64decode, b64encode
from epochseal.errors import FormatError, VerificationError
from epochseal.format.note import Note, Signature, VerifierKey
from epochseal.keys import PublicKey

_TYPE = b"\x04"
_KEY_SIZE = 32
_TIME_SIZE = 8
_SIGNATURE_SIZE = 64
_VKEY = re.compile(r"([^+]+)\+([0-9a-f]{8})\+(.+)")


class WitnessKey(msgspec.Struct, frozen=True):
    """The named public key of a witness: 32 raw bytes of Ed25519.

    Raises:
        FormatError: a name that notes cannot hold, or a key of another size.
    """

    name: str
    data: bytes

    def __post_init__(self) -> None:
        VerifierKey(self.name, PublicKey("ed25519", self.data))

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that name this key in a signature line; those of a log's key are others."""
        return sha256(self.name.encode() + b"\n" + _TYPE + self.data).digest()[:4]

    @property
    def vkey(self) -> str:
        """The one text form of this key: `NAME+ID+BASE64` with type 0x04."""
        return f"{self.name}+{self.key_id.hex()}+{b64encode(_TYPE + self.data)}"


def parse_witness_vkey(text: str) -> WitnessKey:
    """Read a vkey of type 0x04.

    Raises:
        FormatError: another form or type, or an id that belongs to another key.
    """
    if (match := _VKEY.fullmatch(text)) is None:
        raise FormatError(f"not a witness key of the form NAME+ID+KEY: {text[:80]!r}")
    name, _, encoded = match.groups()
    raw = b64decode(encoded, "witness key", 1 + _KEY_SIZE if encoded.startswith("B") else None)
    if raw[:1] != _TYPE:
        raise FormatError(f"key of witness {name} has type 0x{raw[:1].hex()} instead of 0x04")
    key = WitnessKey(name, raw[1:])
    if key.vkey != text:
        raise FormatError(f"witness key of {name} has the id {key.key_id.hex()}, its text says another")
    return key


def cosign(text: str, time: int, key: WitnessKey, sign: Callable[[bytes], bytes]) -> Signature:
    """The cosignature over the text of a checkpoint at `time` (seconds since 1970).

    Raises:
        VerificationError: what `sign` returned is not by `key`.
        FormatError: a time outside 0 to 2**63-1.
    """
    if not 0 <= time <= MAX_INT:
        raise FormatError(f"a cosignature cannot be of the time {time}")
    signature = sign(_message(text, time))
    made = Signature(key.name, key.key_id, time.to_bytes(_TIME_SIZE, "big") + signature)
    verify_cosignature(made, text, key)
    return made


def verify_cosignature(signature: Signature, text: str, key: WitnessKey) -> int:
    """Check one cosignature by `key` over a checkpoint's text.

    Returns:
        When it was made, in seconds since 1970.

    Raises:
        VerificationError: it is of another form, or does not hold.
    """
    time = int.from_bytes(signature.data[:_TIME_SIZE], "big")
    if len(signature.data) != _TIME_SIZE + _SIGNATURE_SIZE or time > MAX_INT:
        raise VerificationError(f"cosignature by {key.name} is not a time and 64 bytes")
    try:
        loaded = Ed25519PublicKey.from_public_bytes(key.data)
        loaded.verify(signature.data[_TIME_SIZE:], _message(text, time))
    except InvalidSignature as exc:
        raise VerificationError(f"cosignature by {key.name}+{key.key_id.hex()} does not hold") from exc
    return time


def find_cosignatures(note: Note, keys: Iterable[WitnessKey]) -> dict[WitnessKey, tuple[Signature, int]]:
    """The cosignatures of known witnesses on a note, each with its time in seconds; others are ignored.

    Raises:
        VerificationError: one by a known witness does not hold, or a witness cosigned twice.
    """
    known = {(key.name, key.key_id): key for key in keys}
    found: dict[WitnessKey, tuple[Signature, int]] = {}
    for signature in note.signatures:
        if (key := known.get((signature.name, signature.key_id))) is None:
            continue
        if key in found:
            raise VerificationError(f"note has two cosignatures by {key.name}+{key.key_id.hex()}")
        found[key] = signature, verify_cosignature(signature, note.text, key)
    return found


def _message(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()
