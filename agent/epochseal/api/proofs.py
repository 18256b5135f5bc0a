"""Proofs of one entry, made and checked with a key that is named as text."""

from __future__ import annotations

import os
from pathlib import Path

from epochseal.api.given_keys import CheckpointKey, LogKeys, one_origin, read_public_key
from epochseal.errors import ConfigError
from epochseal.evidence import proof as proofs
from epochseal.evidence import prover
from epochseal.evidence.proof import MAX_PROOF, ProvenEntry
from epochseal.storage.opener import read_named_file


def prove(
    logdir: str | os.PathLike[str],
    entry: int,
    *,
    checkpoint_key: CheckpointKey | None = None,
    origin: str | None = None,
    log: bytes | None = None,
) -> bytes:
    """The proof file of entry number `entry` (from 0): it shows the entry to whoever has the public key.

    Args:
        logdir: the log's directory.
        entry: the entry's number in the log.
        checkpoint_key: checks the signature already here. Without it, only `check_proof` does.
        origin: the name that the log must have.
        log: the id that the log must have, 32 bytes.

    Raises:
        NothingSealed: there is no sealed log.
        NotProvable: no signed checkpoint of its run vouches for the entry.
        UnknownKey: the log is of another origin or id, or its checkpoints are signed by another key.
        VerificationError: the entry, its line or the tree do not verify.
        ConfigError: the log has no such entry, its block is too large, or the key cannot be used.
        FormatError: the vkey is not in its one form.
        StorageError: a file of the log cannot be read.
        OSError: the file of the vkey cannot be read.
        Denied, Unavailable, BackendError: the key backend did not give its public key.
    """
    if entry < 0:
        raise ConfigError(f"entry {entry}: entries are counted from 0")
    named, public_key = LogKeys(checkpoint_key=checkpoint_key).public_key()
    asked = one_origin(origin, {"checkpoint key": named})
    return prover.prove(Path(logdir), entry, public_key, asked, log).encode()


def check_proof(
    proof: bytes | str | os.PathLike[str], *, checkpoint_key: CheckpointKey, origin: str | None = None
) -> ProvenEntry:
    """Check everything in a proof, offline; what is returned has been proven.

    What the entry says, and the clock of the host that sealed it, are not checked.

    Args:
        proof: the bytes of the proof, or the path of its file.
        checkpoint_key: the public key of the log.
        origin: the name that the log must have. Name it, or a vkey: with a key URI alone it is taken from
            the proof.

    Raises:
        UnknownKey: the proof is by another key, or of another log.
        VerificationError: the proof does not hold.
        FormatError: the proof or the vkey is not in its one form.
        ConfigError: the key cannot be used.
        OSError: the file of the proof or the vkey cannot be read.
        Denied, Unavailable, BackendError: the key backend did not give its public key.
    """
    named, public_key = read_public_key(checkpoint_key)
    asked = one_origin(origin, {"checkpoint key": named})
    raw = proof if isinstance(proof, bytes) else read_proof(Path(proof))
    return proofs.prove_entry(raw, public_key, asked)


def read_proof(path: Path) -> bytes:
    """A proof file, of which nothing but the file is known yet.

    Raises:
        ConfigError: it is no regular file, or larger than any proof.
        OSError: it cannot be read.
    """
    return read_named_file(path, MAX_PROOF)
