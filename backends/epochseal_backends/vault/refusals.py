"""What a transit engine says when it does not do something, and what that means to us.

The engine answers in English only: these are its words, the same in Vault and OpenBao.
"""

from __future__ import annotations

from epochseal.errors import BackendError, ConfigError, Denied, EpochsealError
from epochseal_backends.servers import Meaning
from epochseal_backends.vault.names import KeyName
from epochseal_backends.vault.session import Refusal, Session

EPOCH_TYPES = ("aes256-gcm96", "aes128-gcm96", "chacha20-poly1305", "xchacha20-poly1305")
CHECKPOINT_TYPES = ("ed25519", "ecdsa-p256")

# Of a ciphertext whose form is right: another key, another context, or changed bytes.
_WRONG_KEY = ("message authentication failed", "invalid ciphertext", "unable to decrypt", "could not decrypt")


def says_wrong_key(exc: Refusal) -> bool:
    """Whether the engine had the key, tried, and the ciphertext does not belong to it or to the context."""
    return any(text in exc.said for text in _WRONG_KEY)


def explained(exc: Refusal, name: KeyName) -> EpochsealError:
    """The refusal as an error that says what to do."""
    for texts, meaning in _MEANINGS:
        if any(text in exc.said for text in texts):
            return meaning.explain(name=name)
    if exc.status == 404 and not exc.said:  # noqa: PLR2004  # the status has a name in RFC 9110
        # Reading a key that is not there says nothing at all.
        return _NO_KEY.explain(name=name)
    return exc


def not_there(exc: Refusal, name: KeyName, session: Session) -> EpochsealError:
    """As `explained`, of a key that could not be read: where another engine is mounted, its kind is said."""
    if exc.status == 404 and (kind := session.engine_at(name.mount)) not in {None, "transit"}:  # noqa: PLR2004  # as above
        return ConfigError(
            f"vault: the engine at {name.mount} is of kind {kind}, and keys lie in one of kind transit",
            hint="check the key URI: MOUNT/KEY, as in openbao://transit/payments-epoch",
        )
    return explained(exc, name)


_NO_KEY = Meaning(
    BackendError,
    "vault: there is no key {name.key!r} in the engine at {name.mount}",
    "was it deleted, or never made (deploy/vault/setup.sh)? A deleted key cannot be made again",
)
# Texts of the engine, the first that is found counts, and what they mean.
_MEANINGS = (
    (
        ("soft-deleted",),
        Meaning(
            BackendError,
            "vault: {name} is disabled: it was soft-deleted",
            "write {name.mount}/keys/{name.key}/soft-delete-restore brings it back",
        ),
    ),
    (("key not found",), _NO_KEY),
    (
        ("no handler for route", "unsupported path", "unsupported operation"),
        Meaning(
            BackendError,
            "vault: no transit engine is mounted at {name.mount}",
            "check the key URI and the namespace: URIs are written MOUNT/KEY",
        ),
    ),
    (
        ("disallowed by policy (too old)",),
        Meaning(
            Denied,
            "vault: {name}: min_decryption_version does not allow the version that wrapped this secret",
            "lower it for the time of the verification: write {name.mount}/keys/{name.key}/config "
            "min_decryption_version=1",
        ),
    ),
    (
        ("requested version for signing is less",),
        Meaning(
            Denied,
            "vault: {name}: min_encryption_version does not allow to sign with version {name.version}",
            "set min_encryption_version={name.version} or 0; a log goes over to another version with "
            "epochseal rotate",
        ),
    ),
    (
        ("requested version for signing is higher",),
        Meaning(
            BackendError,
            "vault: {name} has no version {name.version}",
            "name one that it has: ?version=N; write -f {name.mount}/keys/{name.key}/rotate makes a new one",
        ),
    ),
    (
        ("missing 'context'",),
        Meaning(
            ConfigError,
            "vault: {name} is a derived key, which cannot sign checkpoints",
            "make one without derived",
        ),
    ),
    (
        ("not supported for key type", "does not support"),
        Meaning(
            ConfigError,
            "vault: {name} is of a type that cannot do this",
            "an epoch key is aes256-gcm96 and derived, a checkpoint key ed25519 or ecdsa-p256",
        ),
    ),
)
