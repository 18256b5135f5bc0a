"""Trust files: vectors, bits, and moving one forward."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from epochseal.errors import ConfigError, FormatError, VerificationError
from epochseal.evidence.log_memory import accept
from epochseal.evidence.trust_file import parse_trust, read_trust, write_trust
from tests.vectors.trust import generate

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "trust"
CASES: dict[str, dict[str, Any]] = json.loads((VECTORS / "cases.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", CASES)
def test_case(name: str) -> None:
    """Each vector is read, and written again byte for byte, or is a usage error."""
    path = VECTORS / f"{name}.trust"
    if CASES[name]["valid"]:
        assert read_trust(path).encode() == path.read_bytes()
        return
    with pytest.raises(ConfigError, match="no trust file"):
        read_trust(path)


def test_vectors_are_those_of_the_generator() -> None:
    """The files are what generate.py writes now."""
    stored = {
        path.name: path.read_bytes() for path in VECTORS.iterdir() if path.is_file() and path.suffix != ".py"
    }
    assert stored == generate.files()


def test_no_bit_makes_another_file_of_the_same_meaning() -> None:
    """Any one bit flipped is refused, or says something else: every meaning has one spelling."""
    raw = bytearray((VECTORS / "accepted.trust").read_bytes())
    known = parse_trust(bytes(raw))
    for bit in range(8 * len(raw)):
        raw[bit // 8] ^= 1 << bit % 8
        with suppress(FormatError, VerificationError):
            assert parse_trust(bytes(raw)) != known
        raw[bit // 8] ^= 1 << bit % 8


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    """A trust file that is not there is a usage error, never an empty trust."""
    with pytest.raises(ConfigError, match="there is no trust file") as caught:
        read_trust(tmp_path / "absent.trust")
    assert caught.value.hint is not None
    assert "epochseal trust" in caught.value.hint


def test_what_was_accepted_keeps_its_reason() -> None:
    """A second reason for the same start or key does not replace the first."""
    trust = read_trust(VECTORS / "accepted.trust")
    ((start, reason),) = trust.starts.items()
    ((later, told),) = trust.checkpoint_keys.items()
    more = accept(
        trust,
        starts={start: "another", bytes(32): "earlier"},
        epoch_keys={"vault:new": "another", "vault:3": "third"},
        checkpoint_keys={later: "another"},
    )
    assert more.starts == {start: reason, bytes(32): "earlier"}
    assert (more.epoch_keys["vault:new"], more.epoch_keys["vault:3"]) == ("rotated on 4 May", "third")
    assert more.checkpoint_keys == {later: told}
    assert parse_trust(more.encode()) == more


def test_the_pins_are_what_the_file_says() -> None:
    """Everything that a file pins reaches the verifier."""
    trust = read_trust(VECTORS / "accepted.trust")
    pins = trust.pins()
    assert (pins.origin, pins.log, pins.size) == ("example.com/worked", trust.log, 7)
    assert pins.starts == trust.starts
    assert {key.vkey for key in pins.checkpoint_keys} == set(trust.checkpoint_keys)
    assert [(item.retention, item.index, item.time) for item in pins.promises] == [
        (7_776_000_000, 0, 1_795_428_300_000)
    ]
    assert pins.epoch_keys == frozenset(trust.epoch_keys)


def test_it_is_written_for_its_owner_alone(tmp_path: Path) -> None:
    """Mode 0600: who may read it may lock it, and who may write it decides what is believed."""
    trust = read_trust(VECTORS / "accepted.trust")
    path = tmp_path / "own.trust"
    write_trust(path, trust)
    assert (path.stat().st_mode & 0o777, read_trust(path)) == (0o600, trust)


def test_a_checkpoint_of_a_stranger_is_no_trust() -> None:
    """A trust cannot even be made with a checkpoint that its key did not sign."""
    trust = read_trust(VECTORS / "honest.trust")
    with pytest.raises(VerificationError):
        replace(trust, note=trust.note.replace(b"\n7\n", b"\n8\n"))


def test_the_page_shows_a_trust_file() -> None:
    """The example of docs/trust.md can be read."""
    page = (VECTORS.parents[2] / "docs" / "trust.md").read_text(encoding="utf-8")
    shown = page.partition("```\nepochseal/v1/trust")[2].partition("```")[0]
    trust = parse_trust(f"epochseal/v1/trust{shown}".encode())
    assert trust.encode() == (VECTORS / "accepted.trust").read_bytes()
