"""What moto cannot do on demand: an endpoint that answers every call of KMS with one error."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from epochseal.errors import BackendError, Denied, EpochsealError, Unavailable, WrongKey
from epochseal.keys import parse_key_uri
from epochseal_backends import awskms
from tests.contract.backend_contract import CONTEXT

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
    monkeypatch.setattr(_Refusing, "count", 0)
    with HTTPServer(("127.0.0.1", 0), _Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
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
        (400, "KMSInvalidStateException", BackendError),
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


def test_answer_that_is_cut(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that ends in the middle is unavailable, and its text is not repeated."""
    monkeypatch.setattr(_Refusing, "status", 200)
    monkeypatch.setattr(_Refusing, "body", b'{"Plaintext":"c2VjcmV0')
    with pytest.raises(Unavailable) as failed:
        awskms.issuer(URI, settings).issue(CONTEXT, memoryview(bytearray(32)))
    assert "c2Vj" not in str(failed.value)
