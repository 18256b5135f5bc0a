from __future__ import annotations

import datetime as dt
import errno
import logging
import logging.handlers
import os
import signal
import socket
import ssl
import struct
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from epochseal.errors import ConfigError, StorageError
from epochseal.format.escaping import escape
from epochseal.sources.internet_endpoint import InternetEndpoint, parse_address
from epochseal.sources.syslog import TlsFiles, open_syslog
from tests.integration.agents import Place
from tests.integration.sources.sockets import (
    SocketAgent,
    as_sent,
    blocks,
    checked,
    lines_of,
    run_all,
    socket_agent,
)

FULL = bool(os.environ.get("EPOCHSEAL_FULL"))
CLIENTS = 10
EACH = 100_000 if FULL else 5_000
EVIL = b"<13>a\nb\rc\x1b[2J\xe2\x80\xa8d\\n\x00"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A log and its keys."""
    return Place(tmp_path, tmp_path / "runtime")


class Certificates:
    """An authority, and what it signed for the server and for a sender; a stranger who signed for himself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        authority = self._make("authority", None)
        self._make("server", authority)
        self._make("sender", authority)
        self._make("stranger", None)

    def files(self, *, clients: bool) -> dict[str, str]:
        """What the source is given."""
        found = {"cert": self.path("server.pem"), "key": self.path("server.key")}
        return found | ({"client_ca": self.path("authority.pem")} if clients else {})

    def context(self, who: str | None = None) -> ssl.SSLContext:
        """What a sender uses who trusts the authority alone."""
        context = ssl.create_default_context(cafile=self.path("authority.pem"))
        if who is not None:
            context.load_cert_chain(self.path(f"{who}.pem"), self.path(f"{who}.key"))
        return context

    def path(self, name: str) -> str:
        """One of the files."""
        return str(self.folder / name)

    def _make(
        self, who: str, by: tuple[x509.Name, EllipticCurvePrivateKey] | None
    ) -> tuple[x509.Name, EllipticCurvePrivateKey]:
        key = generate_private_key(SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, who)])
        issuer, signer = by or (name, key)
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
            )
            .sign(signer, SHA256())
        )
        Path(self.path(f"{who}.pem")).write_bytes(certificate.public_bytes(Encoding.PEM))
        for ending, encryption in (("key", NoEncryption()), ("locked", BestAvailableEncryption(b"x"))):
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
            Path(self.path(f"{who}.{ending}")).write_bytes(pem)
        return name, key


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Made once."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


def counted(frame: bytes) -> bytes:
    """A frame with its count."""
    return b"%d %b" % (len(frame), frame)


def end(sock: socket.socket) -> bytes:
    """Send no more, and read until the agent closes."""
    sock.settimeout(30)
    try:
        if isinstance(sock, ssl.SSLSocket):
            sock.unwrap()
            return b""
        sock.shutdown(socket.SHUT_WR)
        return sock.recv(100)
    except (ConnectionError, ssl.SSLError):
        return b""
    except OSError as exc:
        # Whom the agent has refused by now may find the connection gone.
        if exc.errno != errno.ENOTCONN:
            raise
        return b""
    finally:
        sock.close()


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


def test_a_frame_cannot_make_a_second_entry(place: Place) -> None:
    """Newline, CR, U+2028 and terminal escapes in a counted frame: one entry, given back as it was sent."""
    with socket_agent(place, "syslog") as agent:
        with agent.connect_tcp() as sock:
            sock.sendall(counted(EVIL) + counted(b"<13>next"))
            end(sock)
        agent.stop()
    assert lines_of(place) == [escape(EVIL), b"<13>next"]
    assert as_sent(place) == EVIL + b"\n<13>next\n"


def message(text: bytes) -> bytes:
    """A syslog message."""
    return b"<13>1 2026-11-28T00:00:00Z host app - - - " + text


