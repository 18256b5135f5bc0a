"""The PKCS#11 backend against SoftHSM 2: the contract of all backends, and what is special about tokens."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.bindings import _rust
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from pkcs11 import Attribute, TokenFlag
from pkcs11.exceptions import AttributeSensitive

from epochseal.checkup import Examiner, Finding
from epochseal.errors import BackendError, ConfigError, Denied, Unavailable, WrongKey
from epochseal.keys import Backend, Context, Issued, load_backend, parse_key_uri
from epochseal_backends import pkcs11, pkcs11_session
from epochseal_backends.pkcs11_uri import parse_pkcs11_uri
from tests.backends_under_test.softhsm import MODULE, PIN, Roles, SoftHSM, SoftToken, make_roles
from tests.contract.backend_contract import CONTEXT, MESSAGE, BackendContract, Harness, Party

BACKEND: Backend = pkcs11
EXAMINER: Examiner = pkcs11
"""Checked by mypy: the module has the functions of a backend and of an examiner."""


@pytest.fixture(autouse=True)
def fresh_process() -> None:
    """As a courier starts: no module is initialized, nothing is open, nobody is logged in."""
    _fresh_process()


@pytest.fixture(scope="module")
def hsm() -> SoftHSM:
    """This process's folder of tokens."""
    return SoftHSM.shared()


@pytest.fixture(scope="module")
def roles(hsm: SoftHSM) -> Roles:
    """Tokens that no test changes."""
    return make_roles(hsm)


class TestP256AndEd25519(BackendContract):
    """The contract with the curves that every HSM has for wrapping, and Ed25519 for signing."""

    @pytest.fixture
    def harness(self, hsm: SoftHSM) -> Harness:
        """Tokens of all roles, and a second verifier's."""
        return _harness(hsm, "p256", "ed25519")


class TestX25519AndP256(BackendContract):
    """The contract with X25519 for wrapping and ECDSA for signing."""

    @pytest.fixture
    def harness(self, hsm: SoftHSM) -> Harness:
        """Tokens of all roles, and a second verifier's."""
        return _harness(hsm, "x25519", "p256")


def test_entry_point_names_the_module() -> None:
    """The scheme `pkcs11` of the installed package is this module."""
    assert load_backend(parse_key_uri("pkcs11:token=t;object=o")) is pkcs11


def test_key_id_is_the_fingerprint_of_the_public_key(hsm: SoftHSM, roles: Roles) -> None:
    """Another pair with the same label and CKA_ID has another key id."""
    other = make_roles(hsm)
    ids = {_issue(_party(tokens.agent)).key_id for tokens in (roles, other)}
    assert len(ids) == 2
    assert all(len(key_id) == len("pkcs11:") + 64 for key_id in ids)


# --- finding module, token and keys -----------------------------------------------------------------------


def test_token_by_serial_and_key_by_id(hsm: SoftHSM, roles: Roles) -> None:
    """A URI as p11tool prints it, with everything about token and key, names the same key."""
    token = pkcs11_session.find_token(MODULE, parse_pkcs11_uri(f"token={roles.agent.label};object=x"))
    serial = token.serial.decode().strip()
    plain = pkcs11.public_key(parse_key_uri(roles.agent.uri("checkpoint")), hsm.settings)
    everything = f"manufacturer=SoftHSM%20project;serial={serial};token={roles.agent.label};id=%01"
    for uri in (
        f"pkcs11:serial={serial};object=checkpoint",
        f"pkcs11:serial={serial};object=checkpoint;id=%01;type=private",
        f"pkcs11:model=SoftHSM%20v2;{everything};object=checkpoint;type=public?module-path={MODULE}",
        f"pkcs11:token={roles.agent.label};object=checkpoint?module-name=softhsm2",
    ):
        assert pkcs11.public_key(parse_key_uri(uri), hsm.settings) == plain


