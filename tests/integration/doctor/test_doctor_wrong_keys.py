"""`epochseal doctor` on setups that were made wrongly: it ends with 1 and names what is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal_backends.file import backend as file
from tests.backends_under_test.kms import running_kms
from tests.backends_under_test.openbao import OpenBao, environment
from tests.backends_under_test.softhsm import SoftHSM
from tests.backends_under_test.variables import variables
from tests.integration.key_services import ORIGIN, Role
from tests.warm_program import run_text

PATIENCE = 120.0


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A server that runs."""
    with OpenBao(tmp_path_factory.mktemp("bao")) as server:
        yield server


def wrong(folder: Path, agent: Role, family: str | None) -> list[str]:
    """What the doctor finds wrong, having ended with 1 and not with another status."""
    table = f"[{family}]\n{agent.table(family)}" if family is not None else ""
    (folder / "epochseal.toml").write_text(
        f'epoch_key = "{agent.epoch}"\ncheckpoint_key = "{agent.checkpoint}"\n'
        f'[[log]]\ndir = "log"\norigin = "{ORIGIN}"\n[[log.source]]\nkind = "stdin"\n{table}'
    )
    done = run_text(["doctor", "--config", "epochseal.toml", "--json"], cwd=folder, env=agent.env)
    assert done.returncode == 1, done.stdout + done.stderr
    found = json.loads(done.stdout)["checks"]
    return [f"{item['topic']}: {item['detail']}" for item in found if item["outcome"] == "wrong"]


def test_private_wrapping_key_beside_the_agent(tmp_path: Path) -> None:
    """Files: the agent's folder holds what opens every secret."""
    file.generate(tmp_path / "keys")
    (tmp_path / "keys/verifier/epoch.key").rename(tmp_path / "keys/agent/epoch.key")
    uri = f"file:{tmp_path / 'keys/agent'}"
    assert any("private wrapping key" in text for text in wrong(tmp_path, Role(uri, uri, os.environ), None))


@pytest.mark.parametrize(
    ("key", "said"),
    [({"derived": False}, "derived"), ({"derived": True, "exportable": True}, "exported")],
    ids=["not derived", "exportable"],
)
def test_transit_key(bao: OpenBao, tmp_path: Path, key: dict[str, bool], said: str) -> None:
    """Transit: the context would be ignored; or the key can be taken out."""
    name = said
    made = bao.provision(name, ORIGIN)
    bao.request("POST", f"transit/keys/{name}-epoch/config", {"deletion_allowed": True})
    bao.request("DELETE", f"transit/keys/{name}-epoch")
    bao.request("POST", f"transit/keys/{name}-epoch", key)
    agent = Role(made.epoch_uri, made.checkpoint_uri, environment(made.agent))
    assert any(said in text for text in wrong(tmp_path, agent, "vault"))


def test_agent_that_can_decrypt(bao: OpenBao, tmp_path: Path) -> None:
    """Transit: a policy that is too wide."""
    made = bao.provision("wide", ORIGIN)
    policy = bao.request("GET", "sys/policies/acl/wide-agent")["data"]["policy"]
    wider = (
        policy.replace('["deny"]', '["update"]')
        + '\npath "transit/decrypt/wide-epoch" { capabilities = ["update"] }\n'
    )
    bao.request("PUT", "sys/policies/acl/wide-agent", {"policy": wider})
    agent = Role(made.epoch_uri, made.checkpoint_uri, environment(made.agent))
    found = wrong(tmp_path, agent, "vault")
    assert any("decrypt" in text or "recover" in text for text in found), found


def test_extractable_signing_key(tmp_path: Path) -> None:
    """A token: its private key can be read out."""
    hsm = SoftHSM.shared()
    agent, verifier = hsm.token("agent"), hsm.token("verifier")
    verifier.generate("epoch", "p256", "derive")
    verifier.copy_public("epoch", agent)
    agent.generate("checkpoint", "ed25519", "sign", extractable=True)
    named = variables("pkcs11", hsm.settings)
    role = Role(agent.uri("epoch"), agent.uri("checkpoint"), {**os.environ, **named})
    found = wrong(tmp_path, role, "pkcs11")
    assert any("extract" in text.lower() for text in found), found


def test_kms_credential_that_can_decrypt(tmp_path: Path) -> None:
    """KMS: a role that may do everything with the key."""
    with running_kms(tmp_path / "kms") as kms:
        kms.add_user("wide", {"Allow": ["kms:*"]})
        named = variables("aws", {**kms.settings("agent"), "profile": "wide"})
        role = Role(kms.epoch_uri, kms.checkpoint_uri, {**os.environ, **kms.environ, **named})
        found = wrong(tmp_path, role, "aws")
        assert any("decrypt" in text.lower() or "recover" in text.lower() for text in found), found
