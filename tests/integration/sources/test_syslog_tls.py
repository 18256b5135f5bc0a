from __future__ import annotations

import os
import socket
import ssl
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from epochseal.errors import ConfigError
from epochseal.sources.syslog import TlsFiles, open_syslog
from tests.integration.agents import Place
from tests.integration.sources.senders import Certificates, counted, end
from tests.integration.sources.sockets import SocketAgent, checked, lines_of, run_all, socket_agent

FULL = bool(os.environ.get("EPOCHSEAL_FULL"))
CLIENTS = 10
EACH = 100_000 if FULL else 5_000


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A log and its keys."""
    return Place(tmp_path, tmp_path / "runtime")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Made once."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


def _job(agent: SocketAgent, context: ssl.SSLContext | None, number: int) -> None:
    sock = agent.connect_tcp()
    if context is not None:
        sock = context.wrap_socket(sock, server_hostname="localhost")
    if number % 2:
        data = b"".join(b"<13>client %d entry %d\n" % (number, each) for each in range(EACH))
    else:
        data = b"".join(counted(b"<13>client %d\nentry %d" % (number, each)) for each in range(EACH))
    sock.sendall(data)
    end(sock)


@pytest.mark.parametrize("tls", [False, True])
def test_every_frame_is_one_entry(
    place: Place,
    certificates: Certificates,
    tls: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    """Ten senders at once, half of them counting: each frame is one entry, none is lost, all in order."""
    files = certificates.files(clients=True) if tls else None
    context = certificates.context("sender") if tls else None
    with socket_agent(place, "syslog", tls=files) as agent:
        run_all([partial(_job, agent, context, number) for number in range(CLIENTS)])
        agent.stop()
    stored = lines_of(place)
    for client in range(CLIENTS):
        mine = [
            line
            for line in stored
            if line.startswith((b"<13>client %d " % client, b"<13>client %d\\x0a" % client))
        ]
        between = b" " if client % 2 else b"\\x0a"
        assert mine == [b"<13>client %d%bentry %d" % (client, between, each) for each in range(EACH)]
    assert checked(place).entries == CLIENTS * EACH == len(stored)


def _reset(sock: ssl.SSLSocket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.socket.close(sock)


def _reset_later(sock: ssl.SSLSocket) -> None:
    time.sleep(0.3)
    _reset(sock)


@pytest.mark.parametrize(
    "leave",
    [socket.socket.close, lambda sock: sock.shutdown(socket.SHUT_WR), _reset_later, _reset],
    ids=["without close_notify", "half", "reset later", "reset at once"],
)
def test_a_tls_sender_that_leaves_without_a_word(
    place: Place, certificates: Certificates, leave: Callable[[ssl.SSLSocket], None]
) -> None:
    """However it goes: what had arrived is sealed, that it ends within a frame is told, and a gap."""
    with socket_agent(place, "syslog", tls=certificates.files(clients=False)) as agent:
        plain = agent.connect_tcp()
        # Else the sender's system keeps the frames back for a moment, and throws them away at a reset.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock = certificates.context().wrap_socket(plain, server_hostname="localhost")
        sock.sendall(b"<13>one\n<13>two\n<13>par")
        leave(sock)
        agent.wait_for("ended within an entry: what came of it is sealed")
        agent.stop()
        socket.socket.close(sock)
    assert lines_of(place) == [b"<13>one", b"<13>two", b"<13>par"]
    assert "source_gap" in [warning.kind for warning in checked(place).warnings]


def test_a_tls_sender_that_takes_its_leave(place: Place, certificates: Certificates) -> None:
    """Nothing may be missing behind `close_notify`."""
    with socket_agent(place, "syslog", tls=certificates.files(clients=False)) as agent:
        sock = certificates.context().wrap_socket(agent.connect_tcp(), server_hostname="localhost")
        sock.sendall(b"<13>one\n<13>two\n")
        with suppress(OSError):  # the agent closes the connection, and need not answer
            sock.unwrap()
        agent.stop()
    assert lines_of(place) == [b"<13>one", b"<13>two"]
    assert "source_gap" not in [warning.kind for warning in checked(place).warnings]


def test_a_proxy_before_tls(place: Place, certificates: Certificates) -> None:
    """Its header comes before the handshake, in one piece or in two; messages name whom it connected for."""
    with socket_agent(place, "syslog", tls=certificates.files(clients=False)) as agent:
        for pieces in (
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 77 2\r\n",),
            (b"PROXY TCP4 1.2.", b"3.4 5.6.7.8 77 2\r\n"),
        ):
            plain = agent.connect_tcp()
            for piece in pieces:
                plain.sendall(piece)
                time.sleep(0.1)
            with certificates.context().wrap_socket(plain, server_hostname="localhost") as sock:
                sock.sendall(b"<1>whole\n<1>half")
                end(sock)
        agent.stop()
    assert lines_of(place) == [b"<1>whole", b"<1>half"] * 2
    assert agent.said.count(", for 1.2.3.4 port 77 ended within an entry") == 2


def test_a_slow_sender_is_refused(place: Place, certificates: Certificates) -> None:
    """A frame or a handshake that trickles in is refused in its time; a sender that is only silent stays."""
    bounds = {"FRAME_SECONDS": 1.0, "HANDSHAKE_SECONDS": 1.0}
    with socket_agent(place, "syslog", bounds=bounds) as agent:
        silent, slow = agent.connect_tcp(), agent.connect_tcp()
        silent.sendall(b"<1>whole\n")
        with pytest.raises(ConnectionError):
            _trickle(slow)
        assert "no whole entry within 1 s" in agent.said
        silent.sendall(b"<1>still here\n")
        end(silent)
        agent.stop()
    assert lines_of(place) == [b"<1>whole", b"<1>still here"]
    with socket_agent(place, "syslog", bounds=bounds, tls=certificates.files(clients=False)) as agent:
        with agent.connect_tcp() as sock:
            sock.settimeout(30)
            assert sock.recv(10) == b""
        assert "it was not ready to send within 1 s" in agent.said
        agent.stop()


def _trickle(sock: socket.socket) -> None:
    for _ in range(100):
        sock.sendall(b"<")
        time.sleep(0.1)


def test_who_may_send(place: Place, certificates: Certificates) -> None:
    """With `client_ca` a sender needs a certificate of it; old TLS and plain text are refused too."""
    with socket_agent(place, "syslog", tls=certificates.files(clients=True)) as agent:
        for who in (None, "stranger", "sender"):
            sock = agent.connect_tcp()
            try:
                with certificates.context(who).wrap_socket(sock, server_hostname="localhost") as wrapped:
                    wrapped.sendall(counted(f"<1>{who}".encode()))
                    end(wrapped)
            except (ssl.SSLError, ConnectionError):
                assert who != "sender"
        with agent.connect_tcp() as plain:
            plain.sendall(b"<1>plain text\n")
            end(plain)
        old = certificates.context("sender")
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)), agent.connect_tcp() as sock:
            old.wrap_socket(sock, server_hostname="localhost")
        agent.stop()
    assert lines_of(place) == [b"<1>sender"]
    assert agent.said.count("is closed") == 4, agent.said


def test_a_stop_takes_what_was_written_before(place: Place, certificates: Certificates) -> None:
    """At SIGTERM frames in the socket are sealed, under TLS too, although the sender stays connected."""
    with socket_agent(place, "syslog", tls=certificates.files(clients=False)) as agent:
        sock = certificates.context().wrap_socket(agent.connect_tcp(), server_hostname="localhost")
        sock.sendall(b"<1>entry\n" * 50_000)
        start = time.monotonic()
        agent.stop()
        assert time.monotonic() - start < 9
    assert lines_of(place) == [b"<1>entry"] * 50_000


def test_tls_files_that_cannot_be_used(certificates: Certificates, tmp_path: Path) -> None:
    """Each message names the file and the reason."""
    server, key = Path(certificates.path("server.pem")), Path(certificates.path("server.key"))
    empty = tmp_path / "empty"
    empty.write_text("")
    for files, message in (
        (TlsFiles(server, Path(certificates.path("sender.key"))), "MISMATCH"),
        (TlsFiles(server, Path(certificates.path("server.locked"))), "encrypted"),
        (TlsFiles(tmp_path / "none", key), "No such file"),
        (TlsFiles(empty, key), f"cannot use the TLS certificate {empty}"),
        (TlsFiles(server, key, empty), f"cannot use {empty} to check senders"),
    ):
        with pytest.raises(ConfigError, match=message):
            open_syslog("127.0.0.1:0", tls=files, block_bytes=64, max_entry_bytes=64)
