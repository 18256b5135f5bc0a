"""Epoch secrets of AWS KMS: issued with `GenerateDataKey`, recovered with `Decrypt`."""

from __future__ import annotations

from collections.abc import Mapping

from epochseal.errors import BackendError, WrongKey
from epochseal.keys import MAX_WRAPPED, SECRET_SIZE, Context, Issued, KeyURI, check_secret_buffer
from epochseal_backends.awskms.client import ONCE, STANDARD, Kms, field
from epochseal_backends.awskms.key import is_same_key, parse


def issuer(uri: KeyURI, settings: Mapping[str, str]) -> KmsIssuer:
    """The issuer of a symmetric key; settings as in `awskms.client`.

    Raises:
        ConfigError: the URI or a setting cannot be used.
        Denied, Unavailable: the role of the settings cannot be assumed.
    """
    return KmsIssuer(Kms(parse(uri), settings, ONCE))


def recoverer(uri: KeyURI, settings: Mapping[str, str]) -> KmsRecoverer:
    """The recoverer of a symmetric key; settings as in `awskms.client`.

    Raises:
        ConfigError, Denied, Unavailable: as `issuer`.
    """
    return KmsRecoverer(Kms(parse(uri), settings, STANDARD))


class KmsIssuer:
    """Has data keys generated; a role without `kms:Decrypt` opens none of them."""

    def __init__(self, kms: Kms) -> None:
        self._kms = kms

    def issue(self, context: Context, into: memoryview) -> Issued:
        """Write a fresh secret into `into` (see `epochseal.keys.Issuer`); exactly one request is sent."""
        check_secret_buffer(into)
        answer = self._kms.call(
            "generate_data_key", NumberOfBytes=SECRET_SIZE, EncryptionContext=context.fields()
        )
        secret = field(answer, "Plaintext", bytes)
        if len(secret) != SECRET_SIZE:
            raise BackendError(f"KMS generated {len(secret)} bytes instead of {SECRET_SIZE}")
        arn = field(answer, "KeyId", str)
        # Another spelling than the ARN would be recognized by no verifier.
        if not is_same_key(arn, arn):
            raise BackendError(f"KMS named its key {arn[:120]!r}, which is not the ARN of a key")
        # Last, so that any refusal of this answer leaves no secret behind.
        issued = Issued(arn, field(answer, "CiphertextBlob", bytes))
        into[:] = secret
        return issued


class KmsRecoverer:
    """Decrypts wrapped secrets."""

    def __init__(self, kms: Kms) -> None:
        self._kms = kms
        self._arn = kms.key.arn

    def recover(
        self, wrapped: bytes, context: Context, into: memoryview, *, key_id: str | None = None
    ) -> None:
        """Write the secret behind `wrapped` into `into` (see `epochseal.keys.Recoverer`)."""
        check_secret_buffer(into)
        if not 1 <= len(wrapped) <= MAX_WRAPPED:
            raise WrongKey(f"the wrapped secret has {len(wrapped)} bytes, not 1 to {MAX_WRAPPED}")
        # The key is named in the call: a blob could as well say that it was wrapped by a stranger's.
        answer = self._kms.call("decrypt", CiphertextBlob=wrapped, EncryptionContext=context.fields())
        opened_by = field(answer, "KeyId", str)
        if not self.recognizes(opened_by):
            raise WrongKey(f"the wrapped secret was made by {opened_by[:120]!r}, not by {self._kms.key.name}")
        if key_id is not None and not is_same_key(opened_by, key_id):
            raise WrongKey(f"the wrapped secret was made by {opened_by[:120]!r}, not by {key_id[:120]!r}")
        secret = field(answer, "Plaintext", bytes)
        if len(secret) != SECRET_SIZE:
            # Whoever may call Encrypt can wrap anything: the blob does not say what it was made for.
            raise WrongKey(f"the wrapped secret has {len(secret)} bytes instead of {SECRET_SIZE}")
        into[:] = secret

    def recognizes(self, key_id: str) -> bool:
        """Whether `key_id` is the ARN of this key, or of its replica in another Region.

        Raises:
            Denied, Unavailable, ConfigError: the ARN behind an alias or key id cannot be looked up.
        """
        if self._arn is None:
            description = field(self._kms.call("describe_key"), "KeyMetadata", dict)
            self._arn = field(description, "Arn", str)
        return is_same_key(key_id, self._arn)
