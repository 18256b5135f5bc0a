"""New keys in new folders, one folder a role: what `epochseal keygen` calls."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from epochseal.errors import ConfigError
from epochseal_backends.file.key_folder import (
    CHECKPOINT_PRIVATE,
    CHECKPOINT_PUBLIC,
    EPOCH_PRIVATE,
    EPOCH_PUBLIC,
    ROLES,
)
from epochseal_backends.small_files import translated


def generate(directory: Path) -> None:
    """Make two new key pairs and a folder for each role in `directory`, which is made where it is missing.

    Folders of roles have mode 0700, private keys 0600; all is on disk when this returns. A directory that is
    made has 0755: each role's user goes through it to a folder of its own.

    Raises:
        ConfigError: a folder of a role exists already (nothing is overwritten), or cannot be written.
        Denied: this user may not write there.
    """
    with translated(str(directory), "write"):
        missing = [folder for folder in (directory, *directory.parents) if not folder.exists()]
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        for role in ROLES:
            if os.path.lexists(directory / role):
                raise ConfigError(
                    f"{directory / role} exists already, and keys are never overwritten",
                    hint="name another directory, or move the old keys away",
                )
        contents = _new_keys()
        for role, names in ROLES.items():
            (directory / role).mkdir(mode=0o700)
            for name in names:
                _write_new(directory / role / name, contents[name])
            _sync_folder(directory / role)
        for changed in (directory, *(folder.parent for folder in missing)):
            _sync_folder(changed)


def _new_keys() -> dict[str, bytes]:
    epoch, checkpoint = X25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    private, public = PrivateFormat.PKCS8, PublicFormat.SubjectPublicKeyInfo
    return {
        EPOCH_PRIVATE: epoch.private_bytes(Encoding.PEM, private, NoEncryption()),
        EPOCH_PUBLIC: epoch.public_key().public_bytes(Encoding.PEM, public),
        CHECKPOINT_PRIVATE: checkpoint.private_bytes(Encoding.PEM, private, NoEncryption()),
        CHECKPOINT_PUBLIC: checkpoint.public_key().public_bytes(Encoding.PEM, public),
    }


def _write_new(path: Path, content: bytes) -> None:
    """Create `path`; O_EXCL follows no link and overwrites no file that appeared since the check."""
    mode = 0o600 if path.suffix == ".key" else 0o644
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
