"""What every key backend must do, as tests: a backend's own test file subclasses `BackendContract`.

The subclass overrides the fixture `harness` and hands out four parties, each with the access that its role
has in production. A refusal may come from making the issuer, recoverer or signer, or from its first call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from msgspec.structs import replace

from epochseal.errors import Denied, WrongKey
from epochseal.keys import (
    SECRET_SIZE,
    Context,
    Issued,
    Issuer,
    PublicKey,
    Recoverer,
    Signer,
    WrappedSecret,
    load_backend,
    parse_key_uri,
    recover_one,
)

_MANY = 120
MESSAGE = b"example.com/contract\n20\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
CONTEXT = Context("example.com/contract", bytes(range(32)), 7, bytes(range(32, 64)))
OTHER_CONTEXTS = {
    "origin": replace(CONTEXT, origin="example.com/contracts"),
    "log": replace(CONTEXT, log=bytes(range(1, 33))),
    "epoch": replace(CONTEXT, epoch=8),
    "prev": replace(CONTEXT, prev=bytes(32)),
}


@dataclass(frozen=True)
class Party:
    """One role's access: the URIs of both keys as this role names them, and its settings (credentials)."""

    epoch_uri: str
    checkpoint_uri: str
    settings: Mapping[str, str] = field(default_factory=dict)

    def issuer(self) -> Issuer:
        """An issuer with this party's access."""
        uri = parse_key_uri(self.epoch_uri)
        return load_backend(uri).issuer(uri, self.settings)

    def recoverer(self) -> Recoverer:
        """A recoverer with this party's access."""
        uri = parse_key_uri(self.epoch_uri)
        return load_backend(uri).recoverer(uri, self.settings)

    def signer(self) -> Signer:
        """A signer with this party's access."""
        uri = parse_key_uri(self.checkpoint_uri)
        return load_backend(uri).signer(uri, self.settings)

    def public_key(self) -> PublicKey:
        """The public checkpoint key as this party sees it."""
        uri = parse_key_uri(self.checkpoint_uri)
        return load_backend(uri).public_key(uri, self.settings)


@dataclass(frozen=True)
class Harness:
    """The roles around one pair of keys, and a verifier that holds another epoch key."""

    agent: Party
    verifier: Party
    auditor: Party
    other_verifier: Party


