"""What clients have sent when a stop is asked for, and the loop comes late to read it."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from epochseal.sources import stream_server
from epochseal.sources.internet_endpoint import InternetEndpoint
from epochseal.sources.stream_server import StreamServer
from epochseal.sources.syslog import TlsFiles, open_syslog
from epochseal.sources.unix import open_stream
from tests.integration.sources.senders import Certificates
from tests.unit.sources.driven import read, sealed_to_the_end, taken


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StreamServer]:
    """A source at a socket file, driven by hand."""
    made = open_stream(tmp_path / "s", mode=0o600, acks=False, block_bytes=1 << 16, max_entry_bytes=1000)
    yield made
    made.close()


def _caller(server: StreamServer, sent: bytes) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.connect(str(server.name.removeprefix("unix:")))
    made.sendall(sent)
    return made


def test_a_loop_that_is_late_takes_what_lies_in_the_socket(server: StreamServer) -> None:
    """A commit that takes longer than a quiet client is given costs none of its entries."""
    with _caller(server, b"") as client:
        read(server)
        assert server.connections == 1
        client.sendall(b"entry\n" * 5000)
        server.finish()
        time.sleep(1.5 * stream_server.SILENT_SECONDS)
        lines, pieces = sealed_to_the_end(server)
    assert lines == [b"entry"] * 5000
    assert not any(piece.src.gap for piece in pieces)


def test_all_who_connected_areread(server: StreamServer) -> None:
    """However many wait to be accepted when the stop comes."""
    callers = [_caller(server, b"entry %d\n" % number) for number in range(200)]
    server.finish()
    lines, pieces = sealed_to_the_end(server)
    assert sorted(lines) == sorted(b"entry %d" % number for number in range(200))
    assert not any(piece.src.gap for piece in pieces)
    for caller in callers:
        caller.close()


def test_what_is_not_read_in_time_is_a_gap(server: StreamServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that goes on sending is left at last, and the log says that entries may be missing."""
    monkeypatch.setattr(stream_server, "FINISH_SECONDS", 0.05)
    with _caller(server, b"") as client:
        read(server)
        client.sendall(b"entry\n" * 5000)
        server.finish()
        time.sleep(0.1)
        lines, pieces = sealed_to_the_end(server)
    assert len(lines) < 5000
    assert any(piece.src.gap for piece in pieces)


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[StreamServer, socket.socket, ssl.SSLContext]]:
    """A source that speaks TLS, a connection to it, and what a sender needs to speak TLS over it."""
    certificates = Certificates(tmp_path)
    files = TlsFiles(Path(certificates.path("server.pem")), Path(certificates.path("server.key")))
    made = open_syslog("127.0.0.1:0", tls=files, block_bytes=1 << 16, max_entry_bytes=1000)
    assert isinstance(made.endpoint, InternetEndpoint)
    with socket.create_connection(made.endpoint.address) as sock:
        yield made, sock, certificates.context()
    made.close()


def _shaken(server: StreamServer, sock: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    """The connection after its handshake, which this thread's side does by reading."""
    found: list[ssl.SSLSocket] = []
    thread = threading.Thread(
        target=lambda: found.append(context.wrap_socket(sock, server_hostname="localhost"))
    )
    thread.start()
    while thread.is_alive():
        read(server)
    thread.join()
    return found[0]


def test_what_lies_in_a_socket_under_tls_is_taken_as_it_was_sent(
    tls: tuple[StreamServer, socket.socket, ssl.SSLContext],
) -> None:
    """A sender that is told of the end has its records decrypted to the last one."""
    server, sock, context = tls
    with _shaken(server, sock, context) as client:
        client.sendall(b"<1>entry\n" * 5000)
        server.finish()
        lines, pieces = sealed_to_the_end(server)
    assert lines == [b"<1>entry"] * 5000
    assert not any(piece.src.gap for piece in pieces)


def test_a_handshake_may_be_cut_short(tls: tuple[StreamServer, socket.socket, ssl.SSLContext]) -> None:
    """Who makes room before its handshake is done costs itself, and nobody else."""
    server, sock, context = tls
    hello = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost").do_handshake()
    greeting = hello.read()
    sock.sendall(greeting[:100])
    while not server.connections:
        read(server)
    read(server)
    (client,) = server._clients.values()  # noqa: SLF001  # who makes room is chosen among a thousand
    server.endpoint.stop_input(client.sock)
    sock.sendall(greeting[100:])
    while server.connections:
        server.tick()
        read(server)
    assert taken(server)[0] == []
