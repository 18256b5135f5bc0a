from __future__ import annotations

import datetime as dt
import errno
import os
import socket
import ssl
import time
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
from epochseal.sources.syslog import SyslogSource, TlsFiles, parse_address
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


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "neither a count nor < begins"),
        (counted(b"<1>good") + b"x<1>bad\n", "count is no number"),
        (counted(b"<1>good") + b"101 ", "longer than 100 bytes"),
        (b"<1>good\n<" + b"x" * 100 + b"\n<1>after\n", "longer than 100 bytes"),
        (b"<1>good\n<" + b"x" * 100_000, "longer than 100 bytes"),
    ],
)
def test_a_malformed_frame_closes_its_connection(place: Place, data: bytes, message: str) -> None:
    """There is a message, what was whole is sealed, and other senders go on."""
    with socket_agent(place, "syslog", max_entry_bytes=100) as agent:
        other = agent.connect_tcp()
        other.sendall(b"<1>oth")
        with agent.connect_tcp() as sock:
            sock.sendall(data)
            agent.wait_for(message)
            end(sock)
        other.sendall(b"er\n")
        end(other)
        agent.stop()
    assert lines_of(place) == [b"<1>good"] * data.count(b"good") + [b"<1>other"]


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
        assert "no whole frame within 1 s" in agent.said
        silent.sendall(b"<1>still here\n")
        end(silent)
        agent.stop()
    assert lines_of(place) == [b"<1>whole", b"<1>still here"]
    with socket_agent(place, "syslog", bounds=bounds, tls=certificates.files(clients=False)) as agent:
        with agent.connect_tcp() as sock:
            sock.settimeout(30)
            assert sock.recv(10) == b""
        assert "no TLS handshake within 1 s" in agent.said
        agent.stop()


def _trickle(sock: socket.socket) -> None:
    for _ in range(100):
        sock.sendall(b"<")
        time.sleep(0.1)


def test_a_silent_sender_gives_up_its_place(place: Place) -> None:
    """Senders that never sent a frame make room once all places are taken, and not before."""
    bounds = {"MAX_CLIENTS": 3, "SILENT_SECONDS": 0.5}
    with socket_agent(place, "syslog", bounds=bounds) as agent:
        busy, *_silent = [agent.connect_tcp() for _ in range(3)]
        busy.sendall(b"<1>busy\n")
        agent.wait_for("further ones wait")
        late = agent.connect_tcp()
        late.sendall(b"<1>late\n")
        agent.wait_for("others wait for its place")
        end(late)
        busy.sendall(b"<1>busy\n")
        end(busy)
        agent.stop()
    assert sorted(lines_of(place)) == [b"<1>busy", b"<1>busy", b"<1>late"]


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
            SyslogSource("127.0.0.1:0", tls=files, block_bytes=64, max_entry_bytes=64)


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
    source = SyslogSource("127.0.0.1:0", tls=None, block_bytes=64, max_entry_bytes=64)
    with pytest.raises(StorageError, match="Address already in use"):
        SyslogSource(f"127.0.0.1:{source.address[1]}", tls=None, block_bytes=64, max_entry_bytes=64)
    source.close()
