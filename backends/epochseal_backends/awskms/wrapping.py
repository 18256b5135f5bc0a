"""Epoch secrets of AWS KMS: issued with `GenerateDataKey`, recovered with `Decrypt`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from epochseal.errors import BackendError, Denied, WrongKey
from epochseal.keys import (
    MAX_WRAPPED,
    SECRET_SIZE,
    Context,
    Issued,
    KeyURI,
    WrappedSecret,
    check_secret_buffer,
    recover_each,
)
from epochseal_backends.awskms.client import ONCE, SIDE_BY_SIDE, STANDARD, Kms, field
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

    def recover_many(self, asked: Sequence[WrappedSecret], into: memoryview) -> list[BackendError | None]:
        """Write the secrets behind `asked` into `into` (see `epochseal.keys.Recoverer`).

        A call opens one, so several are under way at a time. The first goes alone: where it is refused, the
        others would be, and a refusal that stands a hundred times in the trail looks like an attack.
        """
        check_secret_buffer(into, len(asked))
        errors = recover_each(asked[:1], into[:SECRET_SIZE], self._open)
        if errors and isinstance(errors[0], Denied):
            return errors * len(asked)
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            waiting = [pool.submit(self._recover_at, asked, into, place) for place in range(1, len(asked))]
            try:
                for done in waiting:
                    errors += done.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return errors

    def _recover_at(
        self, asked: Sequence[WrappedSecret], into: memoryview, place: int
    ) -> list[BackendError | None]:
        one = slice(SECRET_SIZE * place, SECRET_SIZE * (place + 1))
        return recover_each(asked[place : place + 1], into[one], self._open)

    def _open(self, item: WrappedSecret) -> bytes:
        if not 1 <= len(item.wrapped) <= MAX_WRAPPED:
            raise WrongKey(f"the wrapped secret has {len(item.wrapped)} bytes, not 1 to {MAX_WRAPPED}")
        # The key is named in the call: a blob could as well say that it was wrapped by a stranger's.
        answer = self._kms.call(
            "decrypt", CiphertextBlob=item.wrapped, EncryptionContext=item.context.fields()
        )
        opened_by = field(answer, "KeyId", str)
        if not self.recognizes(opened_by):
            raise WrongKey(f"the wrapped secret was made by {opened_by[:120]!r}, not by {self._kms.key.name}")
        if item.key_id is not None and not is_same_key(opened_by, item.key_id):
            raise WrongKey(
                f"the wrapped secret was made by {opened_by[:120]!r}, not by {item.key_id[:120]!r}"
            )
        secret: bytes = field(answer, "Plaintext", bytes)
        return secret

    def recognizes(self, key_id: str) -> bool:
        """Whether `key_id` is the ARN of this key, or of its replica in another Region.

        Raises:
            Denied, Unavailable, ConfigError: the ARN behind an alias or key id cannot be looked up.
        """
        if self._arn is None:
            description = field(self._kms.call("describe_key"), "KeyMetadata", dict)
            self._arn = field(description, "Arn", str)
        return is_same_key(key_id, self._arn)
