"""How the PKCS#11 backend finds module, token and key, and which of several generations it takes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.bindings import _rust
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from epochseal.errors import BackendError, ConfigError, Denied, WrongKey
from epochseal.keys import Context, parse_key_uri, recover_one
from epochseal_backends.pkcs11 import backend as pkcs11
from epochseal_backends.pkcs11 import session as pkcs11_session
from epochseal_backends.pkcs11.uri import parse_pkcs11_uri
from tests.backends_under_test.softhsm import MODULE, Roles, SoftHSM, make_roles
from tests.contract.backend_contract import CONTEXT, MESSAGE
from tests.contract.pkcs11.parties import fresh_process, issue, party


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
        party(roles.agent).issuer()
    uri = roles.agent.uri("epoch", id="%02%03")
    assert issue(replace(party(roles.agent), epoch_uri=uri)).wrapped


def test_key_on_another_curve(hsm: SoftHSM, roles: Roles) -> None:
    """A signing key does not wrap, a wrapping key does not sign."""
    agent = party(roles.agent)
    with pytest.raises(ConfigError, match="Ed25519, which wraps nothing"):
        replace(agent, epoch_uri=agent.checkpoint_uri).issuer()
    token = hsm.token("wrong")
    token.generate("epoch", "x25519", "derive")
    fresh_process()
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
        party(token).recoverer()
    with pytest.raises(Denied, match="CKA_SIGN is false"):
        party(token).signer()


def test_private_key_without_its_public_half(hsm: SoftHSM) -> None:
    """A private key whose public half is not beside it is refused, with its label and id."""
    roles = make_roles(hsm)
    roles.verifier.run("--delete-object", "--type", "pubkey", "--label", "epoch", "--id", "01")
    with pytest.raises(ConfigError, match=r"no public key for the private key 'epoch' \(id 01\)"):
        party(roles.verifier).recoverer()


def test_another_public_half_beside_the_signing_key(hsm: SoftHSM) -> None:
    """A public key of another pair under the signing key's id is noticed before a log is signed with it."""
    roles, other = make_roles(hsm), make_roles(hsm)
    roles.agent.run("--delete-object", "--type", "pubkey", "--label", "checkpoint", "--id", "01")
    other.agent.copy_public("checkpoint", roles.agent)
    with pytest.raises(BackendError, match=r"not for the public key 'checkpoint' \(id 01\)"):
        party(roles.agent).signer().sign(MESSAGE)


def test_rotated_epoch_key(hsm: SoftHSM) -> None:
    """Issuing goes on with the newest pair, or the one named by id; recovery opens what each wrapped."""
    roles = make_roles(hsm)
    agent, verifier = party(roles.agent), party(roles.verifier)
    old = issue(agent)
    roles.verifier.generate("epoch", "p256", "derive", "02")
    roles.verifier.copy_public("epoch", roles.agent, "02")
    new = issue(agent)
    named = issue(replace(agent, epoch_uri=roles.agent.uri("epoch", id="%01")))
    assert old.key_id == named.key_id != new.key_id
    recoverer = verifier.recoverer()
    for issued in (old, new, named, new):
        assert recoverer.recognizes(issued.key_id)
        recover_one(recoverer, issued.wrapped, CONTEXT, memoryview(bytearray(32)))
    only_new = replace(verifier, epoch_uri=roles.verifier.uri("epoch", id="%02")).recoverer()
    assert not only_new.recognizes(old.key_id)
    with pytest.raises(WrongKey):
        recover_one(only_new, old.wrapped, CONTEXT, memoryview(bytearray(32)))


def test_new_checkpoint_key_does_not_sign_by_itself(hsm: SoftHSM) -> None:
    """A second pair under the label leaves the first one signing; `id=` names the second."""
    roles = make_roles(hsm)
    agent = party(roles.agent)
    before = agent.public_key()
    roles.agent.generate("checkpoint", "ed25519", "sign", "02")
    assert agent.public_key() == agent.signer().public_key() == before
    second = replace(agent, checkpoint_uri=roles.agent.uri("checkpoint", id="%02"))
    assert second.public_key() == second.signer().public_key() != before


def test_wrapped_secret_of_the_vector(hsm: SoftHSM, tmp_path: Path) -> None:
    """The stored secret of docs/format.md, 6.2, opens in a token that was given the vector's key."""
    vector = json.loads((Path(__file__).parents[2] / "vectors" / "wrapped" / "pkcs11-p256.json").read_text())
    key = derive_private_key(int(vector["private"], 16), SECP256R1())
    private, public = tmp_path / "private.der", tmp_path / "public.der"
    private.write_bytes(key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    token = hsm.token("vector")
    for path, kind in ((private, "privkey"), (public, "pubkey")):
        names = ("--type", kind, "--label", "epoch", "--id", "01", "--usage-derive")
        token.run("--write-object", str(path), *names)
    recoverer = party(token).recoverer()
    assert recoverer.recognizes(vector["key_id"])
    log, prev = bytes.fromhex(vector["log"]), bytes.fromhex(vector["prev"])
    into = bytearray(32)
    context = Context(vector["origin"], log, vector["epoch"], prev)
    recover_one(recoverer, bytes.fromhex(vector["wrapped"]), context, memoryview(into))
    assert into.hex() == vector["secret"]


def test_tokens_with_equal_serial_numbers(
    hsm: SoftHSM, roles: Roles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules such as NSS give all their tokens one number: each key is still that of the token named."""
    other = make_roles(hsm)
    uris = [parse_key_uri(token.uri("checkpoint")) for token in (roles.agent, other.agent)]
    wanted = []
    for uri in uris:
        fresh_process()
        wanted.append(pkcs11.public_key(uri, hsm.settings))
    assert wanted[0] != wanted[1]
    monkeypatch.setattr(pkcs11_session, "_serial", lambda _token: "0000000000000000")
    fresh_process()
    assert [pkcs11.public_key(uri, hsm.settings) for uri in uris] == wanted
    assert [pkcs11.signer(uri, hsm.settings).public_key() for uri in uris] == wanted
    uri = parse_key_uri("pkcs11:manufacturer=SoftHSM%20project;object=epoch")
    with pytest.raises(ConfigError) as refused:
        pkcs11.public_key(uri, hsm.settings)
    assert "a label of its own" in str(refused.value.hint)


def test_a_generation_that_the_header_does_not_name(hsm: SoftHSM) -> None:
    """A secret of the old pair does not verify under a header that names the new one."""
    roles = make_roles(hsm)
    issued = issue(party(roles.agent))
    roles.verifier.generate("epoch", "p256", "derive", "02")
    roles.verifier.copy_public("epoch", roles.agent, "02")
    fresh_process()
    newer = issue(party(roles.agent))
    recoverer, into = party(roles.verifier).recoverer(), memoryview(bytearray(32))
    assert issued.key_id != newer.key_id
    assert recoverer.recognizes(newer.key_id)
    with pytest.raises(WrongKey):
        recover_one(recoverer, issued.wrapped, CONTEXT, into, key_id=newer.key_id)
    recover_one(recoverer, issued.wrapped, CONTEXT, into, key_id=issued.key_id)
