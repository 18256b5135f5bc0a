"""Keys in an HSM, `pkcs11:token=LABEL;object=LABEL` (RFC 7512; see `pkcs11_uri`), through its PKCS#11 module.

| role     | its token holds                                                    | may                        |
|----------|--------------------------------------------------------------------|----------------------------|
| agent    | the public half of the wrapping key; the private signing key       | issue epoch secrets, sign  |
| verifier | the private wrapping key                                           | recover epoch secrets      |
| auditor  | the public signing key                                             | read it                    |

Tokens are separate because a PIN opens all that is in one. The wrapping key is a P-256 or an X25519 pair, the
signing key Ed25519 or P-256. Each private key stands beside its public half, with the same CKA_ID.

A secret is 32 bytes of HKDF-SHA256 over the kernel's random bytes, salted with the token's
(C_GenerateRandom). It is wrapped with HPKE (RFC 9180) in base mode, single shot: DHKEM(P-256, HKDF-SHA256)
0x0010 or DHKEM(X25519, HKDF-SHA256) 0x0020, HKDF-SHA256 0x0001, AES-256-GCM 0x0002:

    wrapped = enc (65 or 32 bytes) || ciphertext (32 bytes) || tag (16 bytes)
    info    = "epochseal/v1/wrap-pkcs11" || context          associated data: empty

The context is `Context.encode`. The key id is `pkcs11:` and, in hex, the SHA-256 of the serialized public
wrapping key (65 bytes of the uncompressed point, or 32): a CKA_ID can be given to any key, a fingerprint
cannot. Recovering has the token do the Diffie-Hellman (CKM_ECDH1_DERIVE); the private key never leaves it.

Several pairs under one label are generations (see `pkcs11_objects`). Issuing takes the newest, or the one
that `id=` names; recovering opens what any of them wrapped; a checkpoint key is the oldest, so that a new
pair beside it does not change who signs a log: `epochseal rotate` does, with `id=` in the new URI.

Settings: `module`, and the PIN by `pin_file`, `pin_credential` or `pin_env`. Secrets pass through the heap
of this process: an agent calls this in a courier, which exits.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11 import KDF, Attribute, KeyType, Mechanism, ObjectClass

from epochseal.errors import BackendError, ConfigError, Denied, WrongKey
from epochseal.examiner import KeyFinding
from epochseal.keys import SECRET_SIZE, Context, Issued, KeyURI, PublicKey, check_secret_buffer
from epochseal_backends.pkcs11 import hpke
from epochseal_backends.pkcs11.objects import (
    ED25519,
    P256,
    X25519,
    PrivateHalf,
    PublicHalf,
    absent,
    newest,
    oldest,
    private_halves,
    public_halves,
)
from epochseal_backends.pkcs11.session import Connection, connect, names_pin, translated
from epochseal_backends.pkcs11.uri import parse_pkcs11_uri

_INFO = b"epochseal/v1/wrap-pkcs11"
_RANDOM = b"epochseal/v1/random"
_KEMS = {P256: hpke.P256, X25519: hpke.X25519}
_HALF = 32


def issuer(uri: KeyURI, settings: Mapping[str, str]) -> Pkcs11Issuer:
    """The issuer of an agent's token: with the newest public wrapping key, or the one that `id=` names.

    Raises:
        Denied: the token holds no such public key, or refuses the PIN.
        ConfigError: the URI, the module or the key cannot be used, or the choice among several keys is open.
        Unavailable: the token is not there.
    """
    name = parse_pkcs11_uri(uri.rest)
    connection = connect(name, settings, login=names_pin(name, settings))
    found = public_halves(connection, name)
    if not found:
        raise absent(connection, name, ObjectClass.PUBLIC_KEY, "issue epoch secrets")
    return Pkcs11Issuer(connection, _for_wrapping(newest(found, name, connection), connection))


def recoverer(uri: KeyURI, settings: Mapping[str, str]) -> Pkcs11Recoverer:
    """The recoverer of a verifier's token, with all private wrapping keys that `uri` names.

    Raises:
        Denied: the token holds no such private key, the key may not derive, or the PIN is missing or refused.
        ConfigError: the URI, the module or a key cannot be used.
        Unavailable: the token is not there.
    """
    name = parse_pkcs11_uri(uri.rest)
    connection = connect(name, settings, login=True)
    found = private_halves(connection, name)
    if not found:
        raise absent(connection, name, ObjectClass.PRIVATE_KEY, "recover epoch secrets")
    for half in found:
        _for_wrapping(half.public, connection)
        if not hasattr(half.handle, "derive_key"):
            raise Denied(
                f"the key {_named(half.public)} of {connection.name} may not derive: CKA_DERIVE is false",
                "make the wrapping key with that use and no other",
            )
    return Pkcs11Recoverer(connection, found)


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
            f"the key {_named(half.public)} of {connection.name} may not sign: CKA_SIGN is false",
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


def examine_epoch_key(uri: KeyURI, settings: Mapping[str, str], origin: str) -> Iterator[KeyFinding]:
    """What `epochseal doctor` asks: see `pkcs11_examine`."""
    from epochseal_backends.pkcs11 import examine as pkcs11_examine  # noqa: PLC0415  # it imports us

    return pkcs11_examine.examine_epoch_key(uri, settings, origin)


def examine_checkpoint_key(uri: KeyURI, settings: Mapping[str, str]) -> Iterator[KeyFinding]:
    """What `epochseal doctor` asks: see `pkcs11_examine`."""
    from epochseal_backends.pkcs11 import examine as pkcs11_examine  # noqa: PLC0415  # it imports us

    return pkcs11_examine.examine_checkpoint_key(uri, settings)


class Pkcs11Issuer:
    """Wraps fresh secrets for the public wrapping key: nothing in this token opens an old one."""

    def __init__(self, connection: Connection, key: PublicHalf) -> None:
        self.connection = connection
        self.key = key

    def issue(self, context: Context, into: memoryview) -> Issued:
        """Write a fresh secret into `into` and wrap it (see `epochseal.keys.Issuer`)."""
        check_secret_buffer(into)
        with translated(f"have {self.connection.name} generate random bytes"):
            salt = self.connection.session.generate_random(8 * SECRET_SIZE)
        # Neither of the two generators alone has to be good.
        HKDF(SHA256(), SECRET_SIZE, salt, _RANDOM).derive_into(os.urandom(SECRET_SIZE), into)
        try:
            wrapped = _KEMS[self.key.curve].seal(into, self.key.point, _INFO + context.encode())
        except ValueError as exc:
            into[:] = bytes(SECRET_SIZE)
            raise BackendError(
                f"no epoch secret can be issued with the public key {_named(self.key)}: {exc}"
            ) from exc
        return Issued(_key_id(self.key), wrapped)


class Pkcs11Recoverer:
    """Opens wrapped secrets; the Diffie-Hellman runs in the token."""

    def __init__(self, connection: Connection, keys: Sequence[PrivateHalf]) -> None:
        self.connection = connection
        self.keys = list(keys)

    def recover(self, wrapped: bytes, context: Context, into: memoryview) -> None:
        """Write the secret behind `wrapped` into `into` (see `epochseal.keys.Recoverer`)."""
        check_secret_buffer(into)
        secret = self._open(wrapped, _INFO + context.encode())
        if len(secret) != SECRET_SIZE:
            # Whoever has the public key can wrap anything: it authenticates the context, not who wrapped.
            raise WrongKey(f"the wrapped secret has {len(secret)} bytes instead of {SECRET_SIZE}")
        into[:] = secret

    def recognizes(self, key_id: str) -> bool:
        """Whether `key_id` is that of one of these keys."""
        return any(key_id == _key_id(half.public) for half in self.keys)

    def _open(self, wrapped: bytes, info: bytes) -> bytes:
        for place, half in enumerate(self.keys):
            try:
                secret = hpke.unseal(
                    _KEMS[half.public.curve], wrapped, half.public.point, info, partial(self._exchange, half)
                )
            except hpke.OpeningError:
                continue
            # Epochs of one generation follow each other: the one that opened is asked first next time.
            self.keys.insert(0, self.keys.pop(place))
            return secret
        raise WrongKey(
            "the wrapped secret was not made for this key, log, epoch and previous tag, or was changed"
        )

    def _exchange(self, half: PrivateHalf, enc: bytes) -> bytes:
        with translated(f"derive with the private key {_named(half.public)} of {self.connection.name}"):
            derived = _derive(half.handle, enc)
            try:
                return bytes(derived[Attribute.VALUE])
            finally:
                derived.destroy()


class Pkcs11Signer:
    """Signs in the token, and checks each signature under the public half that the log will name."""

    def __init__(self, connection: Connection, key: PrivateHalf, public: PublicKey) -> None:
        self.connection = connection
        self.key = key
        self._public = public

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of an Ed25519 signature over `message`, or ECDSA with SHA-256 in DER."""
        with translated(f"sign with the private key {_named(self.key.public)} of {self.connection.name}"):
            if self._public.algorithm == "ed25519":
                signature = self.key.handle.sign(message, mechanism=Mechanism.EDDSA)
            else:
                # Not every token hashes by itself, and every one signs a digest.
                digest = hashlib.sha256(message).digest()
                signature = _ecdsa_der(self.key.handle.sign(digest, mechanism=Mechanism.ECDSA))
        try:
            _verify(self.key.public, signature, message)
        except InvalidSignature as exc:
            raise BackendError(
                f"{self.connection.name} signed, but not for the public key {_named(self.key.public)}",
                "store the public half of the private key under its CKA_ID",
            ) from exc
        return bytes(signature)

    def public_key(self) -> PublicKey:
        """The public half of the key that signs."""
        return self._public


