"""Proof files: vectors, bits, limits, and the page's commands."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from epochseal.errors import FormatError, VerificationError
from epochseal.evidence.proof import MAX_PROOF, check_proof, parse_proof
from epochseal.format.note import UnknownKey, VerifierKey
from epochseal.keys import load_backend, parse_key_uri
from tests.vectors.proof import generate

ROOT = Path(__file__).resolve().parents[3]
VECTORS = ROOT / "tests" / "vectors" / "proof"
CASES: dict[str, dict[str, Any]] = json.loads((VECTORS / "cases.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs" / "proofs.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def key() -> VerifierKey:
    """The worked example's public key."""
    uri = parse_key_uri(f"file:{ROOT / 'tests' / 'vectors' / 'worked' / 'keys' / 'auditor'}")
    return VerifierKey("example.com/worked", load_backend(uri).public_key(uri, {}))


def outcome(raw: bytes, key: VerifierKey) -> str:
    """What a checker says of a file."""
    try:
        check_proof(parse_proof(raw), key)
    except UnknownKey:
        return "untrusted"
    except (FormatError, VerificationError):
        return "tampered"
    return "proven"


@pytest.mark.parametrize("name", CASES)
def test_case(name: str, key: VerifierKey) -> None:
    """Each vector is accepted or refused as its name says."""
    assert outcome((VECTORS / f"{name}.proof").read_bytes(), key) == CASES[name]["expect"]


def test_vectors_are_those_of_the_generator() -> None:
    """The files are what generate.py writes now."""
    stored = {
        path.name: path.read_bytes() for path in VECTORS.iterdir() if path.is_file() and path.suffix != ".py"
    }
    assert stored == generate.files()


def test_every_bit_counts(key: VerifierKey) -> None:
    """A proof in which any one bit is flipped is refused."""
    raw = bytearray((VECTORS / "entry-1.proof").read_bytes())
    accepted = []
    for bit in range(8 * len(raw)):
        raw[bit // 8] ^= 1 << bit % 8
        if outcome(bytes(raw), key) == "proven":
            accepted.append(bit)
        raw[bit // 8] ^= 1 << bit % 8
    assert accepted == []
    assert outcome(bytes(raw), key) == "proven"


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    """What is longer than any proof is refused by its length alone."""
    with pytest.raises(FormatError, match="longer than"):
        parse_proof(bytes(MAX_PROOF + 1))


def test_the_page_shows_the_vector() -> None:
    """The example of docs/proofs.md is the file that its commands run on."""
    assert f"```\n{(VECTORS / 'entry-1.proof').read_text(encoding='utf-8')}```" in PAGE


def by_hand(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run all commands of the page as one script."""
    commands = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert len(commands) == 5
    return subprocess.run(
        ["bash", "-c", "".join(commands)], cwd=folder, check=False, capture_output=True, text=True, timeout=60
    )


def test_the_page_reaches_the_verdict() -> None:
    """Standard tools alone check the proof, in the words of the page."""
    done = by_hand(VECTORS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "proven: entry 1 of example.com/worked"


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, case in CASES.items()
        if name.startswith(("entry-r", "entry-a", "payload-a", "path", "last-", "run-", "size"))
    ]
    + ["neighbour-left-out", "index-plus-1", "other-root", "signature-altered"],
)
def test_a_change_stops_it(name: str, tmp_path: Path) -> None:
    """The commands do check: each kind of attack ends them before the verdict."""
    shutil.copy(VECTORS / "checkpoint.pub", tmp_path)
    shutil.copy(VECTORS / f"{name}.proof", tmp_path / "entry-1.proof")
    done = by_hand(tmp_path)
    assert done.returncode != 0
    assert "proven:" not in done.stdout
