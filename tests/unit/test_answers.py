"""Servers that never end: whoever asks them is done in time, and with little memory."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from epochseal import answers
from epochseal.errors import Unavailable
from epochseal.keys import KeyURI
from epochseal_backends.awskms.client import ONCE, Kms
from epochseal_backends.awskms.key import parse
from epochseal_backends.vault.access import read_access
from epochseal_backends.vault.session import Session

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def drip(client: socket.socket, before: bytes) -> None:
    """A byte at a time: no single read is ever late."""
    client.sendall(before)
    while True:
        client.sendall(b"x")
        time.sleep(0.05)


def flood(client: socket.socket, before: bytes) -> None:
    """As much as the other side takes."""
    client.sendall(before)
    while True:
        client.sendall(bytes(1 << 16))


def say(client: socket.socket, text: bytes) -> None:
    """One answer, and then nothing."""
    client.sendall(text)
    client.recv(1)


SERVERS = {
    "drips the headers": partial(drip, before=b"HTTP/1.1 200 OK\r\nX-Slow: "),
    "drips the body": partial(drip, before=HEAD + b"\r\n"),
    "drips a chunk": partial(drip, before=HEAD + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n"),
    "has no end": partial(flood, before=HEAD + b"\r\n"),
    "states a length of a terabyte": partial(flood, before=HEAD + b"Content-Length: 1000000000000\r\n\r\n"),
    "states a chunk of a terabyte": partial(
        flood, before=HEAD + b"Transfer-Encoding: chunked\r\n\r\n10000000000\r\n"
    ),
    "compresses": partial(say, text=HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx"),
}


@contextlib.contextmanager
def serving(behave: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that treats everybody like that; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def treat(client: socket.socket) -> None:
            with client, contextlib.suppress(OSError):
                client.recv(1 << 16)
                behave(client)

        def run() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=treat, args=(client,), daemon=True).start()

        threading.Thread(target=run, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer may take half a second."""
    monkeypatch.setattr(answers.BoundedResponse, "seconds", 0.5)


@pytest.mark.parametrize("name", SERVERS)
def test_a_key_server(name: str) -> None:
    """The call of a key server ends as one that is not to be reached."""
    with serving(SERVERS[name]) as address:
        session = Session(read_access({"address": address}))
        start = time.monotonic()
        with pytest.raises(Unavailable):
            session._request("get", "transit/keys/epoch", None)  # noqa: SLF001  # one call, without its retries
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("name", [name for name in SERVERS if name != "compresses"])
def test_kms(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of AWS KMS, whose library does not unpack what was not to be packed."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    with serving(SERVERS[name]) as address:
        key = parse(KeyURI("awskms", "///alias/epoch"))
        kms = Kms(key, {"endpoint": address, "region": "eu-central-1"}, ONCE)
        start = time.monotonic()
        with pytest.raises(Unavailable):
            kms.call("describe_key")
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("name", SERVERS)
def test_an_opener(name: str) -> None:
    """So does reading an answer of a witness or an authority."""
    with serving(SERVERS[name]) as address:
        start = time.monotonic()
        with pytest.raises((OSError, http.client.HTTPException)):
            answers.build_opener().open(address, timeout=2).read()
    assert time.monotonic() - start < 30


def test_an_answer_that_fits() -> None:
    """What ends in time is read as ever."""
    body = b"{}" * 1000
    text = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with serving(partial(say, text=text)) as address, answers.build_opener().open(address, timeout=2) as got:
        assert got.read() == body
