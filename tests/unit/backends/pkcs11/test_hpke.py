"""HPKE's opening side: the published vectors, and that it opens what `cryptography` seals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    derive_private_key,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from epochseal_backends.pkcs11 import hpke

VECTORS = sorted((Path(__file__).parents[3] / "vectors" / "hpke").glob("*.json"))
KEMS = {kem.name: kem for kem in (hpke.P256, hpke.X25519)}
AES_128_GCM = hpke.Aead(0x0001, 16)
LOW_ORDER = bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_published_vectors(path: Path) -> None:
    """Every intermediate value and the plaintext are those that RFC 9180 prints."""
    vector = {name: _bytes(value) for name, value in json.loads(path.read_text()).items()}
    kem = KEMS[json.loads(path.read_text())["kem"]]
    exchange = _exchange(_private(kem, vector["skRm"]))
    shared = hpke.decapsulate(kem, exchange(vector["enc"]), vector["enc"], vector["pkRm"])
    assert shared == vector["shared_secret"]
    assert hpke.key_schedule(kem, AES_128_GCM, shared, vector["info"]) == (
        vector["key"],
        vector["base_nonce"],
    )
    opened = hpke.unseal(
        kem,
        vector["enc"] + vector["ct"],
        vector["pkRm"],
        vector["info"],
        exchange,
        aead=AES_128_GCM,
        associated=vector["aad"],
    )
    assert opened == vector["pt"]


def test_there_are_vectors() -> None:
    """Both curves have one."""
    assert {json.loads(path.read_text())["kem"] for path in VECTORS} == set(KEMS)


@pytest.mark.parametrize("name", sorted(KEMS))
def test_opens_what_cryptography_seals(name: str) -> None:
    """The suite of the library seals, this opens, and the library opens it too: one format."""
    kem, private = KEMS[name], _generate(name)
    sealed = kem.seal(memoryview(b"s" * 32), _public(private), b"info")
    assert hpke.unseal(kem, sealed, _public(private), b"info", _exchange(private)) == b"s" * 32
    assert kem.suite.decrypt(sealed, private, info=b"info") == b"s" * 32
    assert len(sealed) == kem.size + 32 + hpke.TAG_SIZE


@pytest.mark.parametrize("name", sorted(KEMS))
def test_wrong_key_info_or_bytes(name: str) -> None:
    """Another key, public half or info, a flipped bit or a missing byte does not open."""
    kem, private, other = KEMS[name], _generate(name), _generate(name)
    sealed = kem.seal(memoryview(b"s" * 32), _public(private), b"info")
    for key, public, info, tampered in (
        (other, _public(other), b"info", sealed),
        (private, _public(other), b"info", sealed),
        (private, _public(private), b"inf", sealed),
        (private, _public(private), b"info", sealed[:-1]),
        (private, _public(private), b"info", sealed[: kem.size + 15]),
        (private, _public(private), b"info", b""),
        *((private, _public(private), b"info", _flip(sealed, place)) for place in range(len(sealed))),
    ):
        with pytest.raises(hpke.OpeningError):
            hpke.unseal(kem, tampered, public, info, _exchange(key))


def test_private_key_meets_no_bad_point() -> None:
    """A point off the curve, a compressed one and a point of small order never reach the private key."""
    compressed = generate_private_key(SECP256R1()).public_key()
    short = compressed.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    for kem, enc in (
        (hpke.P256, b"\x04" + bytes(64)),
        (hpke.P256, b"\x04" + b"\x01" * 64),
        (hpke.P256, short + bytes(32)),
        (hpke.X25519, bytes(32)),
        (hpke.X25519, LOW_ORDER),
    ):
        with pytest.raises(hpke.OpeningError, match="not a public key"):
            hpke.unseal(kem, enc + bytes(48), bytes(kem.size), b"", _never)


def test_exchange_of_zeros_is_refused() -> None:
    """A token that answers a point of small order with zeros is not believed (RFC 9180, section 7.1.4)."""
    public = _public(_generate("X25519"))
    with pytest.raises(hpke.OpeningError, match="zeros"):
        hpke.unseal(hpke.X25519, public + bytes(48), public, b"", lambda _: bytes(32))


@pytest.mark.parametrize(
    ("name", "public"), [("P-256", b"\x04" + bytes(64)), ("X25519", bytes(32)), ("X25519", LOW_ORDER)]
)
def test_nothing_is_sealed_to_a_bad_key(name: str, public: bytes) -> None:
    """Sealing to what is no public key is refused, not done in vain."""
    with pytest.raises(ValueError, match=r".*"):
        KEMS[name].seal(memoryview(bytes(32)), public, b"")


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text) if all(letter in "0123456789abcdef" for letter in text) else b""


def _generate(name: str) -> Any:  # noqa: ANN401  # a key of either curve
    return generate_private_key(SECP256R1()) if name == "P-256" else X25519PrivateKey.generate()


def _private(kem: hpke.Kem, raw: bytes) -> Any:  # noqa: ANN401  # as above
    if kem is hpke.X25519:
        return X25519PrivateKey.from_private_bytes(raw)
    return derive_private_key(int.from_bytes(raw, "big"), SECP256R1())


def _public(private: EllipticCurvePrivateKey | X25519PrivateKey) -> bytes:
    key = private.public_key()
    if isinstance(key, X25519PublicKey):
        return key.public_bytes_raw()
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _exchange(private: EllipticCurvePrivateKey | X25519PrivateKey) -> Callable[[bytes], bytes]:
    def exchange(enc: bytes) -> bytes:
        if isinstance(private, X25519PrivateKey):
            return private.exchange(X25519PublicKey.from_public_bytes(enc))
        return private.exchange(ECDH(), EllipticCurvePublicKey.from_encoded_point(SECP256R1(), enc))

    return exchange


def _never(enc: bytes) -> bytes:
    raise AssertionError(f"the private key was used with {enc.hex()}")


def _flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
