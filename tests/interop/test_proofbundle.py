"""The C2SP implementation in Python, proofbundle: tlog-proofs and checkpoints, both ways."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from proofbundle.checkpoint import sign_checkpoint, verify_checkpoint, vkey
from proofbundle.tlogproof import verify_tlog_proof

from epochseal.evidence.prover import prove
from epochseal.format.note import VerifierKey, parse_checkpoint, parse_note, parse_vkey, verify_note
from tests.integration.logs import ORIGIN, LogKeys, write_log


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> LogKeys:
    """The keys of the log here."""
    return LogKeys(tmp_path_factory.mktemp("keys"))


def test_it_checks_our_proofs(tmp_path: Path, keys: LogKeys) -> None:
    """The tlog-proof inside of a proof is one to it, over the payload of the line and nothing else."""
    log = write_log(tmp_path / "log", keys)
    key = VerifierKey(ORIGIN, keys.public).vkey
    for number in (0, 17, 34):
        proof = prove(log.path, number, keys.public)
        inside = proof.encode()[proof.encode().index(b"c2sp.org/tlog-proof@v1\n") :].decode()
        assert verify_tlog_proof(inside, proof.payload, key)["ok"] is True
        assert verify_tlog_proof(inside, proof.payload + b" ", key)["ok"] is False
    assert verify_checkpoint((log.path / "checkpoint").read_text(encoding="utf-8"), key)["ok"] is True


def test_we_read_its_checkpoints() -> None:
    """A checkpoint that it signs is one to us, by the vkey that it writes."""
    signer = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = signer.public_key().public_bytes_raw()
    note = parse_note(
        sign_checkpoint("example.com/theirs", 7, bytes(32), signer, "example.com/theirs").encode()
    )
    key = parse_vkey(vkey("example.com/theirs", public))
    assert verify_note(note, [key]) == (key,)
    assert parse_checkpoint(note.text).size == 7