@pytest.mark.parametrize(
    ("data", "entries"),
    [
        (message(b"one") + b"\0" + message(b"two") + b"\0", [b"one", b"two"]),
        (message(b"one\nline") + b"\0" + message(b"two") + b"\0", [b"one\\x0aline", b"two"]),
        (message(b"one") + b"\0\n" + message(b"two") + b"\0\n", [b"one\\x00", b"two\\x00"]),
        (message(b"one") + b"\r\n" + message(b"two") + b"\r\n", [b"one\\x0d", b"two\\x0d"]),
        (b"\xef\xbb\xbf" + message(b"one") + b"\n", [b"one"]),
        (b"\n" + message(b"one") + b"\n", [b"one"]),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + message(b"one") + b"\n", [b"one"]),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(range(12)) + message(b"one") + b"\n", [b"one"]),
        (b"".join(counted(message(x)) + b"\n" for x in (b"one", b"two")), [b"one", b"two"]),
        (
            message(b"one") + b"\n" + counted(message(b"two")) + counted(message(b"three")),
            [b"one", b"two", b"three"],
        ),
        (message(b"one") + b"\n" + message(b"two"), [b"one", b"two"]),
        (message(b"one") + b"\n12 lines\n", [b"one", b"12 lines"]),
    ],
)
def test_framings_are_recognized(place: Place, data: bytes, entries: list[bytes]) -> None:
    """What senders do besides RFC 6587: no entry is lost, cut or joined, and nothing is flagged."""
    with socket_agent(place, "syslog") as agent:
        with agent.connect_tcp() as sock:
            sock.sendall(data)
            end(sock)
        agent.stop()
    assert [line.removeprefix(message(b"")) for line in lines_of(place)] == entries
    assert checked(place).warnings == []


@pytest.mark.parametrize(
    ("data", "entries", "said"),
    [
        (
            counted(b"<1>good") + b"200 " + b"x" * 200 + counted(b"<1>next"),
            [b"<1>good", b"<1>next"],
            "200 bytes are not",
        ),
        (b"<1>good\n<" + b"x" * 300 + b"\n<1>next\n", [b"<1>good", b"<1>next"], "301 bytes are not"),
        (b"<1>good\n<" + b"x" * 99_999, [b"<1>good"], "100000 bytes are not"),
        (b"6 <1>good7 <1>next", [b"<1>good", b"<1>next"], "a count that is wrong"),
    ],
)
def test_a_frame_that_is_wrong_costs_no_other(
    place: Place, data: bytes, entries: list[bytes], said: str
) -> None:
    """One that is too long is left out, a wrong count is made good by the next frame: flagged and told."""
    with socket_agent(place, "syslog", max_entry_bytes=100) as agent:
        with agent.connect_tcp() as sock:
            sock.sendall(data)
            end(sock)
        agent.wait_for(said)
        agent.stop()
    assert lines_of(place) == entries
    assert {warning.kind for warning in checked(place).warnings} == {"source_gap"}


def test_a_count_that_covers_the_next_one(place: Place) -> None:
    """Without a priority behind it the next frame cannot be found: all bytes are sealed, and it is told."""
    with socket_agent(place, "syslog") as agent:
        with agent.connect_tcp() as sock:
            sock.sendall(b"8 <1>good7 <1>next")
            end(sock)
        agent.wait_for("ended within an entry: what came of it is sealed")
        agent.stop()
    assert lines_of(place) == [b"<1>good7", b" <1>next"]


def test_a_reset_before_the_sender_is_accepted(place: Place) -> None:
    """Frames that were whole are sealed, although their sender had reset before it was accepted."""
    with socket_agent(place, "syslog") as agent:
        os.kill(agent.process.pid, signal.SIGSTOP)
        with agent.connect_tcp() as sock:
            sock.sendall(b"".join(b"<13>entry %d\n" % number for number in range(1000)))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.kill(agent.process.pid, signal.SIGCONT)
        agent.wait_for_bytes(place, 1000)
        agent.stop()
    assert lines_of(place) == [b"<13>entry %d" % number for number in range(1000)]


def test_the_handler_of_the_standard_library(place: Place) -> None:
    """Its records end in NUL, over TCP too: each is sealed at once."""
    with socket_agent(place, "syslog") as agent:
        handler = logging.handlers.SysLogHandler(("127.0.0.1", int(agent.where)), socktype=socket.SOCK_STREAM)
        for text in ("one", "two"):
            handler.emit(logging.LogRecord("x", logging.INFO, "f", 1, text, (), None))
        agent.wait_for_bytes(place, 16)
        handler.close()
        agent.stop()
    assert lines_of(place) == [b"<14>one", b"<14>two"]