def test_module_from_the_environment(roles: Roles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the setting, PKCS11_MODULE_PATH names the module; without both, the error says what to set."""
    uri = parse_key_uri(roles.agent.uri("checkpoint"))
    monkeypatch.setenv("PKCS11_MODULE_PATH", str(MODULE))
    assert pkcs11.public_key(uri, {}).algorithm == "ed25519"
    monkeypatch.delenv("PKCS11_MODULE_PATH")
    with pytest.raises(ConfigError, match="no PKCS#11 module is named"):
        pkcs11.public_key(uri, {})


def test_missing_and_wrong_module(tmp_path: Path) -> None:
    """A module that is absent, no library, another library or a relative path is a ConfigError."""
    uri = parse_key_uri("pkcs11:token=t;object=o")
    text = tmp_path / "text.so"
    text.write_text("no library")
    for path, message in (
        (tmp_path / "none.so", "none.so .* does not exist"),
        (text, r"text\.so cannot be loaded"),
        (Path("libsofthsm2.so"), "not an absolute path"),
    ):
        with pytest.raises(ConfigError, match=message):
            pkcs11.issuer(uri, {"module": str(path)})
    foreign = Path(_rust.__file__)
    with pytest.raises(ConfigError, match="C_GetFunctionList"):
        pkcs11.issuer(uri, {"module": str(foreign)})
    with pytest.raises(ConfigError, match="no PKCS#11 module named 'nowhere'"):
        pkcs11.issuer(parse_key_uri("pkcs11:token=t;object=o?module-name=nowhere"), {})


def test_missing_object_is_named(hsm: SoftHSM, roles: Roles) -> None:
    """What is missing is said with label, id and token, and what is there instead."""
    uri = parse_key_uri(roles.agent.uri("epoc", id="%02"))
    with pytest.raises(
        Denied, match=rf"'{roles.agent.label}' holds no public key labelled 'epoc' with id 02"
    ) as one:
        pkcs11.issuer(uri, hsm.settings)
    assert "public key 'epoch' (id 01)" in str(one.value.hint)
    with pytest.raises(ConfigError, match="no public key labelled 'epoc'"):
        pkcs11.public_key(uri, hsm.settings)


def test_ambiguous_token(hsm: SoftHSM) -> None:
    """Two tokens that match are refused, with the serial numbers to choose from."""
    for _ in range(2):
        hsm.token("twin")
    uri = parse_key_uri("pkcs11:manufacturer=SoftHSM%20project;object=epoch")
    with pytest.raises(ConfigError, match=r"tokens of .* match manufacturer=") as refused:
        pkcs11.public_key(uri, hsm.settings)
    assert "serial=" in str(refused.value.hint)


def test_ambiguous_keys(hsm: SoftHSM) -> None:
    """Several keys under one label whose ids are no counters are refused until the URI names one."""
    roles = make_roles(hsm)
    roles.verifier.generate("epoch", "p256", "derive", "0203")
    roles.verifier.copy_public("epoch", roles.agent, "0203")
    with pytest.raises(ConfigError, match="ids are no counters: 01, 0203"):
        _party(roles.agent).issuer()
    uri = roles.agent.uri("epoch", id="%02%03")
    assert _issue(replace(_party(roles.agent), epoch_uri=uri)).wrapped


def test_key_on_another_curve(hsm: SoftHSM, roles: Roles) -> None:
    """A signing key does not wrap, a wrapping key does not sign."""
    agent = _party(roles.agent)
    with pytest.raises(ConfigError, match="Ed25519, which wraps nothing"):
        replace(agent, epoch_uri=agent.checkpoint_uri).issuer()
    token = hsm.token("wrong")
    token.generate("epoch", "x25519", "derive")
    _fresh_process()
    with pytest.raises(ConfigError, match="X25519, which signs nothing"):
        pkcs11.public_key(parse_key_uri(token.uri("epoch")), hsm.settings)
    token.run("--keypairgen", "--key-type", "rsa:2048", "--label", "rsa", "--id", "01")
    with pytest.raises(ConfigError, match="no key on an elliptic curve"):
        pkcs11.public_key(parse_key_uri(token.uri("rsa")), hsm.settings)


def test_usage_of_keys(hsm: SoftHSM) -> None:
    """A private key without the use that is asked for is refused before the token is asked."""
    token = hsm.token("usage")
    token.generate("epoch", "p256", "sign")
    token.generate("checkpoint", "p256", "derive", "02")
    with pytest.raises(Denied, match="CKA_DERIVE is false"):
        _party(token).recoverer()
    with pytest.raises(Denied, match="CKA_SIGN is false"):
        _party(token).signer()


def test_private_key_without_its_public_half(hsm: SoftHSM) -> None:
    """A private key whose public half is not beside it is refused, with its label and id."""
    roles = make_roles(hsm)
    roles.verifier.run("--delete-object", "--type", "pubkey", "--label", "epoch", "--id", "01")
    with pytest.raises(ConfigError, match=r"no public key for the private key 'epoch' \(id 01\)"):
        _party(roles.verifier).recoverer()


def test_another_public_half_beside_the_signing_key(hsm: SoftHSM) -> None:
    """A public key of another pair under the signing key's id is noticed before a log is signed with it."""
    roles, other = make_roles(hsm), make_roles(hsm)
    roles.agent.run("--delete-object", "--type", "pubkey", "--label", "checkpoint", "--id", "01")
    other.agent.copy_public("checkpoint", roles.agent)
    with pytest.raises(BackendError, match=r"not for the public key 'checkpoint' \(id 01\)"):
        _party(roles.agent).signer().sign(MESSAGE)


# --- rotation ---------------------------------------------------------------------------------------------


def test_rotated_epoch_key(hsm: SoftHSM) -> None:
    """Issuing goes on with the newest pair, or the one named by id; recovery opens what each wrapped."""
    roles = make_roles(hsm)
    agent, verifier = _party(roles.agent), _party(roles.verifier)
    old = _issue(agent)
    roles.verifier.generate("epoch", "p256", "derive", "02")
    roles.verifier.copy_public("epoch", roles.agent, "02")
    new = _issue(agent)
    named = _issue(replace(agent, epoch_uri=roles.agent.uri("epoch", id="%01")))
    assert old.key_id == named.key_id != new.key_id
    recoverer = verifier.recoverer()
    for issued in (old, new, named, new):
        assert recoverer.recognizes(issued.key_id)
        recoverer.recover(issued.wrapped, CONTEXT, memoryview(bytearray(32)))
    only_new = replace(verifier, epoch_uri=roles.verifier.uri("epoch", id="%02")).recoverer()
    assert not only_new.recognizes(old.key_id)
    with pytest.raises(WrongKey):
        only_new.recover(old.wrapped, CONTEXT, memoryview(bytearray(32)))


def test_new_checkpoint_key_does_not_sign_by_itself(hsm: SoftHSM) -> None:
    """A second pair under the label leaves the first one signing; `id=` names the second."""
    roles = make_roles(hsm)
    agent = _party(roles.agent)
    before = agent.public_key()
    roles.agent.generate("checkpoint", "ed25519", "sign", "02")
    assert agent.public_key() == agent.signer().public_key() == before
    second = replace(agent, checkpoint_uri=roles.agent.uri("checkpoint", id="%02"))
    assert second.public_key() == second.signer().public_key() != before


def test_wrapped_secret_of_the_vector(hsm: SoftHSM, tmp_path: Path) -> None:
    """The stored secret of docs/format.md, 6.2, opens in a token that was given the vector's key."""
    vector = json.loads((Path(__file__).parents[1] / "vectors" / "wrapped" / "pkcs11-p256.json").read_text())
    key = derive_private_key(int(vector["private"], 16), SECP256R1())
    private, public = tmp_path / "private.der", tmp_path / "public.der"
    private.write_bytes(key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    token = hsm.token("vector")
    for path, kind in ((private, "privkey"), (public, "pubkey")):
        names = ("--type", kind, "--label", "epoch", "--id", "01", "--usage-derive")
        token.run("--write-object", str(path), *names)
    recoverer = _party(token).recoverer()
    assert recoverer.recognizes(vector["key_id"])
    log, prev = bytes.fromhex(vector["log"]), bytes.fromhex(vector["prev"])
    into = bytearray(32)
    context = Context(vector["origin"], log, vector["epoch"], prev)
    recoverer.recover(bytes.fromhex(vector["wrapped"]), context, memoryview(into))
    assert into.hex() == vector["secret"]


# --- PINs -------------------------------------------------------------------------------------------------


def test_ways_to_give_the_pin(hsm: SoftHSM, roles: Roles, monkeypatch: pytest.MonkeyPatch) -> None:
    """By file, systemd credential, environment variable, or `pin-source` of the URI."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(hsm.folder))
    monkeypatch.setenv("TOKEN_PIN", PIN)
    module = {"module": str(MODULE)}
    for settings in ({"pin_file": str(hsm.pin_file)}, {"pin_credential": "pin"}, {"pin_env": "TOKEN_PIN"}):
        _fresh_process()
        assert replace(_party(roles.agent), settings=module | settings).signer().sign(MESSAGE)
    _fresh_process()
    uri = roles.agent.uri("checkpoint") + f"?pin-source=file:{hsm.pin_file}"
    assert pkcs11.signer(parse_key_uri(uri), module).sign(MESSAGE)


def test_no_pin(roles: Roles) -> None:
    """Without a PIN public keys are read and secrets issued, and nothing is signed or recovered."""
    _fresh_process()
    agent = replace(_party(roles.agent), settings={"module": str(MODULE)})
    assert agent.public_key().algorithm == "ed25519"
    assert _issue(agent).wrapped
    with pytest.raises(Denied, match="wants a PIN, and none is configured"):
        agent.signer()


def test_wrong_pin_is_tried_once(hsm: SoftHSM, tmp_path: Path) -> None:
    """A refused PIN is Denied at once and not given to the token again, and no message repeats it."""
    roles = make_roles(hsm)
    wrong = tmp_path / "pin"
    wrong.write_text("99999999")
    party = replace(_party(roles.agent), settings=hsm.settings | {"pin_file": str(wrong)})
    with pytest.raises(Denied, match="refuses the PIN") as first:
        party.signer()
    assert _flags(roles.agent) & TokenFlag.USER_PIN_COUNT_LOW
    _party(roles.agent).signer()
    assert not _flags(roles.agent) & TokenFlag.USER_PIN_COUNT_LOW
    _fresh_process()
    with pytest.raises(Denied, match="not tried again") as second:
        party.signer()
    assert not _flags(roles.agent) & TokenFlag.USER_PIN_COUNT_LOW
    assert "99999999" not in f"{first.value}{first.value.hint}{second.value}{second.value.hint}"


@pytest.mark.parametrize(
    ("flag", "message"),
    [(TokenFlag.USER_PIN_FINAL_TRY, "none is tried"), (TokenFlag.USER_PIN_LOCKED, "is locked")],
)
def test_token_about_to_lock(flag: TokenFlag, message: str) -> None:
    """No PIN is given to a token that is locked, or would lock at the next one (SoftHSM never says so)."""
    with pytest.raises(Denied, match=message):
        pkcs11_session.check_lock(SimpleNamespace(flags=flag, label="stub"))


# --- tokens that go away, forks ---------------------------------------------------------------------------


def test_token_that_is_not_there(hsm: SoftHSM) -> None:
    """An absent token is Unavailable, since it may be put in later; the hint lists what is there."""
    hsm.token("present")
    with pytest.raises(Unavailable, match="token='absent'") as away:
        pkcs11.issuer(parse_key_uri("pkcs11:token=absent;object=epoch"), hsm.settings)
    assert "token 'present-" in str(away.value.hint)


def test_token_removed_and_put_back(hsm: SoftHSM) -> None:
    """A token that is taken out in mid-work is Unavailable; put back, it works for the next process."""
    roles = make_roles(hsm)
    agent, verifier = _party(roles.agent), _party(roles.verifier)
    issued, signer, recoverer = _issue(agent), agent.signer(), verifier.recoverer()
    roles.agent.remove()
    roles.verifier.remove()
    with pytest.raises(Unavailable):
        signer.sign(MESSAGE)
    with pytest.raises(Unavailable):
        recoverer.recover(issued.wrapped, CONTEXT, memoryview(bytearray(32)))
    roles.agent.put_back()
    roles.verifier.put_back()
    _fresh_process()
    assert agent.signer().sign(MESSAGE)
    verifier.recoverer().recover(issued.wrapped, CONTEXT, memoryview(bytearray(32)))


def test_recoverers_in_forked_processes(roles: Roles) -> None:
    """A recoverer in the parent and then one in each forked worker, as `verify --jobs` has them, all work."""
    issued = _issue(_party(roles.agent))
    verifier = _party(roles.verifier)
    verifier.recoverer().recover(issued.wrapped, CONTEXT, memoryview(bytearray(32)))
    with multiprocessing.get_context("fork").Pool(4) as pool:
        opened = pool.starmap(_recover_elsewhere, [(verifier, issued.wrapped)] * 12)
    assert len({secret for secret, _ in opened}) == 1
    assert os.getpid() not in {pid for _, pid in opened}
    verifier.recoverer().recover(issued.wrapped, CONTEXT, memoryview(bytearray(32)))


def test_failed_issue_leaves_no_secret(roles: Roles) -> None:
    """With a public key that nothing can be wrapped for, the random bytes are wiped again."""
    issuer = pkcs11.issuer(parse_key_uri(roles.agent.uri("epoch")), _party(roles.agent).settings)
    issuer.key = replace(issuer.key, point=bytes(65))
    into = bytearray(b"\xaa" * 32)
    with pytest.raises(BackendError, match="no epoch secret can be issued"):
        issuer.issue(CONTEXT, memoryview(into))
    assert into == bytes(32)


def test_private_keys_do_not_leave_the_token(roles: Roles) -> None:
    """The tokens of the fixture are as they should be: private values cannot be read, whatever the PIN."""
    half = pkcs11.recoverer(parse_key_uri(roles.verifier.uri("epoch")), _party(roles.verifier).settings).keys[
        0
    ]
    with pytest.raises(AttributeSensitive):
        half.handle[Attribute.VALUE]


# --- doctor -----------------------------------------------------------------------------------------------


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
    _fresh_process()
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
    wrong.write_text("88888888")
    with pytest.raises(Denied):
        replace(_party(roles.agent), settings=hsm.settings | {"pin_file": str(wrong)}).signer()
    assert _wrong(roles.agent) == {"PIN of the token"}


# --- provisioning -----------------------------------------------------------------------------------------


def test_provisioning(tmp_path: Path) -> None:
    """The script makes tokens and keys, proves the roles, and makes a second generation of a key."""
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    conf = tmp_path / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
    script = Path(__file__).parents[2] / "deploy" / "pkcs11" / "provision.sh"
    environment = os.environ | {"SOFTHSM2_CONF": str(conf), "MODULE": str(MODULE), "PYTHON": sys.executable}
    pins = tmp_path / "pins"
    first = _run([str(script), "--softhsm", str(pins)], environment)
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("ok ") == 9
    assert first.stdout.count("refused: token 'epochseal-") == 5
    again = _run([str(script), str(pins)], environment | {"KEYS": "epoch", "ID": "02"})
    assert again.returncode == 0, again.stderr
    assert {oct(path.stat().st_mode)[-3:] for path in pins.iterdir()} == {"600"}
    twice = _run([str(script), "--softhsm", str(pins)], environment)
    assert "no token is made twice" in twice.stderr
    # A PIN of the wrong role: what the verifier may, an agent must not.
    mixed = ["--token", "epochseal-verifier", "--pin-file", str(pins / "verifier.pin"), "--role", "agent"]
    keys = [sys.executable, str(script.parent / "keys.py"), "prove", "--module", str(MODULE), *mixed]
    proof = _run(keys, environment)
    assert proof.returncode == 1
    assert "WRONG agent recoverer: may" in proof.stdout


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@cache
def _harness(hsm: SoftHSM, epoch: str, checkpoint: str) -> Harness:
    roles = make_roles(hsm, epoch=epoch, checkpoint=checkpoint)
    stranger = hsm.token("stranger")
    stranger.generate("epoch", epoch, "derive")
    return Harness(
        agent=_party(roles.agent),
        verifier=_party(roles.verifier),
        auditor=_party(roles.auditor),
        other_verifier=_party(stranger),
    )


def _party(token: SoftToken) -> Party:
    return Party(token.uri("epoch"), token.uri("checkpoint"), token.hsm.settings)


def _issue(party: Party) -> Issued:
    return party.issuer().issue(CONTEXT, memoryview(bytearray(32)))


def _recover_elsewhere(party: Party, wrapped: bytes) -> tuple[bytes, int]:
    into = bytearray(32)
    party.recoverer().recover(wrapped, CONTEXT, memoryview(into))
    return bytes(into), os.getpid()


def _flags(token: SoftToken) -> TokenFlag:
    uri = parse_pkcs11_uri(f"token={token.label};object=x")
    flags: TokenFlag = pkcs11_session.find_token(MODULE, uri).flags
    return flags


def _fresh_process() -> None:
    """As after a fork: nothing is open, nobody is logged in."""
    pkcs11_session.process.pid = -1


def _examine(token: SoftToken) -> list[Finding]:
    party = _party(token)

    def findings() -> Iterator[Finding]:
        yield from pkcs11.examine_epoch_key(parse_key_uri(party.epoch_uri), party.settings)
        yield from pkcs11.examine_checkpoint_key(parse_key_uri(party.checkpoint_uri), party.settings)

    return list(findings())


def _wrong(token: SoftToken) -> set[str]:
    return {finding.topic for finding in _examine(token) if finding.outcome == "wrong"}
