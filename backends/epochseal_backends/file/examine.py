"""What `epochseal doctor` finds out about key folders: that the agent holds what it should, and no more."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from epochseal.errors import ConfigError
from epochseal.examiner import KeyFinding
from epochseal.keys import KeyURI
from epochseal_backends.file.key_folder import (
    CHECKPOINT_PRIVATE,
    CHECKPOINT_PUBLIC,
    EPOCH_PRIVATE,
    EPOCH_PUBLIC,
    OTHERS,
    folder_of,
)
from epochseal_backends.file.signing import public_key, signer

_WRITABLE = stat.S_IWGRP | stat.S_IWOTH
# This text is no checkpoint: whoever gets hold of the signature over it can claim nothing with it.
_MESSAGE = b"epochseal doctor: this is no checkpoint\n"


def examine_epoch_key(uri: KeyURI, settings: Mapping[str, str], origin: str) -> Iterator[KeyFinding]:
    """The agent's folder holds no private wrapping key, and nobody else may change the public one."""
    # A key folder has no settings, and its keys serve any log: neither says anything about it.
    del settings, origin
    folder = folder_of(uri)
    yield from _guarded(folder, (EPOCH_PUBLIC,))
    topic = "agent holds no private wrapping key"
    private = folder / EPOCH_PRIVATE
    if os.path.lexists(private):
        yield KeyFinding(
            topic,
            "wrong",
            f"{private} is there: whoever becomes this user gets every old secret back",
            f"move it to the verifier's machine, then remove it here: shred -u {private}",
        )
        return
    beside = folder.parent / "verifier" / EPOCH_PRIVATE
    if os.access(beside, os.R_OK):
        yield KeyFinding(
            topic,
            "unknown",
            f"not in {folder}, but this user may read {beside}",
            "outside of a trial, move the verifier's folder to the verifier's machine",
        )
        return
    yield KeyFinding(topic, "good", f"{folder} has no {EPOCH_PRIVATE}")


def examine_checkpoint_key(uri: KeyURI, settings: Mapping[str, str]) -> Iterator[KeyFinding]:
    """The private checkpoint key is this user's alone, is half of a pair, and signs.

    Raises:
        Denied, ConfigError: as `signer`.
    """
    yield from _guarded(folder_of(uri), (CHECKPOINT_PRIVATE, CHECKPOINT_PUBLIC))
    checkpoint_signer = signer(uri, settings)
    public = Ed25519PublicKey.from_public_bytes(public_key(uri, settings).data)
    try:
        public.verify(checkpoint_signer.sign(_MESSAGE), _MESSAGE)
    except InvalidSignature:
        yield KeyFinding("checkpoint key signs", "wrong", "its signature does not hold", "make new keys")
    else:
        yield KeyFinding("checkpoint key signs", "good", f"and {CHECKPOINT_PUBLIC} verifies it")


def _guarded(folder: Path, names: tuple[str, ...]) -> Iterator[KeyFinding]:
    for path in (folder, *(folder / name for name in names)):
        topic = f"{path.name}: owner and mode"
        try:
            found = path.stat()
        except OSError as exc:
            raise ConfigError(
                f"cannot look at {path}: {exc.strerror}", "copy the whole folder that epochseal keygen made"
            ) from exc
        mode = stat.S_IMODE(found.st_mode)
        if found.st_uid not in {os.geteuid(), 0}:
            what = f"{path} belongs to user {found.st_uid}, who may exchange it"
            yield KeyFinding(topic, "wrong", what, f"chown it to this user or to root: {path}")
        elif path.suffix == ".key" and mode & OTHERS:
            what = f"{path} has mode {mode:04o}: other users may open this private key"
            yield KeyFinding(
                topic, "wrong", what, f"chmod 600 {path}, and make new keys if others have read it"
            )
        elif mode & _WRITABLE:
            yield KeyFinding(
                topic, "wrong", f"{path} has mode {mode:04o}: others may exchange it", f"chmod go-w {path}"
            )
        else:
            yield KeyFinding(topic, "good", f"mode {mode:04o}")
