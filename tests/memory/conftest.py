"""Keys that the watched agents use."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.keys import load_backend, parse_key_uri
from epochseal_backends.file import backend as file
from tests.backends_under_test.kms import KmsServer, running_kms
from tests.backends_under_test.openbao import OpenBao, environment
from tests.backends_under_test.softhsm import SoftHSM, make_roles
from tests.backends_under_test.variables import variables
from tests.contract.pkcs11.parties import fresh_process
from tests.memory.running import ORIGIN, Backend, key_options

_NUMBERS = itertools.count()


@pytest.fixture
def file_backend(tmp_path: Path) -> Backend:
    """Keys in files."""
    file.generate(tmp_path / "keys")
    uris = [f"file:{tmp_path / 'keys' / role}" for role in ("agent", "verifier")]
    verifier = parse_key_uri(uris[1])
    agent, reader = (key_options(uri, uri) for uri in uris)
    return Backend(agent, reader, load_backend(verifier).recoverer(verifier, {}))


@pytest.fixture(scope="session")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A real OpenBao server, over TLS."""
    with OpenBao(tmp_path_factory.mktemp("bao")) as server:
        yield server


@pytest.fixture
def vault_backend(bao: OpenBao) -> Backend:
    """Keys in OpenBao that no other test uses."""
    keys = bao.provision(f"memory-{next(_NUMBERS)}", ORIGIN)
    uri, options = parse_key_uri(keys.epoch_uri), key_options(keys.epoch_uri, keys.checkpoint_uri)
    recoverer = load_backend(uri).recoverer(uri, keys.verifier)
    return Backend(options, options, recoverer, environment(keys.agent), environment(keys.verifier))


@pytest.fixture(scope="session")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KmsServer]:
    """A KMS, over TLS."""
    with running_kms(tmp_path_factory.mktemp("kms"), tls=True) as server:
        yield server


@pytest.fixture
def aws_backend(kms: KmsServer, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """Keys in that KMS."""
    for name, value in kms.environ.items():
        monkeypatch.setenv(name, value)
    uri, options = parse_key_uri(kms.epoch_uri), key_options(kms.epoch_uri, kms.checkpoint_uri)
    recoverer = load_backend(uri).recoverer(uri, kms.settings("verifier"))
    agent, verifier = (variables("aws", kms.settings(role)) for role in ("agent", "verifier"))
    return Backend(options, options, recoverer, agent, verifier)


@pytest.fixture
def pkcs11_backend() -> Backend:
    """Keys in tokens of SoftHSM."""
    hsm = SoftHSM.shared()
    roles = make_roles(hsm)
    # SoftHSM shows a process no token that was made after its start, which an earlier test may have been.
    fresh_process()
    agent, reader = (
        key_options(token.uri("epoch"), token.uri("checkpoint")) for token in (roles.agent, roles.verifier)
    )
    verifier = parse_key_uri(roles.verifier.uri("epoch"))
    settings = variables("pkcs11", hsm.settings)
    return Backend(
        agent, reader, load_backend(verifier).recoverer(verifier, hsm.settings), settings, settings
    )
