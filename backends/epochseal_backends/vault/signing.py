"""Checkpoints signed by a transit engine with one version of a key, and that version's public half."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from epochseal.encoding import b64decode, b64encode
from epochseal.errors import BackendError, ConfigError, FormatError
from epochseal.keys import KeyURI, PublicKey
from epochseal_backends.vault.access import read_access
from epochseal_backends.vault.names import KeyName, parse_checkpoint_key, parse_versioned
from epochseal_backends.vault.refusals import CHECKPOINT_TYPES, explained, not_there
from epochseal_backends.vault.session import Refusal, Session, session_of

_SIGN = "sign checkpoints"
_READ = "read the public checkpoint key"


class _Signature(msgspec.Struct):
    signature: str


class _PublicVersion(msgspec.Struct):
    public_key: str = ""


class _CheckpointKey(msgspec.Struct):
    type: str
    # Keys that do not sign list their versions as numbers.
    keys: dict[str, _PublicVersion | int] = {}
    derived: bool = False


def signer(uri: KeyURI, settings: Mapping[str, str]) -> TransitSigner:
    """The signer of a checkpoint key; nothing is asked of the server yet.

    Raises:
        ConfigError: `uri` or a setting cannot be used.
    """
    return TransitSigner(parse_checkpoint_key(uri), session_of(read_access(settings)))


def public_key(uri: KeyURI, settings: Mapping[str, str]) -> PublicKey:
    """The public checkpoint key, in the version that `uri` names.

    Raises:
        ConfigError: `uri` or a setting cannot be used, or the key is not one for checkpoints.
        Denied, Unavailable, BackendError: the server did not give it.
    """
    return signer(uri, settings).public_key()


class TransitSigner:
    """Has the engine sign, with one version of the key: `sign`."""

    def __init__(self, name: KeyName, session: Session) -> None:
        self._name = name
        self._session = session

    def sign(self, message: bytes) -> bytes:
        """The signature over `message` (see `epochseal.keys.Signer`)."""
        body = {
            "input": b64encode(message),
            # As text: the server compares it with a policy's text before it reads the number.
            "key_version": str(self._name.version),
            # These two only matter to ECDSA: Ed25519 has neither.
            "hash_algorithm": "sha2-256",
            "marshaling_algorithm": "asn1",
        }
        path = f"{self._name.mount}/sign/{self._name.key}"
        try:
            condition = f'allowed_parameters = {{ "key_version" = ["{self._name.version}"], "*" = [] }}'
            answer = self._session.write(path, body, _Signature, _SIGN, condition)
        except Refusal as exc:
            raise explained(exc, self._name) from exc
        try:
            version, signature = parse_versioned(answer.signature, "signature")
        except FormatError as exc:
            raise BackendError(f"vault: {self._name}: {exc}") from exc
        if version != self._name.version:
            raise BackendError(f"vault: {self._name} signed with version {version}, not {self._name.version}")
        return signature

    def public_key(self) -> PublicKey:
        """The key that the named version signs with.

        Raises:
            ConfigError: the key is of a type that cannot sign checkpoints, or is derived.
            Denied, Unavailable, BackendError: the server did not give it, or no longer has that version.
        """
        path = f"{self._name.mount}/keys/{self._name.key}"
        try:
            found = self._session.read(path, _CheckpointKey, _READ)
        except Refusal as exc:
            raise not_there(exc, self._name, self._session) from exc
        if found.type not in CHECKPOINT_TYPES or found.derived:
            kind = f"a derived {found.type}" if found.derived else f"a {found.type}"
            raise ConfigError(
                f"vault: {self._name} is {kind} key, which cannot sign checkpoints",
                hint="make a key with type=ed25519 (or ecdsa-p256) and without derived",
            )
        version = found.keys.get(str(self._name.version))
        if not isinstance(version, _PublicVersion):
            raise BackendError(
                f"vault: {self._name} has no version {self._name.version}: there are {', '.join(found.keys)}",
                hint="older ones come back when min_decryption_version is lowered"
                if self._name.version < max(map(int, found.keys), default=0)
                else f"a newer one is made first: write -f {self._name.mount}/keys/{self._name.key}/rotate",
            )
        return _read_public(found.type, version.public_key, str(self._name))


def _read_public(algorithm: str, text: str, where: str) -> PublicKey:
    try:
        if algorithm == "ed25519":
            return PublicKey("ed25519", b64decode(text, "public key"))
        key = load_pem_public_key(text.encode())
        return PublicKey("ecdsa-p256", key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    except (FormatError, ValueError, UnsupportedAlgorithm) as exc:
        raise BackendError(f"vault: {where}: {exc}") from exc
