"""What senders of syslog need: certificates, frames, and how they leave."""

from __future__ import annotations

import datetime as dt
import errno
import socket
import ssl
from pathlib import Path

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
