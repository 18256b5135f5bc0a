"""Signing checkpoints with a token's private key, and its public half."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import Mechanism, ObjectClass

from epochseal.errors import BackendError, ConfigError, Denied
from epochseal.keys import KeyURI, PublicKey
from epochseal_backends.pkcs11.key_objects import (
    ED25519,
    P256,
    PrivateHalf,
    PublicHalf,
    absent,
    oldest,
    private_halves,
    public_halves,
)
from epochseal_backends.pkcs11.session import Connection, connect, names_pin, translated
from epochseal_backends.pkcs11.uri import parse_pkcs11_uri

_HALF = 32


def signer(uri: KeyURI, settings: Mapping[str, str]) -> Pkcs11Signer:
    """The signer of an agent's token: with the oldest private key that `uri` names.

    Raises:
        Denied: the token holds no such private key, the key may not sign, or the PIN is missing or refused.
        ConfigError: the URI, the module or the key cannot be used, or the choice among several keys is open.
        Unavailable: the token is not there.
    """
    name = parse_pkcs11_uri(uri.rest)
    connection = connect(name, settings, login=True)
    found = private_halves(connection, name)
    if not found:
        raise absent(connection, name, ObjectClass.PRIVATE_KEY, "sign checkpoints")
    half = oldest(found, name, connection)
    if not hasattr(half.handle, "sign"):
        raise Denied(
            f"the key {half.public} of {connection.name} may not sign: CKA_SIGN is false",
            "make the checkpoint key with that use and no other",
        )
    return Pkcs11Signer(connection, half, _as_public_key(half.public, connection))


def public_key(uri: KeyURI, settings: Mapping[str, str]) -> PublicKey:
    """The public checkpoint key of any role's token; a PIN is used only where the key is not seen without it.

    Raises:
        Denied: the token refuses the PIN.
        ConfigError: there is no such public key, or the URI, the module or the key cannot be used.
        Unavailable: the token is not there.
    """
    name = parse_pkcs11_uri(uri.rest)
    connection = connect(name, settings, login=False)
    found = public_halves(connection, name)
    if not found and not connection.logged_in and names_pin(name, settings):
        connection = connect(name, settings, login=True)
        found = public_halves(connection, name)
    if not found:
        missing = absent(connection, name, ObjectClass.PUBLIC_KEY, "name the checkpoint key")
        raise ConfigError(str(missing), missing.hint)
    halves = [PrivateHalf(None, half) for half in found]
    return _as_public_key(oldest(halves, name, connection).public, connection)


class Pkcs11Signer:
    """Signs in the token, and checks each signature under the public half that the log will name."""

    def __init__(self, connection: Connection, key: PrivateHalf, public: PublicKey) -> None:
        self.connection = connection
        self.key = key
        self._public = public

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of an Ed25519 signature over `message`, or ECDSA with SHA-256 in DER."""
        doing = f"sign with the private key {self.key.public} of {self.connection.name}"
        with translated(doing, "CKM_EDDSA" if self._public.algorithm == "ed25519" else "CKM_ECDSA"):
            if self._public.algorithm == "ed25519":
                signature = self.key.handle.sign(message, mechanism=Mechanism.EDDSA)
            else:
                # Some tokens cannot hash, and all of them sign a digest: so it is made here.
                digest = hashlib.sha256(message).digest()
                signature = _ecdsa_der(self.key.handle.sign(digest, mechanism=Mechanism.ECDSA))
        try:
            _verify(self.key.public, signature, message)
        except InvalidSignature as exc:
            raise BackendError(
                f"{self.connection.name} signed, but not for the public key {self.key.public}",
                "store the public half of the private key under its CKA_ID",
            ) from exc
        return bytes(signature)

    def public_key(self) -> PublicKey:
        """The public half of the key that signs."""
        return self._public


def _as_public_key(half: PublicHalf, connection: Connection) -> PublicKey:
    if half.curve == ED25519:
        return PublicKey("ed25519", half.point)
    if half.curve != P256:
        raise ConfigError(
            f"the key {half} of {connection.name} is on {half.curve}, which signs nothing",
            "a checkpoint key is a pair on Ed25519 or P-256",
        )
    try:
        key = _p256(half.point)
    except ValueError as exc:
        raise ConfigError(f"the key {half} of {connection.name} is not a point of P-256") from exc
    return PublicKey("ecdsa-p256", key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _verify(half: PublicHalf, signature: bytes, message: bytes) -> None:
    if half.curve == ED25519:
        Ed25519PublicKey.from_public_bytes(half.point).verify(signature, message)
    else:
        _p256(half.point).verify(signature, message, ECDSA(SHA256()))


def _p256(point: bytes) -> EllipticCurvePublicKey:
    return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)


def _ecdsa_der(signature: bytes) -> bytes:
    """PKCS#11 gives r and s side by side (v3.0, section 2.3.1); a note wants the DER of RFC 3279."""
    if len(signature) != 2 * _HALF:
        raise BackendError(f"the token's ECDSA signature has {len(signature)} bytes instead of {2 * _HALF}")
    r, s = signature[:_HALF], signature[_HALF:]
    return encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
