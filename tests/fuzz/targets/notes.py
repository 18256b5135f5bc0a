"""Signed notes, keys, cosignatures, policies, and what a witness is sent."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path

from epochseal.errors import ConfigError, FormatError, VerificationError
from epochseal.format.cosignature import find_cosignatures, parse_witness_vkey
from epochseal.format.note import (
    VerifierKey,
    check_origin,
    parse_checkpoint,
    parse_note,
    parse_vkey,
    verify_note,
)
from epochseal.format.witness_policy import parse_policy
from epochseal.witness.submission import parse_submission
from tests.reference.keys import Keys

LOG_KEY = parse_vkey(Keys(Path()).vkey())
"""Of the logs of the corpus."""


def note(data: bytes) -> None:
    """A note and the checkpoint in it, one form each; signatures are checked by known keys."""
    with suppress(FormatError):
        read = parse_note(data)
        assert read.encode() == data
        with suppress(VerificationError, ConfigError):
            verify_note(read, _known_keys(read.signatures[0].name))
        checkpoint = parse_checkpoint(read.text)
        assert checkpoint.text() == read.text
        # One rule, told in two places.
        assert check_origin(checkpoint.origin) == checkpoint.origin


@cache
def _a_key(name: str) -> VerifierKey:
    return VerifierKey(name, LOG_KEY.key)


def _known_keys(name: str) -> list[VerifierKey]:
    with suppress(FormatError):
        return [_a_key(name)]
    return []


def vkey(data: bytes) -> None:
    """The key of a log, or that of a witness: never both."""
    text = data.decode("utf-8", "surrogateescape")
    read = []
    for parse in (parse_vkey, parse_witness_vkey):
        with suppress(FormatError):
            read.append(parse(text).vkey)
    assert read in ([], [text])


def cosignatures(data: bytes) -> None:
    """A policy, an empty line, and a note: what its witnesses have signed."""
    head, _, raw = data.partition(b"\n\n")
    with suppress(FormatError, ConfigError, VerificationError):
        policy = parse_policy(head + b"\n")
        policy.check(find_cosignatures(parse_note(raw), policy.keys()))


def policy(data: bytes) -> None:
    """A policy, held against nobody and against everybody."""
    try:
        read = parse_policy(data)
    except ConfigError:
        return
    with suppress(VerificationError):
        read.check([])
    # A quorum that all witnesses together do not make could never be had: the file is refused.
    read.check(read.keys())


def submission(data: bytes) -> None:
    """The body of `add-checkpoint`, one form."""
    with suppress(FormatError):
        assert parse_submission(data).encode() == data
