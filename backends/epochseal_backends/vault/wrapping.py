"""Epoch secrets of a transit engine: issued with `datakey/plaintext`, recovered with `decrypt`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from epochseal.encoding import b64decode
from epochseal.errors import BackendError, ConfigError, Denied, FormatError, WrongKey
from epochseal.keys import SECRET_SIZE, Context, Issued, KeyURI, check_secret_buffer
from epochseal_backends.servers import AS_VERIFIER
from epochseal_backends.vault.access import read_access
from epochseal_backends.vault.login import LoginDenied
from epochseal_backends.vault.names import (
    KeyName,
    context_prefix,
    encode_context,
    parse_epoch_key,
    parse_versioned,
)
from epochseal_backends.vault.refusals import EPOCH_TYPES, explained, not_there, says_wrong_key
from epochseal_backends.vault.session import Refusal, Session

_ISSUE = "have epoch secrets issued"
_RECOVER = "recover epoch secrets"


class _DataKey(msgspec.Struct):
    ciphertext: str
    plaintext: str


class _Plaintext(msgspec.Struct):
    plaintext: str


class _Properties(msgspec.Struct):
    type: str
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
            found = self._session.read(path, _Properties, "read the epoch key")
            if found.type not in EPOCH_TYPES:
                raise ConfigError(
                    f"vault: {self._name} is a key of type {found.type}, which wraps no secrets",
                    hint="an epoch key is of type aes256-gcm96, and derived",
                )
            derived = found.derived
        except LoginDenied:
            raise
        except Denied:
            derived = self._asks_for_context(condition)
        except Refusal as exc:
            raise not_there(exc, self._name, self._session) from exc
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

    def recover(
        self, wrapped: bytes, context: Context, into: memoryview, *, key_id: str | None = None
    ) -> None:
        """Write the secret behind `wrapped` into `into` (see `epochseal.keys.Recoverer`).

        Raises:
            Denied: also where the key's `min_decryption_version` is above the version that wrapped it.
        """
        check_secret_buffer(into)
        try:
            text = wrapped.decode("ascii")
            version, _ = parse_versioned(text, "wrapped secret")
        except (UnicodeDecodeError, FormatError) as exc:
            raise WrongKey(f"the wrapped secret is not one of a transit engine: {exc}") from exc
        if key_id is not None and key_id != self._name.key_id(version):
            # Old versions are retired by rules that look at the header: it may not name a newer one.
            raise WrongKey(f"the wrapped secret is of {self._name.key_id(version)}, not of {key_id[:120]!r}")
        path = f"{self._name.mount}/decrypt/{self._name.key}"
        body = {"ciphertext": text, "context": encode_context(context)}
        try:
            answer = self._session.write(path, body, _Plaintext, _RECOVER)
        except LoginDenied:
            raise
        except Denied as exc:
            raise Denied(str(exc), AS_VERIFIER) from exc
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
