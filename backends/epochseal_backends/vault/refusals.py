"""What a transit engine says when it does not do something, and what that means to us.

The engine answers in English only: these are its words, the same in Vault and OpenBao.
"""

from __future__ import annotations

from collections.abc import Callable

from epochseal.errors import BackendError, ConfigError, Denied
from epochseal_backends.vault.names import KeyName
from epochseal_backends.vault.session import Refusal

# Of a ciphertext whose form is right: another key, another context, or changed bytes.
_WRONG_KEY = ("message authentication failed", "invalid ciphertext", "unable to decrypt", "could not decrypt")


def says_wrong_key(exc: Refusal) -> bool:
    """Whether the engine had the key, tried, and the ciphertext does not belong to it or to the context."""
    return any(text in exc.said for text in _WRONG_KEY)


def explained(exc: Refusal, name: KeyName) -> BackendError | ConfigError:
    """The refusal as an error that says what to do."""
    said = exc.said
    for texts, make in _MEANINGS:
        if any(text in said for text in texts):
            return make(name)
    # Reading a key that is not there says nothing at all.
    return _no_key(name) if exc.status == 404 and not said else exc  # noqa: PLR2004  # the status has a name in RFC 9110


def _no_key(name: KeyName) -> BackendError:
    return BackendError(
        f"vault: there is no key {name.key!r} in the engine at {name.mount}",
        hint="was it deleted, or never made (deploy/vault/setup.sh)? A deleted key cannot be made again",
    )


def _no_mount(name: KeyName) -> BackendError:
    return BackendError(
        f"vault: no transit engine is mounted at {name.mount}",
        hint="check the key URI and the namespace: URIs are written MOUNT/KEY",
    )


def _too_old(name: KeyName) -> Denied:
    return Denied(
        f"vault: {name}: min_decryption_version does not allow the version that wrapped this secret",
        hint=f"lower it for the time of the verification: write {name.mount}/keys/{name.key}/config "
        "min_decryption_version=1",
    )


def _too_old_to_sign(name: KeyName) -> Denied:
    return Denied(
        f"vault: {name}: min_encryption_version does not allow to sign with version {name.version}",
        hint=f"set min_encryption_version={name.version} or 0; a log goes over to another version with "
        "epochseal rotate",
    )


def _no_version(name: KeyName) -> BackendError:
    return BackendError(
        f"vault: {name} has no version {name.version}", hint="name one that it has: ?version=N"
    )


def _is_derived(name: KeyName) -> ConfigError:
    return ConfigError(
        f"vault: {name} is a derived key, which cannot sign checkpoints", hint="make one without derived"
    )


def _soft_deleted(name: KeyName) -> BackendError:
    return BackendError(
        f"vault: {name} is disabled: it was soft-deleted",
        hint=f"write {name.mount}/keys/{name.key}/soft-delete-restore brings it back",
    )


def _wrong_type(name: KeyName) -> ConfigError:
    return ConfigError(
        f"vault: {name} is of a type that cannot do this",
        hint="an epoch key is aes256-gcm96 and derived, a checkpoint key ed25519 or ecdsa-p256",
    )


_MEANINGS: tuple[tuple[tuple[str, ...], Callable[[KeyName], BackendError | ConfigError]], ...] = (
    (("soft-deleted",), _soft_deleted),
    (("key not found",), _no_key),
    (("no handler for route", "unsupported path", "unsupported operation"), _no_mount),
    (("disallowed by policy (too old)",), _too_old),
    (("requested version for signing is less",), _too_old_to_sign),
    (("requested version for signing is higher",), _no_version),
    (("missing 'context'",), _is_derived),
    (("not supported for key type", "does not support"), _wrong_type),
)
