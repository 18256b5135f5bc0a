"""An authority of a test's own, and certificates from it for servers and clients."""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class Authority:
    """A certificate authority in a folder.

    Attributes:
        file: its certificate in PEM.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = generate_private_key(SECP256R1())
        self._name = _named("epochseal test authority")
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        certificate = (
            _builder(self._name, self._name, self._key).add_extension(constraints, critical=True)
        ).sign(self._key, SHA256())
        self.file = folder / "ca.pem"
        self.file.write_bytes(certificate.public_bytes(Encoding.PEM))

    def server(self) -> tuple[Path, Path]:
        """Certificate and key of a server on 127.0.0.1."""
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        return self._issue("localhost", x509.SubjectAlternativeName(names), ExtendedKeyUsageOID.SERVER_AUTH)

    def client(self, name: str) -> tuple[Path, Path]:
        """Certificate and key of a client of that name."""
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        return self._issue(name, names, ExtendedKeyUsageOID.CLIENT_AUTH)

    def _issue(
        self, name: str, names: x509.SubjectAlternativeName, usage: x509.ObjectIdentifier
    ) -> tuple[Path, Path]:
        key = generate_private_key(SECP256R1())
        certificate = (
            _builder(_named(name), self._name, key)
            .add_extension(names, critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .sign(self._key, SHA256())
        )
        paths = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
        paths[1].touch(mode=0o600)
        paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return paths


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - dt.timedelta(hours=1),
        not_valid_after=now + dt.timedelta(days=1),
    )
