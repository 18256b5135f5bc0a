"""The AWS KMS backend with keys that are not in order, and of a service that is cut, mute or gone."""

from __future__ import annotations

import socket

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from epochseal.errors import BackendError, Denied, Unavailable, WrongKey
from epochseal.keys import parse_key_uri
from epochseal_backends.awskms import backend as awskms
from epochseal_backends.awskms import client as awskms_client
from tests.backends_under_test.kms import KmsServer
from tests.backends_under_test.kms_calls import each_call, issue, recover, see_only
from tests.backends_under_test.proxy import Proxy
from tests.contract.backend_contract import CONTEXT, MESSAGE

CALLS = {"issue": 1, "recover": 3, "sign": 3}
"""Each operation, and how often it is tried."""


pytestmark = pytest.mark.usefixtures("kms")


@pytest.fixture(scope="module")
def wrapped(server: KmsServer) -> bytes:
    """A secret that was issued while all was well."""
    with pytest.MonkeyPatch.context() as patch:
        see_only(server.environ, patch)
        return issue(server.epoch_uri, server.settings("agent")).wrapped


@pytest.mark.parametrize("name", CALLS)
def test_disabled_key(kms: KmsServer, wrapped: bytes, name: str) -> None:
    """A disabled key is said to be one, with what enables it; enabled again, it serves as before."""
    arn = kms.checkpoint_arn if name == "sign" else kms.epoch_arn
    key, call = arn.rpartition("/")[2], each_call(kms, wrapped)[name]
    kms.admin().disable_key(KeyId=key)
    try:
        with pytest.raises(BackendError, match="the key is disabled") as refused:
            call()
    finally:
        kms.admin().enable_key(KeyId=key)
    assert not isinstance(refused.value, (Denied, Unavailable, WrongKey))
    assert "enable-key" in str(refused.value.hint)
    call()


@pytest.mark.parametrize("name", CALLS)
def test_key_that_waits_for_its_deletion(kms: KmsServer, wrapped: bytes, name: str) -> None:
    """No secret is wrapped by a key that will be gone; the hint stops the deletion."""
    arn = kms.checkpoint_arn if name == "sign" else kms.epoch_arn
    key, call = arn.rpartition("/")[2], each_call(kms, wrapped)[name]
    kms.admin().schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    try:
        with pytest.raises(BackendError, match="pending deletion") as refused:
            call()
    finally:
        kms.admin().cancel_key_deletion(KeyId=key)
        kms.admin().enable_key(KeyId=key)
    assert not isinstance(refused.value, (Denied, Unavailable, WrongKey))
    assert "cancel-key-deletion" in str(refused.value.hint)
    call()


def test_doctor_of_keys_that_are_disabled(kms: KmsServer) -> None:
    """The state is named, and what does not work; what must be refused is asked all the same."""
    epoch, checkpoint = (parse_key_uri(uri) for uri in (kms.epoch_uri, kms.checkpoint_uri))
    settings = kms.settings("agent")
    topics: dict[str, str] = {}
    for arn in (kms.epoch_arn, kms.checkpoint_arn):
        kms.admin().disable_key(KeyId=arn.rpartition("/")[2])
    try:
        for findings in (
            awskms.examine_epoch_key(epoch, settings, CONTEXT.origin),
            awskms.examine_checkpoint_key(checkpoint, settings),
        ):
            topics |= {finding.topic: finding.outcome for finding in findings}
    finally:
        for arn in (kms.epoch_arn, kms.checkpoint_arn):
            kms.admin().enable_key(KeyId=arn.rpartition("/")[2])
    assert {topic for topic, outcome in topics.items() if outcome == "wrong"} == {
        "epoch key is enabled",
        "checkpoint key is enabled",
        "agent may sign",
        f"agent may have secrets issued for {CONTEXT.origin}",
    }
    assert topics["agent may not wrap"] == topics["agent may not make grants"] == "good"


