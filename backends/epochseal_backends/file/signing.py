"""Signing checkpoints with the private Ed25519 key of an agent's folder, and its public half."""

from __future__ import annotations

from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from epochseal.errors import ConfigError
from epochseal.keys import KeyURI, PublicKey
from epochseal_backends.file.key_folder import (
    CHECKPOINT_PRIVATE,
    CHECKPOINT_PUBLIC,
    folder_of,
    load_private,
    load_public,
)


def signer(uri: KeyURI, settings: Mapping[str, str]) -> FileSigner:
    """The signer of an agent folder; there are no settings.

    Raises:
        Denied: the folder has no `checkpoint.key`, or this user may not read it.
        ConfigError: the folder is missing, the key is open to other users or not an Ed25519 key in PEM, or
            `checkpoint.pub` is not its public half.
    """
    path = folder_of(uri) / CHECKPOINT_PRIVATE
    key = load_private(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path} is not an Ed25519 private key")
    made = FileSigner(key)
    # Files of two different pairs: the agent would sign with a key that no verifier has, and nobody would
    # notice before the first verification.
    if made.public_key() != public_key(uri, settings):
        raise ConfigError(
            f"{path} and {CHECKPOINT_PUBLIC} beside it are not a pair",
            hint="copy both from the same agent folder again",
        )
    return made


def public_key(uri: KeyURI, settings: Mapping[str, str]) -> PublicKey:  # noqa: ARG001  # every backend is handed some
    """The public checkpoint key of any role's folder; there are no settings.

    Raises:
        Denied: this user may not read `checkpoint.pub`.
        ConfigError: the folder or the file is missing, or it is not an Ed25519 key in PEM.
    """
    path = folder_of(uri) / CHECKPOINT_PUBLIC
    key = load_public(path)
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path} is not an Ed25519 public key")
    return PublicKey("ed25519", key.public_bytes_raw())


class FileSigner:
    """Signs with the private Ed25519 key (RFC 8032)."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the Ed25519 signature over `message`."""
        return self._key.sign(message)

    def public_key(self) -> PublicKey:
        """The public half of the key that signs."""
        return PublicKey("ed25519", self._key.public_key().public_bytes_raw())
