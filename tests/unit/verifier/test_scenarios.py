"""The small logs of tests/reference: the verdict is what the page says, and so are the kinds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from epochseal.keys import load_backend, parse_key_uri
from epochseal.verifier import Request, verify
from tests.reference.keys import Keys
from tests.reference.scenarios import SCENARIOS, make


@pytest.mark.parametrize("mode", ["keys", "public"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str, mode: str, made_keys: Keys, tmp_path: Path) -> None:
    """In keys mode and in public, with one process and with two."""
    log = make(name, tmp_path / "log", made_keys)
    for path in log.path.glob("segments/*"):
        # Old to the file system, so that the verifier does not wait for an agent that is not there.
        os.utime(path, (0, 0), follow_symlinks=False)
    folder = made_keys.directory
    auditor, secret = (
        parse_key_uri(f"file:{folder / 'auditor'}"),
        parse_key_uri(f"file:{folder / 'verifier'}"),
    )
    request = Request(
        make_recoverer=(lambda: load_backend(secret).recoverer(secret, {})) if mode == "keys" else None,
        checkpoint_key=load_backend(auditor).public_key(auditor, {}),
        jobs=2 if mode == "keys" else 1,
        now=lambda: log.time + 1000,
    )
    verdict = verify(log.path, request)
    expected, kinds = SCENARIOS[name].keys if mode == "keys" else SCENARIOS[name].public
    found = {problem.kind for problem in verdict.problems}
    assert verdict.verdict == expected, verdict.problems
    assert expected == "tampered" or found == kinds
