"""A time-stamping authority of its own: `openssl ts`, with a root and a certificate that it made."""

from __future__ import annotations

import subprocess
from pathlib import Path

_CONFIG = """
[tsa]
default_tsa = here
[here]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ess_cert_id_alg = sha256
"""


class Authority:
    """A folder with keys and certificates; `reply` can be changed to answer something else."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        (folder / "serial").write_text("01\n", encoding="ascii")
        (folder / "config").write_text(_CONFIG.format(folder=folder), encoding="utf-8")
        (folder / "extensions").write_text(
            "extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\n", encoding="ascii"
        )
        new = ["-newkey", "rsa:2048", "-nodes", "-sha256"]
        self._openssl(
            "req", "-x509", *new, "-keyout", "root.key", "-out", "root.pem", "-subj", "/CN=root", "-days", "9"
        )
        self._openssl("req", *new, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=authority")
        self._openssl(
            "x509",
            "-req",
            "-in",
            "tsa.csr",
            "-CA",
            "root.pem",
            "-CAkey",
            "root.key",
            "-CAcreateserial",
            "-extfile",
            "extensions",
            "-days",
            "9",
            "-out",
            "tsa.pem",
        )

    @property
    def root(self) -> bytes:
        """The certificate to trust."""
        return (self.folder / "root.pem").read_bytes()

    def reply(self, query: bytes) -> bytes:
        """The answer to a request."""
        (self.folder / "query").write_bytes(query)
        self._openssl(
            "ts", "-reply", "-config", "config", "-section", "here", "-queryfile", "query", "-out", "answer"
        )
        return (self.folder / "answer").read_bytes()

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True, timeout=60)
