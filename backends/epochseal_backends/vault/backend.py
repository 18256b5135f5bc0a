"""Keys in the transit engine of HashiCorp Vault or OpenBao: `hashivault://MOUNT/KEY`, `openbao://MOUNT/KEY`.

| role     | call                                | what it is used for                      |
|----------|-------------------------------------|------------------------------------------|
| agent    | POST `MOUNT/datakey/plaintext/EPOCH` | issue an epoch secret                    |
|          | POST `MOUNT/sign/CHECKPOINT`        | sign a checkpoint                        |
|          | GET `MOUNT/keys/EPOCH`              | see that the epoch key is derived        |
| verifier | POST `MOUNT/decrypt/EPOCH`          | recover an epoch secret                  |
| all      | GET `MOUNT/keys/CHECKPOINT`         | the public checkpoint key                |
| auditor  | POST `sys/audit-hash/DEVICE`        | compare with an audit trail of HMACs     |

The epoch key is of a type that encrypts, and `derived`: only then does the context bind. A wrapped secret is
the ciphertext as the engine writes it, `vault:vN:BASE64`, in ASCII. The checkpoint key is `ed25519` or
`ecdsa-p256`. Settings: `epochseal_backends.vault.access`; the policies of the roles: `deploy/vault/`.

The answer of a call is JSON text that nobody can wipe: an agent calls this in a courier, which exits.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from epochseal.encoding import b64decode, b64encode
from epochseal.errors import BackendError, ConfigError, Denied, FormatError, WrongKey
from epochseal.keys import SECRET_SIZE, Context, Issued, KeyURI, PublicKey, check_secret_buffer
from epochseal_backends.vault.access import read_access
from epochseal_backends.vault.audit_hash import AuditHasher
from epochseal_backends.vault.examine import examine_checkpoint_key, examine_epoch_key
from epochseal_backends.vault.login import LoginDenied
from epochseal_backends.vault.names import (
    KeyName,
    context_prefix,
    encode_context,
    parse_checkpoint_key,
    parse_epoch_key,
    parse_versioned,
)
from epochseal_backends.vault.refusals import explained, says_wrong_key
from epochseal_backends.vault.session import Refusal, Session

__all__ = [
    "audit_hasher",
    "examine_checkpoint_key",
    "examine_epoch_key",
    "issuer",
    "public_key",
    "recoverer",
    "signer",
]

_ISSUE = "have epoch secrets issued"
_RECOVER = "recover epoch secrets"
_SIGN = "sign checkpoints"
_READ = "read the public checkpoint key"
_ED25519_SIZE = 64


class _DataKey(msgspec.Struct):
    ciphertext: str
    plaintext: str


class _Plaintext(msgspec.Struct):
    plaintext: str


class _Signature(msgspec.Struct):
    signature: str


class _Derivation(msgspec.Struct):
    derived: bool


class _PublicVersion(msgspec.Struct):
    public_key: str = ""


class _CheckpointKey(msgspec.Struct):
    type: str
    # Keys that do not sign list their versions as numbers.
    keys: dict[str, _PublicVersion | int]
    derived: bool = False


def issuer(uri: KeyURI, settings: Mapping[str, str]) -> TransitIssuer:
    """The issuer of an epoch key; nothing is asked of the server yet.

    Raises:
        ConfigError: `uri` or a setting cannot be used.
    """
    return TransitIssuer(parse_epoch_key(uri), Session(read_access(settings)))


def recoverer(uri: KeyURI, settings: Mapping[str, str]) -> TransitRecoverer:
    """The recoverer of an epoch key; nothing is asked of the server yet.

    Raises:
        ConfigError: `uri` or a setting cannot be used.
    """
    return TransitRecoverer(parse_epoch_key(uri), Session(read_access(settings)))


def signer(uri: KeyURI, settings: Mapping[str, str]) -> TransitSigner:
    """The signer of a checkpoint key; nothing is asked of the server yet.

    Raises:
        ConfigError: `uri` or a setting cannot be used.
    """
    return TransitSigner(parse_checkpoint_key(uri), Session(read_access(settings)))


def public_key(uri: KeyURI, settings: Mapping[str, str]) -> PublicKey:
    """The public checkpoint key, in the version that `uri` names.

    Raises:
        ConfigError: `uri` or a setting cannot be used, or the key is not one for checkpoints.
        Denied, Unavailable, BackendError: the server did not give it.
    """
    return signer(uri, settings).public_key()


def audit_hasher(uri: KeyURI, settings: Mapping[str, str], device: str) -> AuditHasher:
    """What an audit device of the server of `uri` writes in the place of a text.

    Raises:
        ConfigError: `uri`, a setting or the device's name cannot be used.
    """
    parse_epoch_key(uri)
    return AuditHasher(Session(read_access(settings)), device)


class TransitIssuer:
    """Has the engine make and wrap fresh secrets: `datakey/plaintext`."""

    def __init__(self, name: KeyName, session: Session) -> None:
        self._name = name
        self._session = session
        self._is_derived = False

    def issue(self, context: Context, into: memoryview) -> Issued:
        """Write a fresh secret into `into` (see `epochseal.keys.Issuer`).

        Raises:
            ConfigError: the key is not derived, so that it would not bind the secret to its context.
        """
        check_secret_buffer(into)
        condition = f'allowed_parameters = {{ "context" = ["{context_prefix(context)}*"] }}'
        if not self._is_derived:
            self._check_derived(condition)
        answer = self._ask({"context": encode_context(context)}, condition)
        try:
            version, _ = parse_versioned(answer.ciphertext, "ciphertext")
            secret = b64decode(answer.plaintext, "data key", SECRET_SIZE)
        except FormatError as exc:
            raise BackendError(f"vault: {self._name}: the issued secret cannot be used: {exc}") from exc
        issued = Issued(self._name.key_id(version), answer.ciphertext.encode("ascii"))
        into[:] = secret
        return issued

    def _check_derived(self, condition: str) -> None:
        """Refuse a key on which the engine would silently ignore the context."""
        try:
            path = f"{self._name.mount}/keys/{self._name.key}"
            derived = self._session.read(path, _Derivation, "read the epoch key").derived
        except LoginDenied:
            raise
        except Denied:
            derived = self._asks_for_context(condition)
        except Refusal as exc:
            raise explained(exc, self._name) from exc
        if not derived:
            raise ConfigError(
                f"vault: {self._name} is not a derived key: it would ignore what a secret is bound to",
                hint="make another key: derived is fixed when a key is made (docs/vault.md)",
            )
        self._is_derived = True

    def _asks_for_context(self, condition: str) -> bool:
        """Whether the key refuses to work without a context, for a role that may not read the key.

        A derived key issues nothing to this call. Another key does, and is refused for it.
        """
        try:
            self._session.write_once(self._issue_path, {}, msgspec.Raw, _ISSUE, condition)
        except Refusal as exc:
            if "missing 'context'" in exc.said:
                return True
            raise explained(exc, self._name) from exc
        return False

    def _ask(self, body: Mapping[str, object], condition: str) -> _DataKey:
        try:
            # Never repeated on its own: the trail would show a secret that no log accounts for.
            return self._session.write_once(self._issue_path, body, _DataKey, _ISSUE, condition)
        except Refusal as exc:
            raise explained(exc, self._name) from exc

    @property
    def _issue_path(self) -> str:
        return f"{self._name.mount}/datakey/plaintext/{self._name.key}"


class TransitRecoverer:
    """Has the engine open wrapped secrets: `decrypt`."""

    def __init__(self, name: KeyName, session: Session) -> None:
        self._name = name
        self._session = session

    def recover(self, wrapped: bytes, context: Context, into: memoryview) -> None:
        """Write the secret behind `wrapped` into `into` (see `epochseal.keys.Recoverer`).

        Raises:
            Denied: also where the key's `min_decryption_version` is above the version that wrapped it.
        """
        check_secret_buffer(into)
        try:
            text = wrapped.decode("ascii")
            parse_versioned(text, "wrapped secret")
        except (UnicodeDecodeError, FormatError) as exc:
            raise WrongKey(f"the wrapped secret is not one of a transit engine: {exc}") from exc
        path = f"{self._name.mount}/decrypt/{self._name.key}"
        body = {"ciphertext": text, "context": encode_context(context)}
        try:
            answer = self._session.write(path, body, _Plaintext, _RECOVER)
        except Refusal as exc:
            if says_wrong_key(exc):
                raise WrongKey(
                    f"the wrapped secret was not made by {self._name} for this log, epoch and previous tag, "
                    "or was changed"
                ) from exc
            raise explained(exc, self._name) from exc
        try:
            secret = b64decode(answer.plaintext, "plaintext", SECRET_SIZE)
        except FormatError as exc:
            # Whoever may encrypt with this key can wrap anything.
            raise WrongKey(f"the wrapped secret is not one of {SECRET_SIZE} bytes: {exc}") from exc
        into[:] = secret

    def recognizes(self, key_id: str) -> bool:
        """Whether `key_id` is that of this key, in any version: the ciphertext names its own."""
        return self._name.has_id(key_id)


class TransitSigner:
    """Has the engine sign, with one version of the key: `sign`."""

    def __init__(self, name: KeyName, session: Session) -> None:
        self._name = name
        self._session = session

    def sign(self, message: bytes) -> bytes:
        """The signature over `message` (see `epochseal.keys.Signer`)."""
        body = {
            "input": b64encode(message),
            "key_version": self._name.version,
            # These two only matter to ECDSA: Ed25519 has neither.
            "hash_algorithm": "sha2-256",
            "marshaling_algorithm": "asn1",
        }
        path = f"{self._name.mount}/sign/{self._name.key}"
        try:
            answer = self._session.write(path, body, _Signature, _SIGN)
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
            raise explained(exc, self._name) from exc
        if found.type not in {"ed25519", "ecdsa-p256"} or found.derived:
            kind = f"a derived {found.type}" if found.derived else f"a {found.type}"
            raise ConfigError(
                f"vault: {self._name} is {kind} key, which cannot sign checkpoints",
                hint="make a key with type=ed25519 (or ecdsa-p256) and without derived",
            )
        version = found.keys.get(str(self._name.version))
        if not isinstance(version, _PublicVersion):
            raise BackendError(
                f"vault: {self._name} has no version {self._name.version}: there are {', '.join(found.keys)}",
                hint="older ones come back when min_decryption_version is lowered",
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