def test_datagrams_of_udp(place: Place) -> None:
    """One is an entry; one that finds the queue full is counted: the log and a message say so."""
    with socket_agent(place, "syslog-udp") as agent:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", int(agent.where)))
            sock.send(b"<13>one\nline")
            agent.wait_for_bytes(place, 12)
            os.kill(agent.process.pid, signal.SIGSTOP)
            for _ in range(2000):
                sock.send(b"<13>" + b"x" * 60_000)
            os.kill(agent.process.pid, signal.SIGCONT)
        agent.wait_for("datagrams came faster than they were read")
        agent.stop()
    assert lines_of(place)[0] == b"<13>one\\x0aline"
    assert {warning.kind for warning in checked(place).warnings} == {"source_gap"}


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
    """However it goes: what had arrived is sealed, and that the last frame has no end is told."""
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


def test_a_sender_that_leaves_within_a_frame(place: Place) -> None:
    """What came of the frame is a block of its own, flagged `nolf`; a count alone is only told."""
    with socket_agent(place, "syslog") as agent:
        for data in (counted(b"<1>whole") + b"100 <1>ha\nlf", b"<2>whole\n<2>half", b"100 ", b"10"):
            sock = agent.connect_tcp()
            sock.sendall(data)
            end(sock)
        agent.stop()
    assert lines_of(place) == [b"<1>whole", b"<1>ha\\x0alf", b"<2>whole", b"<2>half"]
    found = [
        (block.first_entry, block.entries)
        for block in blocks(place)
        if block.src is not None and block.src.nolf
    ]
    assert found == [(1, 1), (3, 1)]
    assert agent.said.count("ended within an entry") == 4
    assert as_sent(place) == b"<1>whole\n<1>ha\nlf\n<2>whole\n<2>half"


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


def test_a_silent_sender_gives_up_its_place(place: Place) -> None:
    """Senders that are silent make room once all places are taken, and not before."""
    with socket_agent(place, "syslog", bounds={"MAX_CLIENTS": 3, "QUIET_SECONDS": 0.3}) as agent:
        busy, *_silent = [agent.connect_tcp() for _ in range(3)]
        busy.sendall(b"<1>busy\n")
        agent.wait_for_bytes(place, 8)
        late = agent.connect_tcp()
        late.sendall(b"<1>late\n")
        agent.wait_for("makes room for another client")
        end(late)
        busy.sendall(b"<1>busy\n")
        end(busy)
        agent.stop()
    assert sorted(lines_of(place)) == [b"<1>busy", b"<1>busy", b"<1>late"]


def test_connections_beyond_the_descriptors(place: Place) -> None:
    """A flood of connections leaves the agent the descriptors that it needs: it goes on, epochs turn."""
    with socket_agent(place, "syslog", descriptors=128, epoch_max_entries=5) as agent:
        flood = [agent.connect_tcp() for _ in range(200)]
        for number in range(20):
            with agent.connect_tcp() as sock:
                sock.sendall(b"<13>entry %d\n" % number)
                end(sock)
        for sock in flood:
            sock.close()
        agent.stop()
    assert sorted(lines_of(place)) == sorted(b"<13>entry %d" % number for number in range(20))
    assert checked(place).epochs == 4


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


def test_addresses() -> None:
    """Host and port in their two forms; anything else is refused, and so is an address in use."""
    assert parse_address("127.0.0.1:6514") == ("127.0.0.1", 6514)
    assert parse_address("[::1]:65535") == ("::1", 65535)
    for text in (
        "6514",
        ":6514",
        "host",
        "host:",
        "host:65536",
        "host:-1",
        "::1:6514",
        "[host]:x",
        "host:1 ",
    ):
        with pytest.raises(ConfigError, match="no address to listen on"):
            parse_address(text)
    endpoint = InternetEndpoint("127.0.0.1:0", socket.SOCK_STREAM)
    with pytest.raises(StorageError, match="Address already in use"):
        open_syslog(f"127.0.0.1:{endpoint.address[1]}", tls=None, block_bytes=64, max_entry_bytes=64)
    endpoint.close()
