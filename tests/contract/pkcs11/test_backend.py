"""The PKCS#11 backend against SoftHSM 2: the contract of all backends, PINs, forks, tokens that go away."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from pkcs11 import Attribute, TokenFlag
from pkcs11.exceptions import AttributeSensitive

from epochseal.errors import BackendError, Denied, Unavailable
from epochseal.keys import Backend, load_backend, parse_key_uri, recover_one
from epochseal_backends.pkcs11 import backend as pkcs11
from epochseal_backends.pkcs11 import session as pkcs11_session
from epochseal_backends.pkcs11.uri import parse_pkcs11_uri
from tests.backends_under_test.softhsm import MODULE, PIN, Roles, SoftHSM, SoftToken, make_roles
from tests.contract.backend_contract import CONTEXT, MESSAGE, BackendContract, Harness, Party
from tests.contract.pkcs11.parties import fresh_process, issue, party
from tests.secret_file import write_secret

BACKEND: Backend = pkcs11
"""Checked by mypy: the module has the functions of a backend."""


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
    ids = {issue(party(tokens.agent)).key_id for tokens in (roles, other)}
    assert len(ids) == 2
    assert all(len(key_id) == len("pkcs11:") + 64 for key_id in ids)


def test_ways_to_give_the_pin(hsm: SoftHSM, roles: Roles, monkeypatch: pytest.MonkeyPatch) -> None:
    """By file, systemd credential, environment variable, or `pin-source` of the URI."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(hsm.folder))
    monkeypatch.setenv("TOKEN_PIN", PIN)
    module = {"module": str(MODULE)}
    for settings in ({"pin_file": str(hsm.pin_file)}, {"pin_credential": "pin"}, {"pin_env": "TOKEN_PIN"}):
        fresh_process()
        assert replace(party(roles.agent), settings=module | settings).signer().sign(MESSAGE)
    fresh_process()
    uri = roles.agent.uri("checkpoint") + f"?pin-source=file:{hsm.pin_file}"
    assert pkcs11.signer(parse_key_uri(uri), module).sign(MESSAGE)


def test_no_pin(roles: Roles) -> None:
    """Without a PIN public keys are read and secrets issued, and nothing is signed or recovered."""
    fresh_process()
    agent = replace(party(roles.agent), settings={"module": str(MODULE)})
    assert agent.public_key().algorithm == "ed25519"
    assert issue(agent).wrapped
    with pytest.raises(Denied, match="wants a PIN, and none is configured"):
        agent.signer()


def test_wrong_pin_is_tried_once(hsm: SoftHSM, tmp_path: Path) -> None:
    """A refused PIN is Denied at once and not given to the token again, and no message repeats it."""
    roles = make_roles(hsm)
    wrong = tmp_path / "pin"
    write_secret(wrong, "99999999")
    mistaken = replace(party(roles.agent), settings=hsm.settings | {"pin_file": str(wrong)})
    with pytest.raises(Denied, match="refuses the PIN") as first:
        mistaken.signer()
    assert _flags(roles.agent) & TokenFlag.USER_PIN_COUNT_LOW
    party(roles.agent).signer()
    assert not _flags(roles.agent) & TokenFlag.USER_PIN_COUNT_LOW
    fresh_process()
    with pytest.raises(Denied, match="not tried again") as second:
        mistaken.signer()
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


def test_token_that_is_not_there(hsm: SoftHSM) -> None:
    """An absent token is Unavailable, since it may be put in later; the hint lists what is there."""
    hsm.token("present")
    with pytest.raises(Unavailable, match="token='absent'") as away:
        pkcs11.issuer(parse_key_uri("pkcs11:token=absent;object=epoch"), hsm.settings)
    assert "token 'present-" in str(away.value.hint)


def test_token_removed_and_put_back(hsm: SoftHSM) -> None:
    """A token that is taken out in mid-work is Unavailable; put back, it works for the next process."""
    roles = make_roles(hsm)
    agent, verifier = party(roles.agent), party(roles.verifier)
    issued, signer, recoverer = issue(agent), agent.signer(), verifier.recoverer()
    roles.agent.remove()
    roles.verifier.remove()
    with pytest.raises(Unavailable):
        signer.sign(MESSAGE)
    with pytest.raises(Unavailable):
        recover_one(recoverer, issued.wrapped, CONTEXT, memoryview(bytearray(32)))
    roles.agent.put_back()
    roles.verifier.put_back()
    fresh_process()
    assert agent.signer().sign(MESSAGE)
    recover_one(verifier.recoverer(), issued.wrapped, CONTEXT, memoryview(bytearray(32)))


def test_recoverers_in_forked_processes(roles: Roles) -> None:
    """A recoverer in the parent and then one in each forked worker, as `verify --jobs` has them, all work."""
    issued = issue(party(roles.agent))
    verifier = party(roles.verifier)
    recover_one(verifier.recoverer(), issued.wrapped, CONTEXT, memoryview(bytearray(32)))
    with multiprocessing.get_context("fork").Pool(4) as pool:
        opened = pool.starmap(_recover_elsewhere, [(verifier, issued.wrapped)] * 12)
    assert len({secret for secret, _ in opened}) == 1
    assert os.getpid() not in {pid for _, pid in opened}
    recover_one(verifier.recoverer(), issued.wrapped, CONTEXT, memoryview(bytearray(32)))


def test_failed_issue_leaves_no_secret(roles: Roles) -> None:
    """With a public key that nothing can be wrapped for, the random bytes are wiped again."""
    issuer = pkcs11.issuer(parse_key_uri(roles.agent.uri("epoch")), party(roles.agent).settings)
    issuer.key = replace(issuer.key, point=bytes(65))
    into = bytearray(b"\xaa" * 32)
    with pytest.raises(BackendError, match="no epoch secret can be issued"):
        issuer.issue(CONTEXT, memoryview(into))
    assert into == bytes(32)


def test_private_keys_do_not_leave_the_token(roles: Roles) -> None:
    """The tokens of the fixture are as they should be: private values cannot be read, whatever the PIN."""
    half = pkcs11.recoverer(parse_key_uri(roles.verifier.uri("epoch")), party(roles.verifier).settings).keys[
        0
    ]
    with pytest.raises(AttributeSensitive):
        half.handle[Attribute.VALUE]


@cache
def _harness(hsm: SoftHSM, epoch: str, checkpoint: str) -> Harness:
    roles = make_roles(hsm, epoch=epoch, checkpoint=checkpoint)
    stranger = hsm.token("stranger")
    stranger.generate("epoch", epoch, "derive")
    return Harness(
        agent=party(roles.agent),
        verifier=party(roles.verifier),
        auditor=party(roles.auditor),
        other_verifier=party(stranger),
    )


def _recover_elsewhere(verifier: Party, wrapped: bytes) -> tuple[bytes, int]:
    into = bytearray(32)
    recover_one(verifier.recoverer(), wrapped, CONTEXT, memoryview(into))
    return bytes(into), os.getpid()


def _flags(token: SoftToken) -> TokenFlag:
    uri = parse_pkcs11_uri(f"token={token.label};object=x")
    flags: TokenFlag = pkcs11_session.find_token(MODULE, uri).flags
    return flags
