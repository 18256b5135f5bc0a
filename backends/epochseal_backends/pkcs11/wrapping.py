"""Wrapping epoch secrets for a public key, and opening them with a token's private one (HPKE)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pkcs11 import KDF, Attribute, KeyType, Mechanism, ObjectClass

from epochseal.errors import BackendError, ConfigError, Denied, WrongKey
from epochseal.keys import (
    SECRET_SIZE,
    Context,
    Issued,
    KeyURI,
    WrappedSecret,
    check_secret_buffer,
    recover_each,
)
from epochseal_backends.pkcs11 import hpke
from epochseal_backends.pkcs11.key_objects import (
    P256,
    X25519,
    PrivateHalf,
    PublicHalf,
    absent,
    newest,
    private_halves,
    public_halves,
)
from epochseal_backends.pkcs11.session import Connection, connect, names_pin, translated
from epochseal_backends.pkcs11.uri import parse_pkcs11_uri

_INFO = b"epochseal/v1/wrap-pkcs11"
_RANDOM = b"epochseal/v1/random"
_KEMS = {P256: hpke.P256, X25519: hpke.X25519}
_SHARED_SIZE = 32


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
                f"the key {half.public} of {connection.name} may not derive: CKA_DERIVE is false",
                "make the wrapping key with that use and no other",
            )
    return Pkcs11Recoverer(connection, found)


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
        # Nobody can guess the secret while one of the two generators is good, the token's or the kernel's.
        HKDF(SHA256(), SECRET_SIZE, salt, _RANDOM).derive_into(os.urandom(SECRET_SIZE), into)
        try:
            wrapped = _KEMS[self.key.curve].seal(into, self.key.point, _INFO + context.encode())
        except ValueError as exc:
            into[:] = bytes(SECRET_SIZE)
            raise BackendError(
                f"no epoch secret can be issued with the public key {self.key}: {exc}"
            ) from exc
        return Issued(_key_id(self.key), wrapped)


class Pkcs11Recoverer:
    """Opens wrapped secrets; the Diffie-Hellman runs in the token."""

    def __init__(self, connection: Connection, keys: Sequence[PrivateHalf]) -> None:
        self.connection = connection
        self.keys = list(keys)

    def recover_many(self, asked: Sequence[WrappedSecret], into: memoryview) -> list[BackendError | None]:
        """Write the secrets behind `asked` into `into` (see `epochseal.keys.Recoverer`), in one session."""
        return recover_each(asked, into, self._open)

    def recognizes(self, key_id: str) -> bool:
        """Whether `key_id` is that of one of these keys."""
        return any(key_id == _key_id(half.public) for half in self.keys)

    def _open(self, item: WrappedSecret) -> bytes:
        info = _INFO + item.context.encode()
        for place, half in enumerate(self.keys):
            if item.key_id not in {None, _key_id(half.public)}:
                # One object alone: a header that names another one of this label does not verify.
                continue
            try:
                secret = hpke.unseal(
                    _KEMS[half.public.curve],
                    item.wrapped,
                    half.public.point,
                    info,
                    partial(self._exchange, half),
                )
            except hpke.OpeningError:
                continue
            # The next epoch was most likely wrapped by the same key: it is tried first next time.
            self.keys.insert(0, self.keys.pop(place))
            return secret
        raise WrongKey(
            "the wrapped secret was not made for this key, log, epoch and previous tag, or was changed"
        )

    def _exchange(self, half: PrivateHalf, enc: bytes) -> bytes:
        doing = f"derive with the private key {half.public} of {self.connection.name}"
        with translated(doing, "CKM_ECDH1_DERIVE"):
            derived = _derive(half.handle, enc)
            try:
                return bytes(derived[Attribute.VALUE])
            finally:
                derived.destroy()


def _derive(private: Any, enc: bytes) -> Any:  # noqa: ANN401  # the library makes a class for each object
    try:
        return private.derive_key(
            KeyType.GENERIC_SECRET,
            8 * _SHARED_SIZE,
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
            f"the key {half} of {connection.name} is on {half.curve}, which wraps nothing",
            "an epoch key is a pair on P-256 (or X25519)",
        )
    return half


def _key_id(half: PublicHalf) -> str:
    return "pkcs11:" + hashlib.sha256(half.point).hexdigest()
