from __future__ import annotations

import hashlib
import hmac
import math

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from epochseal.custody import ratchet
from epochseal.errors import VerificationError

keys = st.binary(min_size=32, max_size=32)
texts = st.binary(max_size=200)


def mac(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA-256 (RFC 2104)."""
    return hmac.new(key, data, hashlib.sha256).digest()


def hkdf_extract(salt: bytes, ikm: bytes) -> bytes:
    """RFC 5869, section 2.2; no salt is 32 zero bytes."""
    return mac(salt or bytes(32), ikm)


def hkdf_expand(prk: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869, section 2.3."""
    out, block = b"", b""
    for counter in range(1, math.ceil(length / 32) + 1):
        block = mac(prk, block + info + bytes([counter]))
        out += block
    return out[:length]


def page(*parts: bytes) -> memoryview:
    """Writable memory with this content."""
    return memoryview(bytearray(b"".join(parts)))


def test_the_yardstick_is_rfc_5869() -> None:
    """The HKDF that the others are compared with gives test case 1 of RFC 5869, appendix A."""
    prk = hkdf_extract(bytes(range(13)), b"\x0b" * 22)
    assert prk.hex() == "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"
    okm = hkdf_expand(prk, bytes(range(0xF0, 0xFA)), 42)
    assert okm.hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )


@given(keys, keys, texts)
def test_epoch_key(secret: bytes, carry: bytes, header: bytes) -> None:
    """K0 = HKDF(salt = label, ikm = D + C, info = SHA-256(header payload))."""
    into = page(bytes(32))
    ratchet.derive_epoch_key(page(secret, carry), header, into)
    prk = hkdf_extract(b"epochseal/v1/epoch", secret + carry)
    assert into == hkdf_expand(prk, hashlib.sha256(header).digest(), 32)


@given(keys, keys, keys)
def test_tag(key: bytes, previous: bytes, leaf: bytes) -> None:
    """A tag is HMAC(K, label + previous tag + leaf), all 32 bytes of it."""
    tag = ratchet.compute_tag(page(key), previous, leaf)
    assert tag == mac(key, b"epochseal/v1/tag" + previous + leaf)


@given(keys)
def test_next_key_and_carry(key: bytes) -> None:
    """Both are HKDF-Expand of the key, under different labels; the key itself is left as it is."""
    source, following, carry = page(key), page(bytes(32)), page(bytes(32))
    ratchet.advance(source, following)
    again = page(bytes(32))
    ratchet.advance_between(source, again)()
    assert again == following
    ratchet.derive_carry(source, carry)
    assert following == hkdf_expand(key, b"epochseal/v1/next", 32)
    assert carry == hkdf_expand(key, b"epochseal/v1/carry", 32)
    assert source == key


@given(keys, keys, texts)
def test_sealed_carry(secret: bytes, carry: bytes, context: bytes) -> None:
    """AES-256-GCM, zero nonce, context as associated data, key from D; it opens; the work area is clean."""
    scratch = page(b"\xaa" * 32)
    sealed = ratchet.seal_carry(page(secret), page(carry), context, scratch)
    info = b"epochseal/v1/carry-seal" + hashlib.sha256(context).digest()
    key = hkdf_expand(hkdf_extract(b"", secret), info, 32)
    assert sealed == AESGCM(key).encrypt(bytes(12), carry, context)
    assert scratch == bytes(32)
    into, scratch = page(bytes(32)), page(b"\xaa" * 32)
    ratchet.open_carry(page(secret), sealed, context, into, scratch)
    assert into == carry
    assert scratch == bytes(32)


@pytest.mark.parametrize("changed", ["secret", "context", "sealed", "cut"])
def test_a_carry_of_another_epoch_does_not_open(changed: str) -> None:
    """Another secret, context or text is refused, and no byte of the carry comes out."""
    secret, context = bytes(range(32)), b"context"
    sealed = bytearray(ratchet.seal_carry(page(secret), page(b"\x77" * 32), context, page(bytes(32))))
    if changed == "secret":
        secret = bytes(32)
    elif changed == "context":
        context = b"contexu"
    elif changed == "sealed":
        sealed[0] ^= 1
    else:
        del sealed[-1]
    into, scratch = page(bytes(32)), page(b"\xaa" * 32)
    with pytest.raises(VerificationError):
        ratchet.open_carry(page(secret), bytes(sealed), context, into, scratch)
    assert into == bytes(32)
    assert scratch == bytes(32)