class BackendContract:
    """The conformance tests; one backend per subclass."""

    @pytest.fixture
    def harness(self) -> Harness:
        """Keys that were made for this test, and everybody's access to them."""
        raise NotImplementedError("a backend's test class makes its own harness")

    def test_round_trip(self, harness: Harness) -> None:
        """A verifier recovers exactly the secret that the agent was issued, again and again."""
        issued, secret = _issue(harness)
        recoverer = harness.verifier.recoverer()
        for _ in range(2):
            assert _recover(recoverer, issued.wrapped) == secret

    def test_secrets_are_fresh(self, harness: Harness) -> None:
        """Two calls in one context give different secrets and different wrapped forms under one key id."""
        (first, one), (second, two) = _issue(harness), _issue(harness)
        assert len({bytes(SECRET_SIZE), one, two}) == 3
        assert first.wrapped != second.wrapped
        assert first.key_id == second.key_id

    def test_wrapped_hides_the_secret(self, harness: Harness) -> None:
        """The stored form does not contain the secret as it is."""
        issued, secret = _issue(harness)
        assert secret not in issued.wrapped

    def test_issue_writes_only_its_buffer(self, harness: Harness) -> None:
        """The 32 bytes beside the buffer inside a larger page are left alone."""
        page = bytearray(3 * SECRET_SIZE)
        harness.agent.issuer().issue(CONTEXT, memoryview(page)[SECRET_SIZE : 2 * SECRET_SIZE])
        assert page[:SECRET_SIZE] == page[2 * SECRET_SIZE :] == bytes(SECRET_SIZE)
        assert any(page)

    @pytest.mark.parametrize("changed", sorted(OTHER_CONTEXTS))
    def test_wrong_context(self, harness: Harness, changed: str) -> None:
        """A secret of another origin, log, epoch or previous tag is refused, and nothing of it comes out."""
        issued, _ = _issue(harness)
        _refused(harness.verifier.recoverer(), issued.wrapped, OTHER_CONTEXTS[changed])

    def test_wrong_key(self, harness: Harness) -> None:
        """A verifier with another epoch key does not open it."""
        issued, _ = _issue(harness)
        _refused(harness.other_verifier.recoverer(), issued.wrapped, CONTEXT)

    def test_every_byte_of_wrapped_counts(self, harness: Harness) -> None:
        """A flipped bit in any byte of the wrapped form is refused."""
        issued, _ = _issue(harness)
        recoverer = harness.verifier.recoverer()
        for place in range(len(issued.wrapped)):
            tampered = bytearray(issued.wrapped)
            tampered[place] ^= 1
            _refused(recoverer, bytes(tampered), CONTEXT)

    def test_length_of_wrapped_counts(self, harness: Harness) -> None:
        """A wrapped form that is cut, continued, doubled or empty is refused."""
        issued, _ = _issue(harness)
        recoverer = harness.verifier.recoverer()
        whole = issued.wrapped
        for tampered in (whole[:-1], whole[1:], whole + b"\0", whole + whole, whole[:1], b""):
            _refused(recoverer, tampered, CONTEXT)

    def test_agent_cannot_recover(self, harness: Harness) -> None:
        """The agent's access does not get back the secret that it was issued a moment ago."""
        _cannot_recover(harness, harness.agent)

    def test_auditor_cannot_recover(self, harness: Harness) -> None:
        """The auditor's access recovers nothing."""
        _cannot_recover(harness, harness.auditor)

    def test_auditor_cannot_issue(self, harness: Harness) -> None:
        """The auditor's access has no secret issued."""
        into = bytearray(SECRET_SIZE)
        with pytest.raises(Denied):
            harness.auditor.issuer().issue(CONTEXT, memoryview(into))
        assert into == bytes(SECRET_SIZE)

    def test_verifier_cannot_sign(self, harness: Harness) -> None:
        """The verifier's access signs nothing."""
        with pytest.raises(Denied):
            harness.verifier.signer().sign(MESSAGE)

    def test_auditor_cannot_sign(self, harness: Harness) -> None:
        """The auditor's access signs nothing."""
        with pytest.raises(Denied):
            harness.auditor.signer().sign(MESSAGE)

    def test_signature_verifies(self, harness: Harness) -> None:
        """A signature holds under the auditor's public key for the whole message and for no other."""
        signature = harness.agent.signer().sign(MESSAGE)
        public = harness.auditor.public_key()
        _verify(public, signature, MESSAGE)
        for other in (MESSAGE + b"\n", MESSAGE[:-1], MESSAGE.replace(b"20", b"21"), b""):
            with pytest.raises(InvalidSignature):
                _verify(public, signature, other)

    def test_roles_agree_on_the_public_key(self, harness: Harness) -> None:
        """Signer, agent, verifier and auditor name the same checkpoint key."""
        expected = harness.agent.signer().public_key()
        for party in (harness.agent, harness.verifier, harness.auditor):
            assert party.public_key() == expected

    def test_what_recovered_is_what_the_header_says(self, harness: Harness) -> None:
        """A header that names another version or object than the one that wrapped does not verify."""
        issued = harness.agent.issuer().issue(CONTEXT, memoryview(bytearray(SECRET_SIZE)))
        recoverer, into = harness.verifier.recoverer(), bytearray(SECRET_SIZE)
        other = issued.key_id.replace(":v1:", ":v2:")
        if other == issued.key_id:
            other = issued.key_id[:-1] + ("0" if issued.key_id[-1] != "0" else "1")
        with pytest.raises(WrongKey):
            recover_one(recoverer, issued.wrapped, CONTEXT, memoryview(into), key_id=other)
        assert not any(into)
        recover_one(recoverer, issued.wrapped, CONTEXT, memoryview(into), key_id=issued.key_id)
        assert any(into)

    def test_many_at_once(self, harness: Harness) -> None:
        """More than a batch holds, in order; what is wrong with one is said of it alone."""
        issuer, contexts = harness.agent.issuer(), [replace(CONTEXT, epoch=number) for number in range(_MANY)]
        secrets, asked = [], []
        for context in contexts:
            into = bytearray(SECRET_SIZE)
            issued = issuer.issue(context, memoryview(into))
            secrets.append(bytes(into))
            asked.append(WrappedSecret(issued.wrapped, context, issued.key_id))
        wrong = {
            0: replace(asked[0], context=OTHER_CONTEXTS["log"]),
            50: replace(asked[50], wrapped=b""),
            99: replace(asked[99], wrapped=asked[98].wrapped),
            100: replace(asked[100], wrapped=asked[100].wrapped[:-1]),
            _MANY - 1: replace(asked[-1], key_id="nobody"),
        }
        into = bytearray(b"\xa5" * SECRET_SIZE * _MANY)
        errors = harness.verifier.recoverer().recover_many(
            [wrong.get(place, item) for place, item in enumerate(asked)], memoryview(into)
        )
        assert {place for place, error in enumerate(errors) if isinstance(error, WrongKey)} == set(wrong)
        assert len(errors) == _MANY
        assert errors.count(None) == _MANY - len(wrong)
        for place, secret in enumerate(secrets):
            found = into[SECRET_SIZE * place : SECRET_SIZE * (place + 1)]
            assert found == (b"\xa5" * SECRET_SIZE if place in wrong else secret)

    def test_none_at_once(self, harness: Harness) -> None:
        """Nothing to recover is nothing to ask for."""
        assert harness.verifier.recoverer().recover_many([], memoryview(bytearray())) == []

    def test_key_id_is_recognized(self, harness: Harness) -> None:
        """A verifier knows its own key id from another's before it asks the backend to open anything."""
        issued, _ = _issue(harness)
        verifier = harness.verifier.recoverer()
        assert verifier.recognizes(issued.key_id)
        assert not harness.other_verifier.recoverer().recognizes(issued.key_id)
        for foreign in (issued.key_id + "0", issued.key_id[:-1], ""):
            assert not verifier.recognizes(foreign)

    @pytest.mark.parametrize("size", [0, SECRET_SIZE - 1, SECRET_SIZE + 1])
    def test_buffer_of_wrong_size(self, harness: Harness, size: int) -> None:
        """A buffer that the secret does not fill exactly is the caller's mistake, and stays untouched."""
        issued, _ = _issue(harness)
        into = bytearray(size)
        with pytest.raises(ValueError, match="32 bytes"):
            harness.agent.issuer().issue(CONTEXT, memoryview(into))
        with pytest.raises(ValueError, match="32 bytes"):
            recover_one(harness.verifier.recoverer(), issued.wrapped, CONTEXT, memoryview(into))
        assert into == bytes(size)

    def test_read_only_buffer(self, harness: Harness) -> None:
        """A buffer that cannot be written is refused before the backend is asked."""
        with pytest.raises(ValueError, match="writable"):
            harness.agent.issuer().issue(CONTEXT, memoryview(bytes(SECRET_SIZE)))


