"""The reference verifier says of each small log what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reference.keys import Keys
from tests.reference.scenarios import SCENARIOS, make
from tests.reference.verifier import verify
from tests.vectors.made import generate

STORED = Path(generate.__file__).parent


@pytest.mark.parametrize("mode", ["keys", "public"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str, mode: str, made_keys: Keys, tmp_path: Path) -> None:
    """In keys mode and in public."""
    log = make(name, tmp_path / "log", made_keys)
    folder = made_keys.directory
    signer = folder / "auditor" / "checkpoint.pub"
    verdict, _, kinds = verify(
        log.path, folder / "verifier" if mode == "keys" else None, signer, log.time + 1000
    )
    expected = SCENARIOS[name].keys if mode == "keys" else SCENARIOS[name].public
    assert (verdict, set() if verdict == "tampered" else kinds) == expected


def test_the_vectors_are_those_of_the_generator() -> None:
    """The stored logs are the scenarios, byte for byte, with none missing and none left over."""
    stored = {str(path.relative_to(STORED)): path for path in STORED.glob("*/**/*") if path.is_file()}
    stored = {name: path for name, path in stored.items() if "__pycache__" not in name}
    written = generate.files()
    assert stored.keys() == written.keys()
    assert [name for name, path in stored.items() if path.read_bytes() != written[name]] == []
