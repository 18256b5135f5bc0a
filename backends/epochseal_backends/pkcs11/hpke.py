"""HPKE (RFC 9180) where the private key never leaves an HSM: base mode, single shot.

Sealing needs a public key alone and is `cryptography`'s. Opening needs one Diffie-Hellman with the private
key; that step is handed in as a function, and everything after it, which needs no private key, is done here:

    shared secret   DHKEM: LabeledExtract and LabeledExpand over the exchanged point (RFC 9180, section 4.1)
    key schedule    base mode, no pre-shared key (section 5.1)
    opening         the AEAD with the first nonce, empty associated data (section 5.2)
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

TAG_SIZE = 16
_KDF_ID = 0x0001
_SHARED_SIZE = 32
_NONCE_SIZE = 12


class OpeningError(Exception):
    """What was sealed does not open: another key, another info, or changed."""


@dataclass(frozen=True, slots=True)
class Kem:
    """One DHKEM with HKDF-SHA256 (RFC 9180, section 7.1).

    Args:
        name: the curve.
        kem_id: its number in the registry of RFC 9180.
        size: bytes of a serialized public key, and so of `enc`.
        check: raises ValueError for bytes that are no public key which may be exchanged with (section 7.1.4).
        load: the public key for sealing.
        suite: the sealing side, with HKDF-SHA256 and AES-256-GCM.
    """

    name: str
    kem_id: int
    size: int
    check: Callable[[bytes], None]
    load: Callable[[bytes], EllipticCurvePublicKey | X25519PublicKey]
    suite: Suite

    def seal(self, secret: memoryview, public: bytes, info: bytes) -> bytes:
        """`enc || ciphertext || tag` for the holder of the private half of `public`.

        Raises:
            ValueError: `public` is no key of this curve, or one of small order.
        """
        self.check(public)
        return self.suite.encrypt(secret, self.load(public), info=info)


@dataclass(frozen=True, slots=True)
class Aead:
    """An AES-GCM of RFC 9180, section 7.3: its number and the bytes of its key."""

    aead_id: int
    key_size: int


AES_256_GCM = Aead(0x0002, 32)
"""The one that is used; the published vectors of our two curves are for AES-128-GCM (0x0001)."""


def unseal(
    kem: Kem,
    sealed: bytes,
    public: bytes,
    info: bytes,
    exchange: Callable[[bytes], bytes],
    *,
    aead: Aead = AES_256_GCM,
    associated: bytes = b"",
) -> bytes:
    """What was sealed to `public`, the serialized own public key.

    Args:
        kem: the curve of the key.
        sealed: `enc || ciphertext || tag`.
        public: the serialized public half of the own key.
        info: what the sealed bytes are bound to.
        exchange: the Diffie-Hellman of the own private key with the serialized public key that it is given:
            the 32 bytes of the x coordinate (P-256), or of X25519. It gets only keys that pass `kem.check`.
        aead: the cipher.
        associated: the associated data.

    Raises:
        OpeningError: it was not sealed to this key with this info, or was changed.
    """
    enc, ciphertext = sealed[: kem.size], sealed[kem.size :]
    if len(ciphertext) < TAG_SIZE:
        raise OpeningError("too short")
    try:
        kem.check(enc)
    except ValueError as exc:
        raise OpeningError("not a public key of this curve") from exc
    shared = decapsulate(kem, exchange(enc), enc, public)
    key, nonce = key_schedule(kem, aead, shared, info)
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, associated)
    except InvalidTag as exc:
        raise OpeningError("another key or info, or changed") from exc


def decapsulate(kem: Kem, exchanged: bytes, enc: bytes, public: bytes) -> bytes:
    """The KEM's shared secret of 32 bytes (RFC 9180, section 4.1, `Decap` after its `DH`).

    Raises:
        OpeningError: the exchange gave only zeros: the sender's point has a small order (section 7.1.4).
    """
    if not any(exchanged):
        raise OpeningError("the exchange gave zeros")
    suite = b"KEM" + kem.kem_id.to_bytes(2, "big")
    extracted = _extract(suite, b"", b"eae_prk", exchanged)
    return _expand(suite, extracted, b"shared_secret", enc + public, _SHARED_SIZE)


def key_schedule(kem: Kem, aead: Aead, shared: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Key and first nonce of base mode (RFC 9180, section 5.1)."""
    numbers = (kem.kem_id, _KDF_ID, aead.aead_id)
    suite = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in numbers)
    hashes = _extract(suite, b"", b"psk_id_hash", b"") + _extract(suite, b"", b"info_hash", info)
    context = b"\x00" + hashes
    secret = _extract(suite, shared, b"secret", b"")
    key = _expand(suite, secret, b"key", context, aead.key_size)
    return key, _expand(suite, secret, b"base_nonce", context, _NONCE_SIZE)


def _extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    # HKDF-Extract is one HMAC keyed with the salt, and HMAC pads an empty key with zeros (RFC 5869, 2.2).
    return hmac.digest(salt, b"HPKE-v1" + suite + label + material, sha256)


def _expand(suite: bytes, key: bytes, label: bytes, info: bytes, size: int) -> bytes:
    labeled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return HKDFExpand(SHA256(), size, labeled).derive(key)


def _load_p256(data: bytes) -> EllipticCurvePublicKey:
    return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), data)


def _check_p256(data: bytes) -> None:
    # The library also reads compressed points; RFC 9180 serializes uncompressed ones only.
    if len(data) != P256.size or data[0] != 4:  # noqa: PLR2004  # SEC 1: 04 marks an uncompressed point
        raise ValueError("not an uncompressed P-256 point")
    _load_p256(data)  # which refuses what does not lie on the curve


def _check_x25519(data: bytes) -> None:
    # The library refuses an exchange that gives zeros, whichever private key takes part (RFC 7748, 6.1).
    X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(data))


def _suite(kem: KEM) -> Suite:
    return Suite(kem, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


P256 = Kem("P-256", 0x0010, 65, _check_p256, _load_p256, _suite(KEM.P256))
X25519 = Kem("X25519", 0x0020, 32, _check_x25519, X25519PublicKey.from_public_bytes, _suite(KEM.X25519))