def _issue(harness: Harness) -> tuple[Issued, bytes]:
    into = bytearray(SECRET_SIZE)
    issued = harness.agent.issuer().issue(CONTEXT, memoryview(into))
    return issued, bytes(into)


def _recover(recoverer: Recoverer, wrapped: bytes) -> bytes:
    into = bytearray(SECRET_SIZE)
    recover_one(recoverer, wrapped, CONTEXT, memoryview(into))
    return bytes(into)


def _refused(recoverer: Recoverer, wrapped: bytes, context: Context) -> None:
    into = bytearray(SECRET_SIZE)
    with pytest.raises(WrongKey):
        recover_one(recoverer, wrapped, context, memoryview(into))
    assert into == bytes(SECRET_SIZE)


def _cannot_recover(harness: Harness, party: Party) -> None:
    issued, _ = _issue(harness)
    into = bytearray(SECRET_SIZE)
    with pytest.raises(Denied):
        recover_one(party.recoverer(), issued.wrapped, CONTEXT, memoryview(into))
    assert into == bytes(SECRET_SIZE)


def _verify(public: PublicKey, signature: bytes, message: bytes) -> None:
    if public.algorithm == "ed25519":
        Ed25519PublicKey.from_public_bytes(public.data).verify(signature, message)
        return
    key = load_der_public_key(public.data)
    assert isinstance(key, EllipticCurvePublicKey)
    key.verify(signature, message, ECDSA(SHA256()))
