"""What is looked at in an agent's token, and the provisioning of tokens."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from pkcs11.exceptions import MechanismInvalid
from pkcs11.mechanisms import Mechanism

from deploy.pkcs11 import keys
from epochseal.errors import BackendError, ConfigError, Denied
from epochseal.examiner import Examiner, KeyFinding
from epochseal.keys import parse_key_uri
from epochseal_backends.pkcs11 import backend as pkcs11
from epochseal_backends.pkcs11.session import translated
from tests.backends_under_test.softhsm import MODULE, Roles, SoftHSM, SoftToken, make_roles
from tests.contract.backend_contract import CONTEXT
from tests.contract.pkcs11.parties import fresh_process, party
from tests.secret_file import write_secret

EXAMINER: Examiner = pkcs11
"""Checked by mypy: the module has the functions of an examiner."""


def test_examination_of_a_good_agent(roles: Roles) -> None:
    """Nothing is wrong with an agent's token as it should be."""
    findings = _examine(roles.agent)
    assert {finding.outcome for finding in findings} == {"good"}, findings
    assert len(findings) >= 8


def test_examination_finds_the_private_wrapping_key(hsm: SoftHSM) -> None:
    """The private wrapping key in the agent's token is wrong, whichever label it has."""
    token = hsm.token("both")
    token.generate("epoch", "p256", "derive")
    token.generate("checkpoint", "ed25519", "sign", "02")
    assert _wrong(token) == {"agent cannot recover"}
    roles = make_roles(hsm)
    roles.agent.generate("innocent", "p256", "derive")
    fresh_process()
    assert _wrong(roles.agent) == {"agent cannot recover"}


def test_examination_finds_an_extractable_key(hsm: SoftHSM) -> None:
    """A signing key that can be taken out of the token is wrong."""
    roles = make_roles(hsm)
    roles.agent.run("--delete-object", "--type", "privkey", "--label", "checkpoint", "--id", "01")
    roles.agent.run("--delete-object", "--type", "pubkey", "--label", "checkpoint", "--id", "01")
    roles.agent.generate("checkpoint", "ed25519", "sign", extractable=True)
    assert _wrong(roles.agent) == {"checkpoint key is not extractable"}
    topics = {finding.topic: finding.outcome for finding in _examine(roles.agent)}
    assert topics["checkpoint key was never extractable"] == "unknown"


def test_examination_finds_other_usages(hsm: SoftHSM) -> None:
    """A signing key that may also derive is wrong: it would answer for both keys."""
    token = hsm.token("usages")
    other = hsm.token("usages-verifier")
    other.generate("epoch", "p256", "derive", "09")
    other.copy_public("epoch", token, "09")
    command = ("--keypairgen", "--key-type", "EC:prime256v1", "--label", "checkpoint", "--id", "01")
    token.run(*command, "--sensitive", "--usage-sign", "--usage-derive")
    assert "checkpoint key has no other use" in _wrong(token)


def test_examination_tells_the_count_of_wrong_pins(hsm: SoftHSM, tmp_path: Path) -> None:
    """A token that saw a wrong PIN since the last right one is reported before anything logs in."""
    roles = make_roles(hsm)
    wrong = tmp_path / "pin"
    write_secret(wrong, "88888888")
    with pytest.raises(Denied):
        replace(party(roles.agent), settings=hsm.settings | {"pin_file": str(wrong)}).signer()
    assert _wrong(roles.agent) == {"PIN of the token"}


def test_script_is_clean() -> None:
    """Shellcheck has nothing to say about the script."""
    script = Path(__file__).parents[3] / "deploy" / "pkcs11" / "provision.sh"
    checked = _run(["shellcheck", str(script)], dict(os.environ))
    assert (checked.returncode, checked.stdout) == (0, "")


def test_provisioning(tmp_path: Path) -> None:
    """The script makes tokens and keys, proves the roles, and makes a second generation of a key."""
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    conf = tmp_path / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
    script = Path(__file__).parents[3] / "deploy" / "pkcs11" / "provision.sh"
    environment = os.environ | {"SOFTHSM2_CONF": str(conf), "MODULE": str(MODULE), "PYTHON": sys.executable}
    pins = tmp_path / "pins"
    first = _run([str(script), "--softhsm", str(pins)], environment)
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("ok ") == 9
    assert first.stdout.count("refused: token 'epochseal-") == 5
    again = _run([str(script), str(pins)], environment | {"KEYS": "epoch", "ID": "02"})
    assert again.returncode == 0, again.stderr
    assert {oct(path.stat().st_mode)[-3:] for path in pins.iterdir()} == {"600"}
    # One id for two keys of a token: NSS would let the second overwrite the first.
    taken = _run([str(script), str(pins)], environment | {"KEYS": "checkpoint", "CHECKPOINT_ID": "02"})
    assert (taken.returncode, "the id 02 for 'checkpoint' is that of its key 'epoch'" in taken.stderr) == (
        1,
        True,
    )
    wrong = _run([str(script), str(pins)], environment | {"KEYS": "epoch", "ID": "03", "CURVE": "ed25519"})
    assert "a key on ed25519 is not for --use derive" in wrong.stderr
    twice = _run([str(script), "--softhsm", str(pins)], environment)
    assert "no token is made twice" in twice.stderr
    # A PIN of the wrong role: what the verifier may, an agent must not.
    mixed = ["--token", "epochseal-verifier", "--pin-file", str(pins / "verifier.pin"), "--role", "agent"]
    program = [sys.executable, str(script.parent / "keys.py"), "prove", "--module", str(MODULE), *mixed]
    proof = _run(program, environment)
    assert proof.returncode == 1
    assert "WRONG agent recoverer: may" in proof.stdout


def test_a_missing_mechanism_is_named() -> None:
    """What a token lacks is said by its name in the standard, before a key is made."""
    there = {Mechanism.EC_KEY_PAIR_GEN, Mechanism.ECDSA}
    session = SimpleNamespace(token=SimpleNamespace(slot=SimpleNamespace(get_mechanisms=lambda: there)))
    keys.check_mechanisms(session, "p256", "sign")
    with pytest.raises(ConfigError, match=r"^it lacks CKM_ECDH1_DERIVE$"):
        keys.check_mechanisms(session, "p256", "derive")
    lacking = "CKM_EC_EDWARDS_KEY_PAIR_GEN and CKM_EDDSA; --curve p256"
    with pytest.raises(ConfigError, match=lacking):
        keys.check_mechanisms(session, "ed25519", "sign")
    lacking = "cannot sign: the token does not have CKM_EDDSA for this key"
    with pytest.raises(BackendError, match=lacking), translated("sign", "CKM_EDDSA"):
        raise MechanismInvalid


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _examine(token: SoftToken) -> list[KeyFinding]:
    agent = party(token)

    def findings() -> Iterator[KeyFinding]:
        yield from pkcs11.examine_epoch_key(parse_key_uri(agent.epoch_uri), agent.settings, CONTEXT.origin)
        yield from pkcs11.examine_checkpoint_key(parse_key_uri(agent.checkpoint_uri), agent.settings)

    return list(findings())


def _wrong(token: SoftToken) -> set[str]:
    return {finding.topic for finding in _examine(token) if finding.outcome == "wrong"}
