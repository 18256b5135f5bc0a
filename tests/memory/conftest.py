"""Keys that the watched agents use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.keys import load_backend, parse_key_uri
from epochseal_backends import file
from tests.backends_under_test.openbao import OpenBao, environment
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


@pytest.fixture
def vault_backend(tmp_path: Path) -> Iterator[Backend]:
    """Keys in a real OpenBao server, over TLS."""
    with OpenBao(tmp_path / "bao") as server:
        keys = server.provision("memory", "log.example/memory")
        uri = parse_key_uri(keys.epoch_uri)
        yield Backend(
            ("--epoch-key", keys.epoch_uri, "--checkpoint-key", keys.checkpoint_uri),
            load_backend(uri).recoverer(uri, keys.verifier),
            environment(keys.agent),
        )
