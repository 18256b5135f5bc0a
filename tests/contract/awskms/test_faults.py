"""What moto cannot do on demand: an endpoint that answers every call of KMS with one error."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from typing import Self

import pytest

from epochseal.answers import MAX_ANSWER
from epochseal.errors import BackendError, Denied, EpochsealError, Unavailable, WrongKey
from epochseal.keys import parse_key_uri, recover_one
from epochseal_backends.awskms import backend as awskms
from epochseal_backends.awskms.key import parse
from tests.backends_under_test.kms_calls import do_not_pause
from tests.contract.backend_contract import CONTEXT, MESSAGE

URI = parse_key_uri("awskms:///alias/x")


class _Refusing(BaseHTTPRequestHandler):
    status, body, count = 200, b"", 0

    def do_POST(self) -> None:
        """Answer with what the class says."""
        type(self).count += 1
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A running endpoint, and the settings that lead to it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAX")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "5")
    do_not_pause(monkeypatch)
    monkeypatch.setattr(_Refusing, "count", 0)
    with HTTPServer(("127.0.0.1", 0), _Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield {"endpoint": f"http://127.0.0.1:{server.server_port}", "region": "eu-west-1"}
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "ThrottlingException", Unavailable),
        (500, "KMSInternalException", Unavailable),
        (400, "ExpiredTokenException", Denied),
        (400, "AccessDeniedException", Denied),
        (400, "DisabledException", BackendError),
        (400, "KMSInvalidStateException", Unavailable),
        (400, "InvalidCiphertextException", WrongKey),
    ],
)
def test_issue_is_sent_once(
    settings: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
    kind: type[EpochsealError],
) -> None:
    """Whatever KMS answers and the environment wants, an issue call is sent once and leaves no secret."""
    monkeypatch.setattr(_Refusing, "status", status)
    monkeypatch.setattr(_Refusing, "body", b'{"__type":"%s","message":"no"}' % code.encode())
    into = bytearray(32)
    with pytest.raises(kind):
        awskms.issuer(URI, settings).issue(CONTEXT, memoryview(into))
    assert _Refusing.count == 1
    assert into == bytes(32)


@pytest.mark.parametrize(
    ("status", "code", "kind", "times"),
    [
        (400, "ThrottlingException", Unavailable, 3),
        (500, "KMSInternalException", Unavailable, 3),
        (400, "AccessDeniedException", Denied, 1),
        (400, "IncorrectKeyException", WrongKey, 1),
    ],
)
def test_recover_is_sent_again_where_that_can_help(
    settings: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
    kind: type[EpochsealError],
    times: int,
) -> None:
    """What was throttled or broken is asked for three times, against the environment; a refusal once."""
    monkeypatch.setattr(_Refusing, "status", status)
    monkeypatch.setattr(_Refusing, "body", b'{"__type":"%s","message":"no"}' % code.encode())
    into = bytearray(32)
    with pytest.raises(kind):
        recover_one(awskms.recoverer(URI, settings), b"wrapped", CONTEXT, memoryview(into))
    assert _Refusing.count == times
    assert into == bytes(32)


@pytest.mark.parametrize("status", [500, 503])
def test_sign_without_the_text_of_aws(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """An error page of something in between, as a balancer has, is an outage by its status."""
    monkeypatch.setattr(_Refusing, "status", status)
    monkeypatch.setattr(_Refusing, "body", b"<html>busy</html>")
    with pytest.raises(Unavailable):
        awskms.signer(URI, settings).sign(MESSAGE)
    assert _Refusing.count == 3


def test_hidden_key_is_denied(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """KMS hides whether a key is another's or not permitted: no log is called tampered with for that."""
    text = (
        "The ciphertext refers to a customer master key that does not exist, "
        "does not exist in this region, or you are not allowed to access."
    )
    monkeypatch.setattr(_Refusing, "status", 400)
    body = {"__type": "AccessDeniedException", "message": text}
    monkeypatch.setattr(_Refusing, "body", json.dumps(body).encode())
    with pytest.raises(Denied, match="or the wrapped secret was made by another key") as refused:
        recover_one(awskms.recoverer(URI, settings), b"wrapped", CONTEXT, memoryview(bytearray(32)))
    assert "allow kms:Decrypt" in str(refused.value.hint)


