"""A role's folder of keys: the names of its files, how each is read, and why one is not there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from epochseal.errors import ConfigError, Denied
from epochseal.keys import KeyURI
from epochseal_backends.small_files import read_small_file, translated

EPOCH_PUBLIC = "epoch.pub"
EPOCH_PRIVATE = "epoch.key"
CHECKPOINT_PUBLIC = "checkpoint.pub"
CHECKPOINT_PRIVATE = "checkpoint.key"

ROLES = {
    "agent": (EPOCH_PUBLIC, CHECKPOINT_PRIVATE, CHECKPOINT_PUBLIC),
    "verifier": (EPOCH_PRIVATE, EPOCH_PUBLIC, CHECKPOINT_PUBLIC),
    "auditor": (CHECKPOINT_PUBLIC,),
}
"""The files of each role's folder."""

OTHERS = stat.S_IRWXG | stat.S_IRWXO
"""Every permission of group and others: a private key has none of them."""

# What a folder without this file may not do, and the role that may.
_PERMITS = {
    EPOCH_PUBLIC: ("issue epoch secrets", "agent"),
    EPOCH_PRIVATE: ("recover epoch secrets", "verifier"),
    CHECKPOINT_PRIVATE: ("sign checkpoints", "agent"),
}


def folder_of(uri: KeyURI) -> Path:
    """The folder that the URI names.

    Raises:
        ConfigError: it names a host.
    """
    if uri.rest.startswith("//") and not uri.rest.startswith("///"):
        raise ConfigError(
            f"{uri} names a host, and files are only read here",
            hint="write file:PATH, without the two slashes",
        )
    return Path(uri.rest)


def load_public(path: Path) -> object:
    """The public key in a file, of whatever kind it is.

    Raises:
        Denied: this user may not read it, or the folder is that of a role without it.
        ConfigError: the folder or the file is missing, or it is not a public key in PEM.
    """
    try:
        return load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise ConfigError(f"{path} is not a public key in PEM") from exc


def load_private(path: Path) -> object:
    """The private key in a file, of whatever kind it is.

    Raises:
        Denied: as `load_public`.
        ConfigError: as `load_public`; also a file that other users may open, or a key with a password.
    """
    try:
        return load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        # TypeError is this library's answer to a key with a password.
        raise ConfigError(f"{path} is not a private key in PEM without a password") from exc


def _read(path: Path) -> bytes:
    """The content of a key file; a private one only if nobody else may open it."""
    with translated(str(path), "read"):
        try:
            return read_small_file(path, str(path), check=lambda descriptor: _check_mode(path, descriptor))
        except FileNotFoundError as exc:
            raise _absent(path) from exc


def _check_mode(path: Path, descriptor: int) -> None:
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if path.suffix == ".key" and mode & OTHERS:
        raise ConfigError(
            f"{path} has mode {mode:04o}: other users may open this private key", hint=f"chmod 600 {path}"
        )


def _absent(path: Path) -> ConfigError | Denied:
    """Why there is no such file: another role's folder, or none at all."""
    folder = path.parent
    if not folder.is_dir():
        return ConfigError(
            f"key folder {folder} does not exist",
            hint="make keys with epochseal keygen DIR, then name file:DIR/ROLE",
        )
    may_not, role = _PERMITS.get(path.name, ("", ""))
    if (folder / "agent").is_dir():
        return ConfigError(
            f"{folder} holds the folders of all roles, not keys",
            hint=f"name one of them: file:{folder / (role or 'auditor')}",
        )
    if not may_not or not (folder / CHECKPOINT_PUBLIC).exists():
        return ConfigError(f"{path} does not exist", hint="copy the whole folder that epochseal keygen made")
    return Denied(
        f"{path} does not exist: this folder is the {_owner(folder)}'s and may not {may_not}",
        hint=f"use the {role} folder that epochseal keygen made",
    )


def _owner(folder: Path) -> str:
    if (folder / EPOCH_PRIVATE).exists():
        return "verifier"
    return "agent" if (folder / CHECKPOINT_PRIVATE).exists() else "auditor"
