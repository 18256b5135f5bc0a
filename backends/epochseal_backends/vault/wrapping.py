"""Epoch secrets of a transit engine: issued with `datakey/plaintext`, recovered with `decrypt`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from epochseal.encoding import b64decode
from epochseal.errors import BackendError, ConfigError, Denied, FormatError, Unavailable, WrongKey
from epochseal.keys import (
    SECRET_SIZE,
    Context,
    Issued,
    KeyURI,
    WrappedSecret,
    check_secret_buffer,
    put_secret,
)
from epochseal_backends.servers import AS_VERIFIER, one_line
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
from epochseal_backends.vault.session import Refusal, Session, session_of

_ISSUE = "have epoch secrets issued"
_RECOVER = "recover epoch secrets"
BATCH = 100
"""Secrets in one `decrypt`. The server refuses a request of too many strings, which is some 250 of them."""


class _DataKey(msgspec.Struct):
    ciphertext: str
    plaintext: str


class _Opened(msgspec.Struct):
    plaintext: str = ""
    error: str = ""


class _Batch(msgspec.Struct):
    batch_results: list[_Opened]


class _Properties(msgspec.Struct):
    type: str
    derived: bool = False


def issuer(uri: KeyURI, settings: Mapping[str, str]) -> TransitIssuer:
    """The issuer of an epoch key; nothing is asked of the server yet.

    Raises:
        ConfigError: `uri` or a setting cannot be used.
    """
    return TransitIssuer(parse_epoch_key(uri), session_of(read_access(settings)))


def recoverer(uri: KeyURI, settings: Mapping[str, str]) -> TransitRecoverer:
    """The recoverer of an epoch key; nothing is asked of the server yet.

    Raises:
        ConfigError: `uri` or a setting cannot be used.
    """
    return TransitRecoverer(parse_epoch_key(uri), session_of(read_access(settings)))


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

    def recover_many(self, asked: Sequence[WrappedSecret], into: memoryview) -> list[BackendError | None]:
        """Write the secrets behind `asked` into `into` (see `epochseal.keys.Recoverer`), many a call.

        One may be Denied by itself: where the key's `min_decryption_version` is above the version that
        wrapped it.
        """
        check_secret_buffer(into, len(asked))
        errors: list[BackendError | None] = [None] * len(asked)
        sent: list[tuple[int, dict[str, str]]] = []
        for place, item in enumerate(asked):
            try:
                sent.append((place, self._as_input(item)))
            except WrongKey as exc:
                errors[place] = exc
        for start in range(0, len(sent), BATCH):
            batch = sent[start : start + BATCH]
            for (place, _), opened in zip(batch, self._open([body for _, body in batch]), strict=True):
                try:
                    put_secret(self._secret_of(opened), into, place)
                except BackendError as exc:
                    errors[place] = exc
        return errors

    def _as_input(self, item: WrappedSecret) -> dict[str, str]:
        """One of a batch; what the engine would refuse as no ciphertext is not sent."""
        try:
            text = item.wrapped.decode("ascii")
            version, _ = parse_versioned(text, "wrapped secret")
        except (UnicodeDecodeError, FormatError) as exc:
            raise WrongKey(f"the wrapped secret is not one of a transit engine: {exc}") from exc
        if item.key_id is not None and item.key_id != self._name.key_id(version):
            # Old versions are retired by rules that look at the header: it may not name a newer one.
            raise WrongKey(
                f"the wrapped secret is of {self._name.key_id(version)}, not of {item.key_id[:120]!r}"
            )
        return {"ciphertext": text, "context": encode_context(item.context)}

    def _open(self, batch: list[dict[str, str]]) -> list[_Opened]:
        path = f"{self._name.mount}/decrypt/{self._name.key}"
        try:
            found = self._session.write(path, {"batch_input": batch}, _Batch, _RECOVER).batch_results
        except LoginDenied:
            raise
        except Denied as exc:
            raise Denied(str(exc), AS_VERIFIER) from exc
        except Refusal as exc:
            raise explained(exc, self._name) from exc
        if len(found) != len(batch):
            raise Unavailable(f"vault: {self._name}: {len(batch)} secrets were sent, {len(found)} came back")
        return found

    def _secret_of(self, opened: _Opened) -> bytes:
        if opened.error:
            # As if it had been the only one of its call.
            refusal = Refusal(f"vault: {self._name}: {one_line(opened.error)}", 400, one_line(opened.error))
            if says_wrong_key(refusal):
                raise WrongKey(
                    f"the wrapped secret was not made by {self._name} for this log, epoch and previous tag, "
                    "or was changed"
                ) from refusal
            raise explained(refusal, self._name)
        try:
            return b64decode(opened.plaintext, "plaintext")
        except FormatError as exc:
            raise WrongKey(f"the wrapped secret is not one of {SECRET_SIZE} bytes: {exc}") from exc

    def recognizes(self, key_id: str) -> bool:
        """Whether `key_id` is that of this key, in any version: the ciphertext names its own."""
        return self._name.has_id(key_id)
