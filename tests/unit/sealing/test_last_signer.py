"""Whose log it is: what somebody else wrote behind the remembered lines does not count."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from epochseal.encoding import b64encode
from epochseal.errors import ConfigError
from epochseal.format.note import Checkpoint, Note, VerifierKey, sign_text
from epochseal.format.seal_lines import Rotate, encode_body, encode_line, encode_note_line
from epochseal.keys import PublicKey
from epochseal.sealing.last_signer import read_last_signer

ORIGIN = "example.com/signer"


def _note(private: Ed25519PrivateKey, size: int) -> bytes:
    key = PublicKey("ed25519", private.public_key().public_bytes_raw())
    text = Checkpoint(ORIGIN, size, bytes(32)).text()
    return encode_note_line(
        Note(text, (sign_text(text, VerifierKey(ORIGIN, key), private.sign(text.encode())),)).encode()
    )


def _line(index: int, old: str = "file:a", new: str = "file:b") -> bytes:
    body = Rotate("epoch", old, new, index, "w", "y", 1)
    return encode_line(encode_body(index, body), bytes(32))


@pytest.fixture
def keys() -> tuple[Ed25519PrivateKey, Ed25519PrivateKey]:
    """Ours, and a thief's."""
    return Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


@pytest.mark.parametrize("same_file", [True, False])
def test_lines_behind_the_remembered_ones_say_nothing(
    tmp_path: Path, keys: tuple[Ed25519PrivateKey, Ed25519PrivateKey], *, same_file: bool
) -> None:
    """Foreign lines, their notes and their rotations do not keep an agent out that remembers its own."""
    ours, theirs = keys
    folder = tmp_path / "segments"
    folder.mkdir()
    own = _line(0) + _line(1) + _note(ours, 2)
    foreign = _line(2, "file:b", "file:thief") + _note(theirs, 3) + b"not even a line\n"
    first = folder / "000001-20261123T100000Z.seal"
    first.write_bytes(own + foreign if same_file else own)
    if not same_file:
        (folder / "000002-20261123T100000Z.seal").write_bytes(foreign)
    key = PublicKey("ed25519", ours.public_key().public_bytes_raw())
    with pytest.raises(ConfigError, match="is not the log's"):
        read_last_signer(tmp_path, ORIGIN).check(key)
    found = read_last_signer(tmp_path, ORIGIN, 2)
    found.check(key)
    assert found.epoch_key is not None
    assert found.epoch_key.new == "file:b"
    with pytest.raises(ConfigError, match="is not the log's"):
        found.check(PublicKey("ed25519", theirs.public_key().public_bytes_raw()))
    assert b64encode(bytes(32)) in (found.note.text if found.note is not None else "")