def test_answer_that_is_cut(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that ends in the middle is unavailable, and its text is not repeated."""
    monkeypatch.setattr(_Refusing, "status", 200)
    monkeypatch.setattr(_Refusing, "body", b'{"Plaintext":"c2VjcmV0')
    with pytest.raises(Unavailable) as failed:
        awskms.issuer(URI, settings).issue(CONTEXT, memoryview(bytearray(32)))
    assert "c2Vj" not in str(failed.value)


@pytest.mark.parametrize(
    ("said", "lasts"),
    [
        ("arn:aws:kms:eu-west-1:1:key/x is unavailable.", False),
        ("arn:aws:kms:eu-west-1:1:key/x is pending deletion.", True),
        ("arn:aws:kms:eu-west-1:1:key/x is pending import.", True),
    ],
)
def test_a_disconnected_key_store_is_an_outage(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch, said: str, *, lasts: bool
) -> None:
    """A key in a store that is disconnected comes back by itself; one that is to be deleted does not."""
    monkeypatch.setattr(_Refusing, "status", 400)
    body = json.dumps({"__type": "KMSInvalidStateException", "message": said})
    monkeypatch.setattr(_Refusing, "body", body.encode())
    with pytest.raises(BackendError) as refused:
        awskms.issuer(URI, settings).issue(CONTEXT, memoryview(bytearray(32)))
    assert isinstance(refused.value, Unavailable) != lasts
    assert ("cancel-key-deletion" in str(refused.value.hint)) == lasts


def test_an_agent_that_recovers_is_told_to_log_in_as_the_verifier(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hint never says to give the agent the right that its role must not have."""
    monkeypatch.setattr(_Refusing, "status", 400)
    monkeypatch.setattr(_Refusing, "body", b'{"__type":"AccessDeniedException","message":"no"}')
    with pytest.raises(Denied) as refused:
        recover_one(awskms.recoverer(URI, settings), b"x", CONTEXT, memoryview(bytearray(32)))
    assert str(refused.value.hint).startswith("log in as the verifier")


def test_an_endpoint_may_be_an_ipv6_address() -> None:
    """As URLs have it, in brackets."""
    assert parse(parse_key_uri("awskms://[::1]:4566/alias/x")).endpoint == "https://[::1]:4566"


@pytest.mark.parametrize("place", ["container", "instance"])
def test_metadata_that_never_ends(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """A metadata service, or what stands in its place, that sends more than any answer has is not read on."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    with _Endless() as service:
        variable = (
            "AWS_CONTAINER_CREDENTIALS_FULL_URI"
            if place == "container"
            else "AWS_EC2_METADATA_SERVICE_ENDPOINT"
        )
        monkeypatch.setenv(variable, service.address)
        with pytest.raises(EpochsealError) as caught:
            awskms.signer(URI, settings).sign(MESSAGE)
    assert isinstance(caught.value, Unavailable | Denied), caught.value
    assert 0 < service.sent <= service.asked * 8 * MAX_ANSWER


class _Endless:
    """Sends zeros to whoever asks, for as long as they are read."""

    def __init__(self) -> None:
        self.asked, self.sent = 0, 0
        seen = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                """Begin an answer."""
                seen.asked += 1
                self.send_response(200)
                self.end_headers()
                with contextlib.suppress(OSError):
                    for _ in range(256):
                        self.wfile.write(bytes(1 << 20))
                        seen.sent += 1 << 20

            do_PUT = do_GET  # noqa: N815  # as above

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in http.server
                """Be quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
