from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from epochseal.errors import BackendError
from epochseal.format.note import Checkpoint, Note, VerifierKey, parse_note, sign_text, verify_note
from epochseal.format.seal_lines import encode_note_line
from epochseal.keys import PublicKey
from epochseal.sealing.checkpoints import Checkpoints
from epochseal.sealing.counters import Counters
from epochseal.sealing.full_disk import FullDisk

ORIGIN = "example.com/checkpoints"
FIRST, SECOND = Checkpoint(ORIGIN, 3, b"\x03" * 32), Checkpoint(ORIGIN, 7, b"\x07" * 32)


class Clock:
    """It stands still."""

    def now(self) -> int:
        """1970."""
        return 0

    def monotonic(self) -> float:
        """0."""
        return 0.0


class Lines:
    """What is written to the open seal file, if one is open."""

    def __init__(self, *, has_segment: bool = True) -> None:
        self.has_segment = has_segment
        self.written: list[bytes] = []

    def write_notes(self, lines: bytes) -> None:
        """One append."""
        self.written.append(lines)


@pytest.fixture
def private() -> Ed25519PrivateKey:
    """The log's key."""
    return Ed25519PrivateKey.generate()


@pytest.fixture
def checkpoints(tmp_path: Path, private: Ed25519PrivateKey) -> Checkpoints:
    """Those of a log that knows its key."""
    made = Checkpoints(tmp_path, ORIGIN, FullDisk(Clock(), Counters()))
    made.set_key(public(private))
    return made


def public(private: Ed25519PrivateKey) -> PublicKey:
    """Its public half."""
    return PublicKey("ed25519", private.public_key().public_bytes_raw())


def sign(checkpoints: Checkpoints, private: Ed25519PrivateKey) -> bytes:
    """The note over the checkpoint that is due."""
    note = checkpoints.take(private.sign(checkpoints.ask()))
    assert note is not None
    return note


def test_a_checkpoint_is_due_until_its_note_is_written(
    checkpoints: Checkpoints, private: Ed25519PrivateKey, tmp_path: Path
) -> None:
    """First the seal file, then the file `checkpoint`; only then it counts as signed."""
    assert not checkpoints
    checkpoints.require(FIRST)
    note, lines = sign(checkpoints, private), Lines()
    assert (len(checkpoints), checkpoints.signed) == (1, 0)
    checkpoints.write(note, lines)
    assert (len(checkpoints), checkpoints.signed) == (0, 3)
    assert lines.written == [encode_note_line(note)]
    assert (tmp_path / "checkpoint").read_bytes() == note
    assert checkpoints.read(note) == FIRST


def test_a_later_checkpoint_takes_the_place_of_an_earlier_one(
    checkpoints: Checkpoints, private: Ed25519PrivateKey
) -> None:
    """The answer that was on its way for the earlier one is of no use, and is no refusal either."""
    checkpoints.require(FIRST)
    signature = private.sign(checkpoints.ask())
    checkpoints.require(SECOND)
    assert checkpoints.take(signature) is None
    assert checkpoints.due == SECOND
    assert checkpoints.read(sign(checkpoints, private)) == SECOND


def test_a_signature_is_verified_before_it_is_used(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """Another key's does not become a note; the checkpoint stays due."""
    checkpoints.require(FIRST)
    with pytest.raises(BackendError, match="does not verify"):
        checkpoints.take(Ed25519PrivateKey.generate().sign(checkpoints.ask()))
    assert checkpoints.due == FIRST
    assert not (tmp_path / "checkpoint").exists()


def test_the_note_of_an_earlier_close_waits_for_a_segment(
    checkpoints: Checkpoints, private: Ed25519PrivateKey, tmp_path: Path
) -> None:
    """A finished file never grows: it goes with the next note in one append, before it."""
    checkpoints.require(FIRST)
    close, none = sign(checkpoints, private), Lines(has_segment=False)
    checkpoints.write(close, none)
    assert none.written == []
    assert (tmp_path / "checkpoint").read_bytes() == close
    assert checkpoints.signed == 3
    checkpoints.require(SECOND)
    header, lines = sign(checkpoints, private), Lines()
    checkpoints.write(header, lines)
    assert lines.written == [encode_note_line(close) + encode_note_line(header)]
    assert (tmp_path / "checkpoint").read_bytes() == header


def test_the_key_that_takes_over_signs_too(checkpoints: Checkpoints, private: Ed25519PrivateKey) -> None:
    """Where one is set, the note bears both signatures."""
    successor = Ed25519PrivateKey.generate()
    key = VerifierKey(ORIGIN, public(successor))
    checkpoints.endorser = lambda text: sign_text(text, key, successor.sign(text.encode()))
    checkpoints.require(FIRST)
    note = parse_note(sign(checkpoints, private))
    assert len(note.signatures) == 2
    assert verify_note(note, [key]) == (key,)
    assert verify_note(note, [VerifierKey(ORIGIN, public(private))])


def test_what_is_no_note_of_ours_is_read_as_none(checkpoints: Checkpoints) -> None:
    """A forged checkpoint says nothing."""
    assert checkpoints.read(b"no note") is None
    thief = Ed25519PrivateKey.generate()
    text = FIRST.text()
    other = sign_text(text, VerifierKey(ORIGIN, public(thief)), thief.sign(text.encode()))
    assert checkpoints.read(Note(text, (other,)).encode()) is None
