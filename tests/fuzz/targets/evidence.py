"""Proofs and trust files."""

from __future__ import annotations

from contextlib import suppress

from epochseal.errors import FormatError, VerificationError
from epochseal.evidence.proof import parse_proof, prove_entry
from epochseal.evidence.trust_file import parse_trust
from tests.fuzz.targets.notes import LOG_KEY


def proof(data: bytes) -> None:
    """A proof file, one form; its entry is shown only if all of it holds."""
    with suppress(FormatError, VerificationError):
        assert parse_proof(data).encode() == data
        prove_entry(data, LOG_KEY.key, None)


def trust_file(data: bytes) -> None:
    """A trust file, one form, with a signature that holds."""
    with suppress(FormatError, VerificationError):
        read = parse_trust(data)
        assert read.encode() == data
        assert read.pins().size == read.checkpoint.size
