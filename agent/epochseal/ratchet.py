"""The key schedule of docs/format.md, "Keys": every function writes key material into a caller's page.

HKDF and HMAC are with SHA-256 (RFC 5869, RFC 2104). Keys are 32 bytes and are passed as memoryviews on locked
pages; no function here returns a key, so none becomes a Python object that the allocator could copy or keep.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from epochseal.errors import VerificationError

KEY_SIZE = 32
SEALED_CARRY_SIZE = KEY_SIZE + 16

# The one place for labels: what is derived for one purpose can never be mistaken for another.
_EPOCH = b"epochseal/v1/epoch"
_TAG = b"epochseal/v1/tag"
_NEXT = b"epochseal/v1/next"
_CARRY = b"epochseal/v1/carry"
_CARRY_SEAL = b"epochseal/v1/carry-seal"


def derive_epoch_key(secret_and_carry: memoryview, header_payload: bytes, into: memoryview) -> None:
    """K0 from the 64 bytes D + C (C is zero where there is no carry), bound to the whole epoch line."""
    info = hashlib.sha256(header_payload).digest()
    HKDF(SHA256(), KEY_SIZE, salt=_EPOCH, info=info).derive_into(secret_and_carry, into)


def compute_tag(key: memoryview, previous_tag: bytes, leaf: bytes) -> bytes:
    """The tag of one line: 32 bytes, chained to the line before by its tag."""
    mac = HMAC(key, SHA256())
    mac.update(_TAG + previous_tag + leaf)
    return mac.finalize()


def advance(key: memoryview, into: memoryview) -> None:
    """The key of the next line; the caller wipes `key` (they must be different places)."""
    HKDFExpand(SHA256(), KEY_SIZE, _NEXT).derive_into(key, into)


def derive_carry(key: memoryview, into: memoryview) -> None:
    """What an epoch hands to the next, from the key after the ratchet of its `end` line."""
    HKDFExpand(SHA256(), KEY_SIZE, _CARRY).derive_into(key, into)


def seal_carry(secret: memoryview, carry: memoryview, context: bytes, scratch: memoryview) -> bytes:
    """The carry as the epoch line has it: 32 bytes and a 16-byte GCM tag; `scratch` (32 bytes) is wiped."""
    sealed = bytearray(SEALED_CARRY_SIZE)
    try:
        _derive_carry_seal(secret, context, scratch)
        # The nonce is fixed because each key is used once: D is fresh for every epoch and sealed with once.
        AESGCM(scratch).encrypt_into(bytes(12), carry, context, sealed)
    finally:
        scratch[:] = bytes(KEY_SIZE)
    return bytes(sealed)


def open_carry(
    secret: memoryview, sealed: bytes, context: bytes, into: memoryview, scratch: memoryview
) -> None:
    """Write the 32-byte carry into `into`, or zeros if it is refused; `scratch` (32 bytes) is wiped.

    Raises:
        VerificationError: the sealed carry does not belong to this secret and context.
    """
    try:
        _derive_carry_seal(secret, context, scratch)
        AESGCM(scratch).decrypt_into(bytes(12), sealed, context, into)
    except (InvalidTag, ValueError) as exc:
        # It was decrypted in place before its tag was found wrong.
        into[:] = bytes(KEY_SIZE)
        raise VerificationError("the sealed carry does not open with this epoch's secret") from exc
    finally:
        scratch[:] = bytes(KEY_SIZE)


def _derive_carry_seal(secret: memoryview, context: bytes, into: memoryview) -> None:
    info = _CARRY_SEAL + hashlib.sha256(context).digest()
    HKDF(SHA256(), KEY_SIZE, salt=None, info=info).derive_into(secret, into)
