"""The key schedule of docs/format.md, "Keys": every function writes key material into a caller's page.

HKDF and HMAC are with SHA-256 (RFC 5869, RFC 2104). Keys are 32 bytes and are passed as memoryviews on locked
pages; no function here returns a key, so none becomes a Python object that the allocator could copy or keep.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from epochseal.custody.hmac_in_place import hmac_between, hmac_into, hmac_of
from epochseal.errors import VerificationError

KEY_SIZE = 32
SEALED_CARRY_SIZE = KEY_SIZE + 16

# The one place for labels: what is derived for one purpose can never be mistaken for another. The last byte
# of `next` and `carry` is the block number of HKDF-Expand (RFC 5869, 2.3): 32 bytes are its first block.
_EPOCH = memoryview(bytearray(b"epochseal/v1/epoch"))
TAG_LABEL = b"epochseal/v1/tag"
NEXT_LABEL = b"epochseal/v1/next\x01"
_NEXT = memoryview(bytearray(NEXT_LABEL))
_CARRY = memoryview(bytearray(b"epochseal/v1/carry\x01"))
_CARRY_SEAL = b"epochseal/v1/carry-seal"
_NO_SALT = memoryview(bytearray(32))


def derive_epoch_key(secret_and_carry: memoryview, header_payload: bytes, into: memoryview) -> None:
    """K0 from the 64 bytes D + C (C is zero where there is no carry), bound to the whole epoch line."""
    _hkdf(_EPOCH, secret_and_carry, hashlib.sha256(header_payload).digest(), into)


def compute_tag(key: memoryview, previous_tag: bytes, leaf: bytes) -> bytes:
    """The tag of one line: 32 bytes, chained to the line before by its tag."""
    return hmac_of(key, TAG_LABEL + previous_tag + leaf)


def advance(key: memoryview, into: memoryview) -> None:
    """The key of the next line; the caller wipes `key` (they must be different places)."""
    hmac_into(key, _NEXT, into)


def advance_between(key: memoryview, into: memoryview) -> Callable[[], None]:
    """What does `advance` between these two places each time that it is called; it keeps their memory."""
    return hmac_between(key, _NEXT, into)


def derive_carry(key: memoryview, into: memoryview) -> None:
    """What an epoch hands to the next, from the key after the ratchet of its `end` line."""
    hmac_into(key, _CARRY, into)


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
    _hkdf(_NO_SALT, secret, _CARRY_SEAL + hashlib.sha256(context).digest(), into)


def _hkdf(salt: memoryview, secret: memoryview, info: bytes, into: memoryview) -> None:
    """RFC 5869 for 32 bytes, which is one block: T(1) = HMAC(HMAC(salt, secret), info || 0x01)."""
    hmac_into(salt, secret, into)
    hmac_into(into, memoryview(bytearray(info + b"\x01")), into)