def _derive(private: Any, enc: bytes) -> Any:  # noqa: ANN401  # the library makes a class for each object
    try:
        return private.derive_key(
            KeyType.GENERIC_SECRET,
            8 * _HALF,
            mechanism=Mechanism.ECDH1_DERIVE,
            mechanism_param=(KDF.NULL, None, enc),
            capabilities=0,
            # A session object that may be read: HPKE goes on with it outside of the token.
            template={Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True, Attribute.PRIVATE: False},
        )
    except ValueError as exc:
        # CKK_EC_MONTGOMERY (PKCS#11 v3.0) has no name in the library.
        raise BackendError(
            f"python-pkcs11 does not know the type of this key: {exc}", "use a wrapping key on P-256"
        ) from exc


def _for_wrapping(half: PublicHalf, connection: Connection) -> PublicHalf:
    if half.curve not in _KEMS:
        raise ConfigError(
            f"the key {_named(half)} of {connection.name} is on {half.curve}, which wraps nothing",
            "an epoch key is a pair on P-256 (or X25519)",
        )
    return half


def _as_public_key(half: PublicHalf, connection: Connection) -> PublicKey:
    if half.curve == ED25519:
        return PublicKey("ed25519", half.point)
    if half.curve != P256:
        raise ConfigError(
            f"the key {_named(half)} of {connection.name} is on {half.curve}, which signs nothing",
            "a checkpoint key is a pair on Ed25519 or P-256",
        )
    try:
        key = _p256(half.point)
    except ValueError as exc:
        raise ConfigError(f"the key {_named(half)} of {connection.name} is not a point of P-256") from exc
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


def _key_id(half: PublicHalf) -> str:
    return "pkcs11:" + hashlib.sha256(half.point).hexdigest()


def _named(half: PublicHalf) -> str:
    return f"{half.label!r} (id {half.id.hex() or 'empty'})"
