"""Keys that the watched agents use."""

from __future__ import annotations

from pathlib import Path

import pytest

from epochseal.keys import load_backend, parse_key_uri
from epochseal_backends import file
from tests.memory.running import Backend


@pytest.fixture
def file_backend(tmp_path: Path) -> Backend:
    """Keys in files."""
    file.generate(tmp_path / "keys")
    uri = f"file:{tmp_path / 'keys/agent'}"
    verifier = parse_key_uri(f"file:{tmp_path / 'keys/verifier'}")
    return Backend(
        ("--epoch-key", uri, "--checkpoint-key", uri), load_backend(verifier).recoverer(verifier, {})
    )
