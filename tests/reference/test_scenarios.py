"""The reference verifier says of each small log what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reference.keys import Keys
from tests.reference.scenarios import SCENARIOS, make
from tests.reference.verifier import verify


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
