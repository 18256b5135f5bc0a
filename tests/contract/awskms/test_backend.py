"""The AWS KMS backend against moto's server: the contract of all backends, names, rotation, roles."""

from __future__ import annotations

from dataclasses import replace

import pytest

from epochseal.errors import ConfigError, Denied, WrongKey
from epochseal.examiner import Examiner
from epochseal.keys import Backend, load_backend, parse_key_uri, recover_one
from epochseal_backends.awskms import backend as awskms
from tests.backends_under_test.kms import KmsServer
from tests.contract.backend_contract import CONTEXT, BackendContract, Harness, Party

BACKEND: Backend = awskms
"""Checked by mypy: the module has the functions of a backend."""
EXAMINER: Examiner = awskms
"""Checked by mypy: and those that the doctor asks."""


pytestmark = pytest.mark.usefixtures("kms")


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


def test_alias_that_moved(kms: KmsServer) -> None:
    """The key id is the ARN behind an alias; where that moves, old secrets are refused."""
    arn, admin = kms.create_key(), kms.admin()
    admin.create_alias(AliasName="alias/moving", TargetKeyId=arn)
    uri = parse_key_uri("awskms:///alias/moving")
    issued = awskms.issuer(uri, kms.settings("agent")).issue(CONTEXT, memoryview(bytearray(32)))
    assert issued.key_id == arn
    admin.update_alias(AliasName="alias/moving", TargetKeyId=kms.create_key())
    moved = awskms.recoverer(uri, kms.settings("verifier"))
    assert not moved.recognizes(arn)
    with pytest.raises(WrongKey):
        recover_one(moved, issued.wrapped, CONTEXT, memoryview(bytearray(32)))
    by_arn = awskms.recoverer(parse_key_uri(f"awskms:///{arn}"), kms.settings("verifier"))
    recover_one(by_arn, issued.wrapped, CONTEXT, memoryview(bytearray(32)))


def test_denied_names_action_and_key(kms: KmsServer) -> None:
    """A refusal names the missing permission and the key that it is missing on."""
    with pytest.raises(Denied, match=r"kms:Sign on arn:aws:kms:.*") as refused:
        awskms.signer(parse_key_uri(kms.checkpoint_uri), kms.settings("verifier")).sign(b"x")
    assert "kms:Sign" in str(refused.value.hint)


@pytest.mark.parametrize(
    "uri", ["awskms:alias/x", "awskms://alias/x", "awskms:///x", "awskms:///alias/", "awskms:///alias/x?y=1"]
)
def test_other_spellings_are_refused(uri: str) -> None:
    """What is none of the forms is a ConfigError that shows them."""
    with pytest.raises(ConfigError, match="not the name of a KMS key") as refused:
        awskms.issuer(parse_key_uri(uri), {"region": "eu-west-1"})
    assert "awskms:///alias/NAME" in str(refused.value.hint)


def test_plain_http_is_refused() -> None:
    """An endpoint without encryption that is not on this machine is refused before anything is sent."""
    with pytest.raises(ConfigError, match="not encrypted"):
        awskms.issuer(
            parse_key_uri("awskms:///alias/x"), {"region": "eu-west-1", "endpoint": "http://kms.example:80"}
        )


def test_doctor_finds_the_agent_in_order(kms: KmsServer) -> None:
    """With the agent's credential, what must be refused is refused."""
    findings = list(
        awskms.examine_epoch_key(parse_key_uri(kms.epoch_uri), kms.settings("agent"), CONTEXT.origin)
    )
    outcomes = {finding.topic: finding.outcome for finding in findings}
    for verb in ("recover", "wrap", "wrap again", "make grants"):
        assert outcomes[f"agent may not {verb}"] == "good"
    assert "wrong" not in outcomes.values()


def test_doctor_finds_an_agent_that_decrypts(kms: KmsServer) -> None:
    """An agent that may do everything is found wanting, call by call."""
    findings = list(
        awskms.examine_epoch_key(parse_key_uri(kms.epoch_uri), kms.settings("admin"), CONTEXT.origin)
    )
    wrong = {finding.topic for finding in findings if finding.outcome == "wrong"}
    assert {f"agent may not {verb}" for verb in ("recover", "wrap", "wrap again", "make grants")} == wrong


def _party(kms: KmsServer, role: str) -> Party:
    return Party(kms.epoch_uri, kms.checkpoint_uri, kms.settings(role))
