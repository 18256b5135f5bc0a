"""Trust files: vectors, bits, and moving one forward."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from epochseal.errors import ConfigError, FormatError, VerificationError
from epochseal.evidence.trust_file import accept, parse_trust, read_trust
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
    """A second reason for the same cold start or key does not replace the first."""
    trust = read_trust(VECTORS / "accepted.trust")
    more = accept(
        trust, cold={7: "another", 3: "earlier"}, epoch_keys={"vault:new": "another", "vault:3": "third"}
    )
    assert list(more.cold.items()) == [(3, "earlier"), (7, trust.cold[7])]
    assert more.epoch_keys["vault:new"] == "rotated on 4 May"
    assert more.epoch_keys["vault:3"] == "third"
    assert parse_trust(more.encode()) == more


def test_a_checkpoint_of_a_stranger_is_no_trust() -> None:
    """A trust cannot even be made with a checkpoint that its key did not sign."""
    trust = read_trust(VECTORS / "honest.trust")
    with pytest.raises(VerificationError):
        replace(trust, note=trust.note.replace(b"\n6\n", b"\n7\n"))


def test_the_page_shows_a_trust_file() -> None:
    """The example of docs/trust.md can be read."""
    page = (VECTORS.parents[2] / "docs" / "trust.md").read_text(encoding="utf-8")
    shown = page.partition("```\nepochseal/v1/trust")[2].partition("```")[0]
    trust = parse_trust(f"epochseal/v1/trust{shown}".encode())
    assert (trust.key.name, trust.checkpoint.size, list(trust.cold)) == ("example.com/worked", 6, [7])
