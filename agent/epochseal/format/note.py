"""Signed notes and checkpoints: C2SP signed-note and tlog-checkpoint (docs/format.md, "Checkpoints").

A note is text, an empty line and signature lines. Its text means nothing until `verify_note` has returned.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from msgspec.structs import force_setattr

from epochseal.encoding import MAX_INT, UNSEEN, b64decode, b64encode, parse_decimal
from epochseal.errors import ConfigError, FormatError, VerificationError
from epochseal.keys import PublicKey

_Algorithm = Literal["ed25519", "ecdsa-p256"]

MAX_NOTE = 1_000_000
"""A note is at most this long, in bytes."""
MAX_SIGNATURES = 100
MAX_NAME = 255
"""A key name or an origin is at most this long, in bytes of UTF-8."""

_KEY_ID_SIZE = 4
_ROOT_SIZE = 32
_P256_POINT_SIZE = 65
_TYPES: dict[_Algorithm, bytes] = {"ed25519": b"\x01", "ecdsa-p256": b"\x02"}
_ALGORITHMS: dict[bytes, _Algorithm] = {b"\x01": "ed25519", b"\x02": "ecdsa-p256"}
_COSIGNATURE_TYPE = b"\x04"
_VKEY = re.compile(r"([^+]+)\+([0-9a-f]{8})\+(.+)")
_DASH = "\u2014 "
# Lone surrogates are no text at all: they have no UTF-8 form.
_NOT_IN_NOTES = re.compile("[\x00-\x09\x0b-\x1f\ud800-\udfff]")


class UnknownKey(VerificationError):
    """A note bears no signature by any of the keys that the caller knows."""


class VerifierKey(msgspec.Struct, frozen=True):
    """A named public key, written as a vkey: `NAME+ID+BASE64` (C2SP signed-note).

    Raises:
        FormatError: a name that notes cannot hold, or a point that is not on the curve.
    """

    name: str
    key: PublicKey
    key_id: bytes = b""
    """The 4 bytes that name this key in a signature line: an identifier, too short for a fingerprint. It
    follows from the other two; whatever is given for it does not count."""

    def __post_init__(self) -> None:
        _check_name(self.name, "key name")
        _load(self.key)
        hashed = self.key.data
        # C2SP gives type 0x02 an id over the key alone; the name still counts: keys are found by both.
        if self.key.algorithm == "ed25519":
            hashed = self.name.encode() + b"\n" + _TYPES["ed25519"] + hashed
        force_setattr(self, "key_id", sha256(hashed).digest()[:_KEY_ID_SIZE])

    def __hash__(self) -> int:
        # Asked for each note several times: what is equal has the same id.
        return hash((self.name, self.key_id))

    @property
    def vkey(self) -> str:
        """The one text form of this key."""
        return f"{self.name}+{self.key_id.hex()}+{b64encode(_TYPES[self.key.algorithm] + self.key.data)}"


@lru_cache(maxsize=1 << 14)  # a log names a key again and again, and may go through thousands
def parse_vkey(text: str) -> VerifierKey:
    """Read a vkey of type 0x01 (Ed25519, 32 bytes) or 0x02 (ECDSA P-256, SubjectPublicKeyInfo DER).

    Raises:
        FormatError: another form or type, an id that belongs to another key, or bytes that are no such key.
    """
    if (match := _VKEY.fullmatch(text)) is None:
        raise FormatError(f"not a verifier key of the form NAME+ID+KEY: {text[:80]!r}")
    name, key_id, encoded = match.groups()
    raw = b64decode(encoded, "verifier key")
    if raw[:1] == _COSIGNATURE_TYPE:
        raise FormatError("verifier key has type 0x04: it is a witness's, and cannot be the key of a log")
    if (algorithm := _ALGORITHMS.get(raw[:1])) is None:
        raise FormatError(
            f"verifier key has the unsupported type 0x{raw[:1].hex()}", "use Ed25519 or ECDSA P-256"
        )
    key = VerifierKey(name, PublicKey(algorithm, raw[1:]))
    if key.vkey != text:
        raise FormatError(f"verifier key of {name} has the id {key.key_id.hex()}, its text says {key_id}")
    return key


class Signature(msgspec.Struct, frozen=True):
    """One signature line: key name, 4-byte key id, and the bytes that the algorithm made."""

    name: str
    key_id: bytes
    data: bytes

    def __post_init__(self) -> None:
        _check_name(self.name, "name of a signature")
        if len(self.key_id) != _KEY_ID_SIZE or not self.data:
            raise FormatError(f"signature of {self.name} is too short")


class Note(msgspec.Struct, frozen=True):
    """A text that ends in a newline, and its signatures; neither is verified by being read.

    Raises:
        FormatError: text that a note cannot hold, or a number of signatures other than 1 to `MAX_SIGNATURES`.
    """

    text: str
    signatures: tuple[Signature, ...]

    def __post_init__(self) -> None:
        if not self.text.strip("\n"):
            raise FormatError("note has no text")
        if not self.text.endswith("\n"):
            raise FormatError("text of a note does not end in a newline")
        if (match := _NOT_IN_NOTES.search(self.text)) is not None:
            raise FormatError(f"text of a note holds U+{ord(match[0]):04X}")
        if not 1 <= len(self.signatures) <= MAX_SIGNATURES:
            raise FormatError(f"note has {len(self.signatures)} signatures, not 1 to {MAX_SIGNATURES}")

    def encode(self) -> bytes:
        """The note as it is stored and sent.

        Raises:
            FormatError: it is longer than `MAX_NOTE`.
        """
        lines = (f"{_DASH}{item.name} {b64encode(item.key_id + item.data)}\n" for item in self.signatures)
        raw = f"{self.text}\n{''.join(lines)}".encode()
        _check_length(raw)
        return raw


def parse_note(raw: bytes) -> Note:
    """Read a signed note; nothing in it is verified yet.

    Raises:
        FormatError: not UTF-8, a control character, another form, or over a limit.
    """
    _check_length(raw)
    try:
        whole = raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise FormatError(f"note is not UTF-8: {exc}") from exc
    # The text may hold empty lines: the last one is what separates it from the signatures.
    text, separator, lines = whole.rpartition("\n\n")
    if not separator:
        raise FormatError("note has no empty line between text and signatures")
    if not lines.endswith("\n"):
        raise FormatError("note does not end in a signature line")
    if lines.count("\n") > MAX_SIGNATURES:
        raise FormatError(f"note has more than {MAX_SIGNATURES} signatures")
    note = Note(text + "\n", tuple(_parse_signature(line) for line in lines[:-1].split("\n")))
    if note.encode() != raw:
        raise FormatError("note is not in canonical form")
    return note


def sign_text(text: str, key: VerifierKey, signature: bytes) -> Signature:
    """Make a signature line of the raw signature that a backend made over the UTF-8 bytes of `text`.

    Raises:
        VerificationError: the signature is not by `key` over this text, so no reader would accept it.
    """
    _check_signature(key, text.encode(), signature)
    return Signature(key.name, key.key_id, signature)


class HeldSignatures:
    """Signatures that were found to hold: whoever sees them again need not verify them again.

    It remembers as many as have room; one that it does not know is verified.
    """

    _MOST = 1 << 16

    def __init__(self) -> None:
        self._known: set[bytes] = set()

    def check(self, key: VerifierKey, message: bytes, signature: bytes) -> None:
        """Check that `key` signed `message`.

        Raises:
            VerificationError: it did not.
        """
        # With their sizes before them no two parts can be shifted into each other.
        sizes = b"%d %d " % (len(key.key.data), len(message))
        digest = sha256(sizes + key.key.data + message + signature).digest()
        if digest in self._known:
            return
        _check_signature(key, message, signature)
        self.learn((digest,))

    def learn(self, known: Iterable[bytes]) -> None:
        """Remember what another one knows."""
        self._known.update(islice(known, self._MOST - len(self._known)))

    def known(self) -> list[bytes]:
        """What it remembers, for another one to learn."""
        return list(self._known)


def verify_note(
    note: Note, keys: Iterable[VerifierKey], held: HeldSignatures | None = None
) -> tuple[VerifierKey, ...]:
    """Verify every signature by a known key; signatures by others are ignored, as C2SP demands.

    Args:
        note: the note.
        keys: the known keys.
        held: what was verified before, and is remembered.

    Returns:
        The keys that signed, at least one, in the order of their signatures.

    Raises:
        VerificationError: a known key's signature does not hold, or a known key signed twice.
        UnknownKey: no signature is by a known key.
        ConfigError: two different known keys share name and id, so that a signature could mean either.
    """
    known: dict[tuple[str, bytes], VerifierKey] = {}
    for key in keys:
        if known.setdefault((key.name, key.key_id), key) != key:
            raise ConfigError(f"two keys share the name {key.name} and the id {key.key_id.hex()}")
    message, check = note.text.encode(), held.check if held is not None else _check_signature
    signed: list[VerifierKey] = []
    for signature in note.signatures:
        signer = known.get((signature.name, signature.key_id))
        if signer is None:
            continue
        if signer in signed:
            raise VerificationError(f"note has two signatures by {signer.name}+{signer.key_id.hex()}")
        check(signer, message, signature.data)
        signed.append(signer)
    if not signed:
        found = ", ".join(f"{item.name}+{item.key_id.hex()}" for item in note.signatures[:3])
        raise UnknownKey(f"note is signed by none of the known keys; the first signatures: {found}")
    return tuple(signed)


class Checkpoint(msgspec.Struct, frozen=True):
    """A tree head: the text of a checkpoint note (C2SP tlog-checkpoint without extension lines).

    Raises:
        FormatError: an origin that `check_origin` would refuse, a size outside 0 to 2**63-1, or a root that
            is not 32 bytes.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        _check_name(self.origin, "origin of a checkpoint", ";")
        if not 0 <= self.size <= MAX_INT:
            raise FormatError(f"checkpoint has the tree size {self.size}")
        if len(self.root) != _ROOT_SIZE:
            raise FormatError(f"checkpoint has a root of {len(self.root)} bytes instead of {_ROOT_SIZE}")

    def text(self) -> str:
        """The text to sign: origin, tree size and root, one a line."""
        return "\n".join((self.origin, str(self.size), b64encode(self.root))) + "\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a note as a checkpoint.

    Raises:
        FormatError: not three lines, or a value that is not in its one form.
    """
    match text.split("\n"):
        case [origin, size_text, root_text, ""]:
            size = parse_decimal(size_text, "tree size")
            root = b64decode(root_text, "root", _ROOT_SIZE)
            checkpoint = Checkpoint(origin, size, root)
        case _:
            raise FormatError("checkpoint is not origin, tree size and root, each on a line")
    if checkpoint.text() != text:
        raise FormatError("checkpoint is not in canonical form")
    return checkpoint


def check_origin(text: str) -> str:
    """Return `text` when it can be the origin of a log.

    Raises:
        ConfigError: it is empty, over 255 bytes, or holds `;`, `+`, a space or a control character.
    """
    if (fault := _name_fault(text, "+;")) is not None:
        raise ConfigError(f"origin {text[:80]!r} {fault}", "use a name such as example.com/payments")
    return text


def _check_name(text: str, what: str, also_refused: str = "") -> None:
    if (fault := _name_fault(text, "+" + also_refused)) is not None:
        raise FormatError(f"{what} {text[:80]!r} {fault}")


def _name_fault(text: str, refused: str) -> str | None:
    # A log names the same few again and again; a long text is not kept.
    return _short_name_fault(text, refused) if len(text) <= MAX_NAME else _fault_in(text, refused)


@lru_cache(maxsize=64)
def _short_name_fault(text: str, refused: str) -> str | None:
    return _fault_in(text, refused)


def _fault_in(text: str, refused: str) -> str | None:
    if (found := _refusing(refused).search(text)) is not None:
        return f"holds U+{ord(found[0]):04X}"
    # Surrogates, the only text that has no UTF-8 form, are refused above: this cannot fail.
    size = len(text.encode())
    return None if 0 < size <= MAX_NAME else f"has {size} bytes, not 1 to {MAX_NAME}"


@lru_cache
def _refusing(characters: str) -> re.Pattern[str]:
    return re.compile(f"[{re.escape(characters)}]|{UNSEEN.pattern}")


def _check_length(raw: bytes) -> None:
    if len(raw) > MAX_NOTE:
        raise FormatError(f"note of {len(raw)} bytes is longer than {MAX_NOTE}")


def _parse_signature(line: str) -> Signature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH):
        raise FormatError(f"not a signature line: {line[:80]!r}")
    raw = b64decode(encoded, "signature")
    return Signature(name, raw[:_KEY_ID_SIZE], raw[_KEY_ID_SIZE:])


def _check_signature(key: VerifierKey, message: bytes, signature: bytes) -> None:
    loaded = _load(key.key)
    try:
        if isinstance(loaded, Ed25519PublicKey):
            loaded.verify(signature, message)
        else:
            loaded.verify(signature, message, ECDSA(SHA256()))
    except InvalidSignature as exc:
        raise VerificationError(f"signature by {key.name}+{key.key_id.hex()} does not hold") from exc


@lru_cache(maxsize=64)  # of a log's notes nearly all are by one key, or by two in turn
def _load(key: PublicKey) -> Ed25519PublicKey | EllipticCurvePublicKey:
    if key.algorithm == "ed25519":
        return Ed25519PublicKey.from_public_bytes(key.data)
    try:
        # PublicKey admits one DER form only; what it cannot know is whether the point is on the curve.
        return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), key.data[-_P256_POINT_SIZE:])
    except ValueError as exc:
        raise FormatError("ecdsa-p256 public key is not a point on the curve") from exc