def test_rotated_key_material(kms: KmsServer, wrapped: bytes) -> None:
    """After a rotation inside of KMS the key id is the same; secrets of both times are recovered."""
    verifier = kms.settings("verifier")
    before = recover(kms.epoch_uri, verifier, wrapped)
    kms.admin().rotate_key_on_demand(KeyId=kms.epoch_arn)
    assert len(kms.admin().list_key_rotations(KeyId=kms.epoch_arn)["Rotations"]) == 1
    issued = issue(kms.epoch_uri, kms.settings("agent"))
    assert issued.key_id == kms.epoch_arn
    assert awskms.recoverer(parse_key_uri(kms.epoch_uri), verifier).recognizes(issued.key_id)
    recover(kms.epoch_uri, verifier, issued.wrapped)
    assert recover(kms.epoch_uri, verifier, wrapped) == before


def test_permission_that_is_missing_is_not_the_wrong_key(kms: KmsServer, wrapped: bytes) -> None:
    """Who may not decrypt is told so; who may, and named another key, that the key is another."""
    with pytest.raises(Denied, match="kms:Decrypt"):
        recover(kms.epoch_uri, kms.settings("agent"), wrapped)
    other = f"awskms:///{kms.create_key(KeyUsage='ENCRYPT_DECRYPT')}"
    with pytest.raises(WrongKey):
        recover(other, kms.settings("verifier"), wrapped)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("cut_after", [0, 40, 400])
def test_answer_that_is_cut(kms: KmsServer, wrapped: bytes, name: str, cut_after: int) -> None:
    """Nothing is taken of half an answer; only a call without any is made again, and no issue call."""
    with Proxy(_port(kms)) as proxy:
        call = each_call(kms, wrapped, endpoint=f"http://127.0.0.1:{proxy.port}")[name]
        call()
        before, proxy.cut_after = proxy.connections, cut_after
        with pytest.raises(Unavailable):
            call()
        assert proxy.connections - before == (1 if cut_after else CALLS[name])
        proxy.cut_after = None
        call()


@pytest.mark.parametrize("name", CALLS)
def test_server_that_never_answers(
    kms: KmsServer, wrapped: bytes, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A server that takes the call and says nothing is given up after the time limit."""
    monkeypatch.setattr(awskms_client, "READ_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute, Proxy(mute.getsockname()[1]) as proxy:
        with pytest.raises(Unavailable, match="no answer within the time limit"):
            each_call(kms, wrapped, endpoint=f"http://127.0.0.1:{proxy.port}")[name]()
        assert proxy.connections == CALLS[name]


@pytest.mark.parametrize("name", CALLS)
def test_server_that_is_gone(kms: KmsServer, wrapped: bytes, name: str) -> None:
    """A refused connection is an outage, for a setting may be right while the server is down."""
    with Proxy(_port(kms)) as proxy:
        call = each_call(kms, wrapped, endpoint=f"http://127.0.0.1:{proxy.port}")[name]
    with pytest.raises(Unavailable, match="Could not connect"):
        call()


def test_name_that_is_not_found(kms: KmsServer) -> None:
    """A host that has no address is an outage too: so it looks when name servers are down."""
    with pytest.raises(Unavailable, match="cannot be reached"):
        issue(kms.epoch_uri, {**kms.settings("agent"), "endpoint": "https://kms.invalid"})


def test_signer_goes_on_after_an_outage(kms: KmsServer) -> None:
    """One signer, whose connection is cut, signs again when the server is there."""
    with Proxy(_port(kms)) as proxy:
        settings = {**kms.settings("agent"), "endpoint": f"http://127.0.0.1:{proxy.port}"}
        signer = awskms.signer(parse_key_uri(kms.checkpoint_uri), settings)
        public = load_der_public_key(signer.public_key().data)
        assert isinstance(public, EllipticCurvePublicKey)
        proxy.cut_after = 0
        with pytest.raises(Unavailable):
            signer.sign(MESSAGE)
        proxy.cut_after = None
        public.verify(signer.sign(MESSAGE), MESSAGE, ECDSA(SHA256()))


def _port(kms: KmsServer) -> int:
    return int(kms.url.rpartition(":")[2])
