"""The Vault backend: the contract of all backends, against a real OpenBao server over TLS."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from epochseal.checkup import Examiner
from epochseal.keys import Backend, load_backend, parse_key_uri
from epochseal_backends import vault
from tests.backends_under_test.openbao import OpenBao, Provisioned
from tests.contract.backend_contract import CONTEXT, BackendContract, Harness, Party

BACKEND: Backend = vault
"""Checked by mypy: the module has the functions of a backend."""

EXAMINER: Examiner = vault
"""Checked by mypy: and those that the doctor asks."""

_names = (f"log{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A running server; each test makes keys of its own."""
    with OpenBao(tmp_path_factory.mktemp("bao")) as server:
        yield server


def harness_of(bao: OpenBao, **options: str) -> Harness:
    """The roles of a new log, and the verifier of another."""
    keys = bao.provision(next(_names), CONTEXT.origin, **options)
    other = bao.provision(next(_names), CONTEXT.origin)
    return Harness(
        agent=party(keys, "agent"),
        verifier=party(keys, "verifier"),
        auditor=party(keys, "auditor"),
        other_verifier=party(other, "verifier"),
    )


def party(keys: Provisioned, role: str) -> Party:
    """One role's access."""
    settings: dict[str, str] = getattr(keys, role)
    return Party(keys.epoch_uri, keys.checkpoint_uri, settings)


class TestVaultBackend(BackendContract):
    """The contract, with an Ed25519 checkpoint key."""

    @pytest.fixture
    def harness(self, bao: OpenBao) -> Harness:
        """AppRoles with exactly the shipped policies."""
        return harness_of(bao)


class TestVaultBackendECDSA(BackendContract):
    """The contract, with a P-256 checkpoint key in an engine whose path has slashes."""

    @pytest.fixture
    def harness(self, bao: OpenBao) -> Harness:
        """AppRoles with exactly the shipped policies."""
        return harness_of(bao, checkpoint_type="ecdsa-p256", mount="teams/audit/transit")


@pytest.mark.parametrize("scheme", ["hashivault", "openbao"])
def test_entry_points_name_the_module(scheme: str) -> None:
    """Both schemes of the installed package are this module."""
    assert load_backend(parse_key_uri(f"{scheme}://transit/epoch")) is vault
