"""Signatures of an asymmetric key in AWS KMS, and its public half."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from epochseal.errors import ConfigError, FormatError
from epochseal.keys import KeyURI, PublicKey
from epochseal_backends.awskms.client import STANDARD, Kms, field
from epochseal_backends.awskms.errors import WrongUsage
from epochseal_backends.awskms.key import parse

ALGORITHMS: Final = {"ecdsa-p256": "ECDSA_SHA_256", "ed25519": "ED25519_SHA_512"}
# SubjectPublicKeyInfo of Ed25519 (RFC 8410, section 4): all but the 32 bytes of the key is fixed.
_ED25519_PREFIX = bytes.fromhex("302a300506032b6570032100")


def signer(uri: KeyURI, settings: Mapping[str, str]) -> KmsSigner:
    """The signer of an asymmetric key; settings as in `awskms.client`.

    Raises:
        ConfigError, Denied, Unavailable: as `issuer`.
    """
    return KmsSigner(Kms(parse(uri), settings, STANDARD))


def public_key(uri: KeyURI, settings: Mapping[str, str]) -> PublicKey:
    """The public half of an asymmetric key; settings as in `awskms.client`.

    Raises:
        ConfigError: as `issuer`; also a key that does not sign, or of another kind than those two.
        Denied: `kms:GetPublicKey` is missing, or the role cannot be assumed.
        Unavailable: KMS did not answer.
    """
    return signer(uri, settings).public_key()


class KmsSigner:
    """Signs with an asymmetric key."""

    def __init__(self, kms: Kms) -> None:
        self._kms = kms
        self._algorithm: str | None = None

    def sign(self, message: bytes) -> bytes:
        """The signature over `message`, 1 to 4096 bytes (see `epochseal.keys.Signer`)."""
        if self._algorithm is None:
            # Nearly every key is a P-256 one: to ask for its kind first would double the calls of an epoch.
            try:
                return self._signature(message, ALGORITHMS["ecdsa-p256"])
            except WrongUsage:
                self._algorithm = ALGORITHMS[self.public_key().algorithm]
        return self._signature(message, self._algorithm)

    def public_key(self) -> PublicKey:
        """The public half of the key that signs."""
        answer = self._kms.call("get_public_key")
        usage = field(answer, "KeyUsage", str)
        der = field(answer, "PublicKey", bytes)
        kind = answer.get("KeySpec") or answer.get("CustomerMasterKeySpec")
        if usage != "SIGN_VERIFY":
            raise _unfit(self._kms, f"is for {usage}, not for SIGN_VERIFY")
        try:
            if der.startswith(_ED25519_PREFIX):
                key = PublicKey("ed25519", der.removeprefix(_ED25519_PREFIX))
            else:
                key = PublicKey("ecdsa-p256", der)
        except FormatError as exc:
            raise _unfit(self._kms, f"is of the kind {kind}") from exc
        self._algorithm = ALGORITHMS[key.algorithm]
        return key

    def _signature(self, message: bytes, algorithm: str) -> bytes:
        answer = self._kms.call("sign", Message=message, MessageType="RAW", SigningAlgorithm=algorithm)
        signature: bytes = field(answer, "Signature", bytes)
        return signature


def _unfit(kms: Kms, why: str) -> ConfigError:
    return ConfigError(
        f"{kms.key.name} {why}, and cannot sign checkpoints",
        "make one with --key-usage SIGN_VERIFY and --key-spec ECC_NIST_P256 or ECC_NIST_EDWARDS25519",
    )
