"""The AWS KMS backend against moto's server: the contract of all backends, roles, names, credentials, rotation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from epochseal.keys import Backend, load_backend, parse_key_uri
from epochseal_backends import awskms
from tests.backends_under_test.kms import KmsServer, running_kms
from tests.contract.backend_contract import BackendContract, Harness, Party

BACKEND: Backend = awskms
"""Checked by mypy: the module has the functions of a backend."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KmsServer]:
    """One server for all tests of this file."""
    with running_kms(tmp_path_factory.mktemp("kms")) as kms:
        yield kms


@pytest.fixture(autouse=True)
def kms(server: KmsServer, monkeypatch: pytest.MonkeyPatch) -> KmsServer:
    """The server, and an environment in which nothing but it is found."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_ROLE_ARN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    return server


class TestAwsKmsBackend(BackendContract):
    """The contract, with keys in moto's KMS, named by their ARNs."""

    @pytest.fixture
    def harness(self, kms: KmsServer) -> Harness:
        """Each role with its own IAM user; the stranger is a verifier with another key."""
        other = replace(_party(kms, "verifier"), epoch_uri=f"awskms:///{kms.create_key()}")
        return Harness(_party(kms, "agent"), _party(kms, "verifier"), _party(kms, "auditor"), other)


def test_entry_point_names_the_module() -> None:
    """The scheme `awskms` of the installed package is this module."""
    assert load_backend(parse_key_uri("awskms:///alias/x")) is awskms


def _party(kms: KmsServer, role: str) -> Party:
    return Party(kms.epoch_uri, kms.checkpoint_uri, kms.settings(role))
