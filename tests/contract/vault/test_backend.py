"""The Vault backend: the contract of all backends, against a real OpenBao server over TLS."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from epochseal.errors import ConfigError
from epochseal.examiner import Examiner
from epochseal.keys import Backend, load_backend, parse_key_uri
from epochseal_backends.vault import backend as vault
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


def test_ecdsa_in_an_engine_below_others(bao: OpenBao) -> None:
    """A P-256 checkpoint key signs as well, and the path of the engine may have slashes."""
    harness = harness_of(bao, checkpoint_type="ecdsa-p256", mount="teams/audit/transit")
    contract = BackendContract()
    contract.test_signature_verifies(harness)
    contract.test_roles_agree_on_the_public_key(harness)
    contract.test_round_trip(harness)
    contract.test_key_id_is_recognized(harness)
    assert harness.auditor.public_key().algorithm == "ecdsa-p256"


@pytest.mark.parametrize("scheme", ["hashivault", "openbao"])
def test_entry_points_name_the_module(scheme: str) -> None:
    """Both schemes of the installed package are this module."""
    assert load_backend(parse_key_uri(f"{scheme}://transit/epoch")) is vault


@pytest.mark.parametrize(
    "text",
    [
        "openbao:transit/epoch",
        "openbao://epoch",
        "openbao://transit/",
        "openbao:///epoch",
        "openbao://a/../b",
        "openbao://transit//epoch",
        "openbao://transit/epoch/",
        "openbao://transit/epoch#1",
        "openbao://transit/é",
        "openbao://transit/epoch?version=1",
        "openbao://transit/epoch?",
        "openbao://transit/-x",
        "openbao://%2e/x",
        "openbao://transit/" + "x" * 200,
    ],
)
def test_epoch_key_uris_have_one_form(text: str) -> None:
    """What is not MOUNT/KEY, or names a version, is a wrong configuration."""
    with pytest.raises(ConfigError):
        vault.recoverer(parse_key_uri(text), {"address": "https://vault.example"})


@pytest.mark.parametrize(
    "query", ["?", "?version=", "?version=0", "?version=01", "?version=-1", "?v=1", "?version=1&x=2"]
)
def test_checkpoint_key_versions_have_one_form(query: str) -> None:
    """A version is a number from 1, written plainly."""
    with pytest.raises(ConfigError, match="no version is named"):
        vault.signer(
            parse_key_uri(f"openbao://transit/checkpoint{query}"), {"address": "https://vault.example"}
        )


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"adress": "https://vault.example"}, "unknown setting"),
        ({"token": "s.secret"}, "would hold a secret"),
        ({"address": "http://vault.example:8200"}, "in the clear"),
        ({"address": "vault.example:8200"}, "not a URL"),
        ({"address": "https://user:secret@vault.example"}, "not a URL"),
        ({"address": "https://[::1"}, "not a URL"),
        ({"auth": "ldap"}, "unknown auth method"),
        ({"auth": "approle"}, "needs the setting role_id"),
        ({"auth": "jwt"}, "needs the setting role"),
        ({"auth": "cert"}, "needs a certificate"),
        ({"auth_mount": "/x/"}, "auth_mount is no path"),
        ({"ca_file": "/nonexistent"}, "is not a file"),
        ({"client_cert_file": "/dev/null"}, "is not a file"),
    ],
)
def test_wrong_settings(settings: dict[str, str], match: str) -> None:
    """Each wrong setting is named before anything is sent, and no secret is repeated."""
    with pytest.raises(ConfigError, match=match) as refused:
        vault.signer(parse_key_uri("openbao://transit/x"), {"address": "https://vault.example", **settings})
    assert "secret@" not in str(refused.value)
    assert "s.secret" not in str(refused.value)
    assert refused.value.hint
