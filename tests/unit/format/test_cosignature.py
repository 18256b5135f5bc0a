"""Cosignatures of witnesses, by the vectors and by hand."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from epochseal.encoding import MAX_INT
from epochseal.errors import FormatError, VerificationError
from epochseal.format.cosignature import (
    WitnessKey,
    cosign,
    find_cosignatures,
    parse_witness_vkey,
    verify_cosignature,
)
from epochseal.format.note import parse_note, verify_note
from epochseal.format.witness_policy import parse_policy

VECTORS = Path(__file__).parents[2] / "vectors" / "cosignature"
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = WitnessKey("witness.example/w1", PRIVATE.public_key().public_bytes_raw())
TEXT = "log.example/worked\n6\n88m1iIWttJjo6doMAxYLwMqCLugwd4xaQFWdPeXMN/o=\n"


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.json")), ids=lambda path: path.stem)
def test_vector(path: Path) -> None:
    """Each file under vectors/cosignature has the outcome that it states."""
    case = json.loads(path.read_text(encoding="utf-8"))
    note, key = parse_note(case["note"].encode()), parse_witness_vkey(case["vkey"])
    if case["expect"] == "verification failure":
        with pytest.raises(VerificationError):
            find_cosignatures(note, [key])
        return
    assert {item: time for item, (_, time) in find_cosignatures(note, [key]).items()} == (
        {} if case["expect"] is None else {key: case["expect"]}
    )


def test_vectors_are_those_of_the_generator(tmp_path: Path) -> None:
    """The files in the tree are what generate.py writes, and there is no other."""
    script = tmp_path / "generate.py"
    script.write_text((VECTORS / "generate.py").read_text(encoding="utf-8"), encoding="utf-8")
    runpy.run_path(str(script), run_name="__main__")
    made = {path.name: path.read_bytes() for path in tmp_path.glob("*.json")}
    assert made == {path.name: path.read_bytes() for path in VECTORS.glob("*.json")}


@given(time=st.integers(0, MAX_INT))
def test_what_is_cosigned_verifies(time: int) -> None:
    """Any time that fits comes back, and over another text the same line does not hold."""
    made = cosign(TEXT, time, KEY, PRIVATE.sign)
    assert verify_cosignature(made, TEXT, KEY) == time
    with pytest.raises(VerificationError):
        verify_cosignature(made, TEXT.replace("6", "7"), KEY)


def test_a_signer_with_another_key_is_caught() -> None:
    """A cosignature that no reader would accept never leaves."""
    with pytest.raises(VerificationError):
        cosign(TEXT, 1, KEY, Ed25519PrivateKey.generate().sign)
    with pytest.raises(FormatError):
        cosign(TEXT, MAX_INT + 1, KEY, PRIVATE.sign)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "witness.example/w1",
        KEY.vkey + "\n",
        KEY.vkey[:-1],
        KEY.vkey.replace("w1", "w2"),
        KEY.vkey.replace(KEY.key_id.hex(), "00000000"),
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "witness.example/w1+00000000+BA==",
        "witness.example/w1+00000000+",
    ],
    ids=["empty", "name", "newline", "cut", "other-name", "other-id", "log-key", "no-key", "nothing"],
)
def test_what_is_no_witness_key_is_refused(text: str) -> None:
    """A key of a log, of another form, or with the id of another key."""
    with pytest.raises(FormatError):
        parse_witness_vkey(text)


def test_the_key_of_a_witness_reads_back() -> None:
    """Text and key are one for one."""
    assert parse_witness_vkey(KEY.vkey) == KEY


def test_public_witnesses_of_a_public_log_are_understood() -> None:
    """A checkpoint that four witnesses of others cosigned: all hold, of the same second, and are a quorum."""
    policy = parse_policy((VECTORS / "published.policy").read_bytes())
    note = parse_note((VECTORS / "published.note").read_bytes())
    assert verify_note(note, policy.logs) == policy.logs
    found = find_cosignatures(note, policy.keys())
    assert {time for _, time in found.values()} == {0x6A122120}
    policy.check(list(found))
    changed = replace(note, text=note.text.replace("1432088532", "1432088533"))
    with pytest.raises(VerificationError):
        find_cosignatures(changed, policy.keys())
