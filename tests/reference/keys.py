"""Key pairs of the `file:` backend, made from docs/format.md alone; numbers in brackets are its sections."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.reference.notes import key_id, sha
from tests.reference.verifier import mac

ORIGIN = "log.example/made"
FILES = {
    "agent": ("epoch.pub", "checkpoint.key", "checkpoint.pub"),
    "verifier": ("epoch.key", "epoch.pub", "checkpoint.pub"),
    "auditor": ("checkpoint.pub",),
}


def text(raw: bytes) -> str:
    """[3.2]."""
    return base64.b64encode(raw).decode()


def hashed(*parts: object) -> bytes:
    """32 bytes that are a function of names and numbers: secrets and keys that protect nothing."""
    return hashlib.sha256(" ".join(map(str, parts)).encode()).digest()


class Keys:
    """Both key pairs, made of a sentence: the same call always makes the same ones."""

    def __init__(self, directory: Path, sentence: str = "reference keys that protect nothing") -> None:
        self.directory = directory
        self.epoch = X25519PrivateKey.from_private_bytes(hashed(sentence, "epoch"))
        self.checkpoint = Ed25519PrivateKey.from_private_bytes(hashed(sentence, "checkpoint"))
        self.key_id = f"file:{sha(self.epoch.public_key().public_bytes_raw()).hex()}"

    def write(self) -> Keys:
        """Make the folders of the three roles [6.2]."""
        for role, names in FILES.items():
            (self.directory / role).mkdir(parents=True)
            for name in names:
                path = self.directory / role / name
                path.write_bytes(self._pem(name))
                path.chmod(0o600 if name.endswith(".key") else 0o644)
        return self

    def _pem(self, name: str) -> bytes:
        key = self.epoch if name.startswith("epoch") else self.checkpoint
        if name.endswith(".key"):
            return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def vkey(self, origin: str = ORIGIN) -> str:
        """[8.3]."""
        public = self.checkpoint.public_key()
        return f"{origin}+{key_id(public, origin).hex()}+{text(bytes([1]) + public.public_bytes_raw())}"

    def wrap(self, context: bytes, secret: bytes) -> bytes:
        """[6.2]: HPKE for the public epoch key, as anybody can, with an ephemeral key made of the secret."""
        kem, suite = b"HPKE-v1KEM\x00\x20", b"HPKE-v1HPKE\x00\x20\x00\x01\x00\x02"
        ephemeral = X25519PrivateKey.from_private_bytes(hashed("ephemeral", secret.hex()))
        enc, public = ephemeral.public_key().public_bytes_raw(), self.epoch.public_key()
        prk = mac(b"", kem, b"eae_prk", ephemeral.exchange(public))
        shared = mac(prk, b"\x00\x20", kem, b"shared_secret", enc, public.public_bytes_raw(), b"\x01")
        info = mac(b"", suite, b"info_hash", b"epochseal/v1/wrap", context)
        schedule = b"\x00" + mac(b"", suite, b"psk_id_hash") + info
        base = mac(shared, suite, b"secret")
        key = mac(base, b"\x00\x20", suite, b"key", schedule, b"\x01")
        nonce = mac(base, b"\x00\x0c", suite, b"base_nonce", schedule, b"\x01")[:12]
        return enc + AESGCM(key).encrypt(nonce, secret, b"")


def signed_note(origin: str, size: int, root: bytes, *signers: Keys) -> bytes:
    """[8.1, 8.2]: a checkpoint signed by each of these."""
    body = f"{origin}\n{size}\n{text(root)}\n"
    lines = [
        f"\u2014 {origin} {text(key_id(keys.checkpoint.public_key(), origin) + signature)}\n"
        for keys in signers
        for signature in [keys.checkpoint.sign(body.encode())]
    ]
    return f"{body}\n{''.join(lines)}".encode()
