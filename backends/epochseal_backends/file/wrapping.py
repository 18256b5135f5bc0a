"""Wrapping epoch secrets for the public X25519 key of a folder, opening them with the private one (HPKE)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from epochseal.errors import BackendError, ConfigError, WrongKey
from epochseal.keys import (
    SECRET_SIZE,
    Context,
    Issued,
    KeyURI,
    WrappedSecret,
    check_secret_buffer,
    recover_each,
)
from epochseal_backends.file.key_folder import (
    EPOCH_PRIVATE,
    EPOCH_PUBLIC,
    folder_of,
    load_private,
    load_public,
)

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_INFO = b"epochseal/v1/wrap"


def issuer(uri: KeyURI, settings: Mapping[str, str]) -> FileIssuer:  # noqa: ARG001  # every backend is handed some
    """The issuer of an agent folder; there are no settings.

    Raises:
        Denied: the folder has no `epoch.pub`, or this user may not read it.
        ConfigError: the folder is missing, or the key is not an X25519 key in PEM; or the folder holds the
            private key too: whoever seals with it could read back every epoch key, and rewrite the past.
    """
    folder = folder_of(uri)
    if os.path.lexists(folder / EPOCH_PRIVATE):
        raise ConfigError(
            f"{folder} is the verifier's: whoever steals its {EPOCH_PRIVATE} here can rewrite the past",
            hint="seal with the agent folder that epochseal keygen made, and keep the verifier's elsewhere",
        )
    return FileIssuer(_epoch_public(folder))


def recoverer(uri: KeyURI, settings: Mapping[str, str]) -> FileRecoverer:  # noqa: ARG001  # as above
    """The recoverer of a verifier folder; there are no settings.

    Raises:
        Denied: the folder has no `epoch.key`, as an agent's has none, or this user may not read it.
        ConfigError: the folder is missing, the key is open to other users, or not an X25519 key in PEM.
    """
    path = folder_of(uri) / EPOCH_PRIVATE
    key = load_private(path)
    if not isinstance(key, X25519PrivateKey):
        raise ConfigError(f"{path} is not an X25519 private key")
    return FileRecoverer(key)


class FileIssuer:
    """Wraps fresh secrets for a public X25519 key: nothing that it holds opens an old one."""

    def __init__(self, key: X25519PublicKey) -> None:
        self._key = key

    def issue(self, context: Context, into: memoryview) -> Issued:
        """Write a fresh secret into `into` and wrap it (see `epochseal.keys.Issuer`)."""
        check_secret_buffer(into)
        try:
            _fill_with_random(into)
            wrapped = _SUITE.encrypt(into, self._key, info=_INFO + context.encode())
        except (OSError, ValueError) as exc:
            into[:] = bytes(SECRET_SIZE)
            raise BackendError(f"no epoch secret can be issued with this {EPOCH_PUBLIC}: {exc}") from exc
        return Issued(_key_id(self._key), wrapped)


class FileRecoverer:
    """Opens wrapped secrets with the private X25519 key."""

    def __init__(self, key: X25519PrivateKey) -> None:
        self._key = key
        self._key_id = _key_id(key.public_key())

    def recover_many(self, asked: Sequence[WrappedSecret], into: memoryview) -> list[BackendError | None]:
        """Write the secrets behind `asked` into `into` (see `epochseal.keys.Recoverer`)."""
        return recover_each(asked, into, self._open)

    def recognizes(self, key_id: str) -> bool:
        """Whether `key_id` is that of this folder's epoch key."""
        return key_id == self._key_id

    def _open(self, item: WrappedSecret) -> bytes:
        if item.key_id is not None and not self.recognizes(item.key_id):
            raise WrongKey(f"the wrapped secret is not of {item.key_id[:120]!r}")
        try:
            return _SUITE.decrypt(item.wrapped, self._key, info=_INFO + item.context.encode())
        except InvalidTag as exc:
            raise WrongKey(
                "the wrapped secret was not made for this key, log, epoch and previous tag, or was changed"
            ) from exc


def _epoch_public(folder: Path) -> X25519PublicKey:
    path = folder / EPOCH_PUBLIC
    key = load_public(path)
    if not isinstance(key, X25519PublicKey):
        raise ConfigError(f"{path} is not an X25519 public key")
    return key


def _key_id(key: X25519PublicKey) -> str:
    return "file:" + hashlib.sha256(key.public_bytes_raw()).hexdigest()


def _fill_with_random(into: memoryview) -> None:
    """Fill `into` from the kernel's generator, in place: `os.urandom` would leave a copy on the heap."""
    # Early at boot /dev/urandom answers before the generator is seeded; getrandom waits for that.
    os.getrandom(1)
    with Path("/dev/urandom").open("rb", buffering=0) as source:
        if source.readinto(into) != SECRET_SIZE:
            raise OSError("short read from /dev/urandom")
