"""What the agent knows about keys: the context, the three backend operations, and the URIs that name keys.

The calls themselves live in the backends (entry points `epochseal.backends`), one module for each URI scheme.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Literal, Protocol, cast
from urllib.parse import unquote

import msgspec

from epochseal.backend_offers import offered_backends
from epochseal.encoding import MAX_INT, UNSEEN, b64encode
from epochseal.errors import BackendError, ConfigError, CredentialRefused, FormatError, Unavailable, WrongKey
from epochseal.families import SCHEMES

SECRET_SIZE = 32
"""Size of an epoch secret in bytes."""

MAX_WRAPPED = 4096
"""Largest wrapped secret in bytes: room for every backend, and a bound for whoever reads a header."""

_LOG_SIZE = 32
_TAG_SIZE = 32
_CONTROL = r"\x00-\x1f\x7f-\x9f\ud800-\udfff"
_ORIGIN_SIZE = 255
_KEY_ID = re.compile(r"[!#-\[\]-~]{1,255}")
_URI = re.compile(rf"([a-z0-9]+):([^{_CONTROL}]+)")
# Userinfo stands in the authority, which only follows `//` (RFC 3986, section 3.2): a path may hold an `@`.
_USERINFO = re.compile(r"[^:/?#]*://[^/?#]*(?:@|%40)")
# The one DER form of an uncompressed P-256 point (RFC 5480): everything before x and y is fixed.
_P256_PREFIX = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
_P256_SIZE = len(_P256_PREFIX) + 64
_ED25519_SIZE = 32


class PublicKey(msgspec.Struct, frozen=True):
    """The public half of a checkpoint key.

    Args:
        algorithm: `ed25519` (RFC 8032) or `ecdsa-p256` (with SHA-256, signatures in DER).
        data: the 32 raw bytes of an Ed25519 key, or the 91 bytes of a P-256 SubjectPublicKeyInfo in DER
            with the point uncompressed (RFC 5480): the forms that C2SP signed-note hashes into a key id.

    Raises:
        FormatError: an unknown algorithm, or data that is not of that form.
    """

    algorithm: Literal["ed25519", "ecdsa-p256"]
    data: bytes

    def __post_init__(self) -> None:
        if self.algorithm == "ed25519":
            if len(self.data) != _ED25519_SIZE:
                raise FormatError(f"ed25519 public key has {len(self.data)} bytes instead of {_ED25519_SIZE}")
        elif self.algorithm == "ecdsa-p256":
            # A second spelling of the same point would have another key id, so there must be none.
            if len(self.data) != _P256_SIZE or not self.data.startswith(_P256_PREFIX):
                raise FormatError("ecdsa-p256 public key is not the DER of an uncompressed P-256 key")
        else:
            raise FormatError(f"unknown public key algorithm: {self.algorithm!r}")


class Context(msgspec.Struct, frozen=True):
    """What an epoch secret is bound to: it is recovered for exactly these four values or not at all.

    Args:
        origin: name of the log, 1 to 255 bytes of UTF-8 without space, control or format character, `;`, `+`.
        log: random id of the log, 32 bytes.
        epoch: number of the epoch, from 0 to 2**63-1.
        prev: latest tag when the secret was asked for, 32 bytes; zeros at genesis.

    Raises:
        FormatError: a value outside of these limits.
    """

    origin: str
    log: bytes
    epoch: int
    prev: bytes

    def __post_init__(self) -> None:
        if not _is_origin(self.origin):
            raise FormatError(
                f"origin {self.origin[:80]!r} is not 1 to {_ORIGIN_SIZE} bytes that can name a log",
                hint="use a name such as example.com/payments: no space, control character, ';' or '+'",
            )
        if len(self.log) != _LOG_SIZE:
            raise FormatError(f"log id has {len(self.log)} bytes instead of {_LOG_SIZE}")
        if not 0 <= self.epoch <= MAX_INT:
            raise FormatError(f"epoch {self.epoch} is not between 0 and {MAX_INT}")
        if len(self.prev) != _TAG_SIZE:
            raise FormatError(f"previous tag has {len(self.prev)} bytes instead of {_TAG_SIZE}")

    def encode(self) -> bytes:
        """The one string that backends bind a secret to.

            log=ORIGIN; and more `;` up to a multiple of 3 bytes, id=BASE64(log);epoch=N;prev=BASE64(prev)

        It is the transit context, the HPKE info (after a label) and the GCM associated data. No field can
        hold a `;`, so two contexts never have one encoding. The origin's part being a multiple of 3 bytes,
        its base64 is how the base64 of the whole begins: a policy can bind an agent to its own log by it.
        """
        tail = f"id={b64encode(self.log)};epoch={self.epoch};prev={b64encode(self.prev)}"
        return self.encode_origin() + tail.encode("ascii")

    def encode_origin(self) -> bytes:
        """How `encode` begins for every context of this origin: a multiple of 3 bytes."""
        head = f"log={self.origin};".encode()
        return head + b";" * (-len(head) % 3)

    def fields(self) -> dict[str, str]:
        """The same four values by name (`log` and `prev` in base64): the encryption context of a KMS."""
        return {
            "origin": self.origin,
            "log": b64encode(self.log),
            "epoch": str(self.epoch),
            "prev": b64encode(self.prev),
        }


class Issued(msgspec.Struct, frozen=True):
    """What may be stored of an issued secret.

    Args:
        key_id: the backend's own name of the wrapping key: 1 to 255 characters of printable ASCII without
            space, quotation mark or backslash.
        wrapped: the recoverable form of the secret, 1 to 4096 bytes.

    Raises:
        FormatError: a value outside of these limits.
    """

    key_id: str
    wrapped: bytes

    def __post_init__(self) -> None:
        if _KEY_ID.fullmatch(self.key_id) is None:
            raise FormatError(f"key id is not 1 to 255 plain characters: {self.key_id[:80]!r}")
        if not 1 <= len(self.wrapped) <= MAX_WRAPPED:
            raise FormatError(f"wrapped secret has {len(self.wrapped)} bytes, not 1 to {MAX_WRAPPED}")


class Issuer(Protocol):
    """Has fresh epoch secrets issued; cannot get an old one back."""

    def issue(self, context: Context, into: memoryview) -> Issued:
        """Write a fresh secret of 32 bytes into `into`; it can be recovered for `context` alone.

        Raises:
            ValueError: `into` is not a writable buffer of 32 bytes.
            Denied, Unavailable, BackendError: `into` holds no secret; one may have been issued and lost. The
                call is never repeated in here: the trail would show one that no log accounts for.
        """
        ...


class WrappedSecret(msgspec.Struct, frozen=True):
    """What is to be recovered.

    Args:
        wrapped: as `Issued` has it; any bytes, for they come from a log.
        context: what the secret is bound to.
        key_id: as `Issued` has it: the very version or object that must have wrapped it; None for any.
    """

    wrapped: bytes
    context: Context
    key_id: str | None = None


class Recoverer(Protocol):
    """Gets epoch secrets back for a verifier."""

    def recover_many(self, asked: Sequence[WrappedSecret], into: memoryview) -> list[BackendError | None]:
        """Write the secrets behind all of `asked` into `into`, 32 bytes each, in this order.

        Returns:
            Why one was not recovered, at its place; None where it was. Its 32 bytes are as they were.
            WrongKey: it was not made by this key for this context, or was changed, or was made by another
            version or object than `key_id` says. Any other error: the backend did not decide that for this
            one, such as a version of the key that may not be used any more.

        Raises:
            ValueError: `into` is not a writable buffer of 32 bytes for each.
            Denied, Unavailable, BackendError: what would be so for each: no answer, a refused login. `into`
                may hold some of the secrets.
        """
        ...

    def recognizes(self, key_id: str) -> bool:
        """Whether `key_id`, as `Issued` has it, names a key that this recoverer opens."""
        ...


class Signer(Protocol):
    """Signs checkpoints."""

    def sign(self, message: bytes) -> bytes:
        """The signature over `message` itself: 64 bytes of Ed25519, or ECDSA with SHA-256 in DER.

        Raises:
            Denied, Unavailable, BackendError: nothing was signed.
        """
        ...

    def public_key(self) -> PublicKey:
        """The key that signatures of this signer verify with."""
        ...


class KeyURI(msgspec.Struct, frozen=True):
    """The name of one key, `scheme:rest`; made by `parse_key_uri`. `rest` belongs to the backend."""

    scheme: str
    rest: str

    @property
    def family(self) -> str | None:
        """The name of its settings, and of the extra that installs it; None for `file:` and foreign ones."""
        family = SCHEMES.get(self.scheme)
        return None if family is None else family.name

    def __str__(self) -> str:
        return f"{self.scheme}:{self.rest}"


BackendSettings = Mapping[str, Mapping[str, str]]
"""The settings of each family that the keys of a log need, by its name."""


def settings_of(uri: KeyURI, settings: BackendSettings) -> Mapping[str, str]:
    """Those of this key's family alone: a backend is not told how another one is logged in to."""
    return settings.get(uri.family or "", {})


class Backend(Protocol):
    """A backend module. Each function may raise ConfigError, Denied or Unavailable already."""

    def issuer(self, uri: KeyURI, settings: Mapping[str, str]) -> Issuer:
        """For the agent: the wrapping key that `uri` names."""
        ...

    def recoverer(self, uri: KeyURI, settings: Mapping[str, str]) -> Recoverer:
        """For a verifier: the wrapping key that `uri` names."""
        ...

    def signer(self, uri: KeyURI, settings: Mapping[str, str]) -> Signer:
        """For the agent: the checkpoint key that `uri` names."""
        ...

    def public_key(self, uri: KeyURI, settings: Mapping[str, str]) -> PublicKey:
        """For everybody: the public half of the checkpoint key that `uri` names."""
        ...


def recover_one(
    recoverer: Recoverer, wrapped: bytes, context: Context, into: memoryview, *, key_id: str | None = None
) -> None:
    """Write one secret into `into`; on any error `into` is as it was.

    Raises:
        ValueError: `into` is not a writable buffer of 32 bytes.
        WrongKey, Denied, Unavailable, BackendError: see `Recoverer.recover_many`.
    """
    (error,) = recoverer.recover_many([WrappedSecret(wrapped, context, key_id)], into)
    if error is not None:
        raise error


def recover_each(
    asked: Sequence[WrappedSecret], into: memoryview, open_one: Callable[[WrappedSecret], bytes]
) -> list[BackendError | None]:
    """`Recoverer.recover_many` of a backend that opens one after the other."""
    check_secret_buffer(into, len(asked))
    errors: list[BackendError | None] = []
    for place, item in enumerate(asked):
        try:
            put_secret(open_one(item), into, place)
        except (Unavailable, CredentialRefused):
            raise
        except BackendError as exc:
            errors.append(exc)
        else:
            errors.append(None)
    return errors


def put_secret(secret: bytes, into: memoryview, place: int) -> None:
    """Write what was opened to its place among others.

    Raises:
        WrongKey: it is no epoch secret. Whoever may wrap with the key can wrap anything, and the wrapped form
            does not say what it was made for.
    """
    if len(secret) != SECRET_SIZE:
        raise WrongKey(f"the wrapped secret has {len(secret)} bytes instead of {SECRET_SIZE}")
    into[SECRET_SIZE * place : SECRET_SIZE * (place + 1)] = secret


def check_secret_buffer(into: memoryview, count: int = 1) -> None:
    """Refuse a buffer that so many secrets of 32 bytes do not fill exactly.

    Raises:
        ValueError: `into` is not one writable run of so many bytes; a caller's mistake, so no error of ours.
    """
    size = count * SECRET_SIZE
    if into.readonly or not into.contiguous or into.format != "B" or into.nbytes != size:
        raise ValueError(f"this needs a writable buffer of {size} bytes, {SECRET_SIZE} for a secret")


def parse_key_uri(text: str) -> KeyURI:
    """Read the name of a key; `str` of the result is `text` again.

    Raises:
        ConfigError: not `scheme:rest`, a control character, or a secret in it. A secret is not repeated.
    """
    if "pin-value=" in unquote(text).lower():
        raise ConfigError(
            "key URI holds a PIN, which would end up in process lists and logs",
            hint="write the PIN to a file and name that: pin-source=file:PATH",
        )
    if _USERINFO.match(text) is not None:
        raise ConfigError(
            "key URI holds a user name or password before '@'",
            hint="leave it out: credentials come from the configuration, the environment or a file",
        )
    match = _URI.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"not a key URI: {text[:80]!r}",
            hint="write scheme:rest without control characters, for example file:keys/agent",
        )
    return KeyURI(scheme=match[1], rest=match[2])


def load_backend(uri: KeyURI) -> Backend:
    """Import the backend module of this URI's scheme, and no other.

    Raises:
        ConfigError: no installed package, or more than one, offers the scheme; or its library is missing.
    """
    offers = offered_backends(tuple(sys.path))
    found = offers.get(uri.scheme)
    if not found:
        from difflib import get_close_matches  # noqa: PLC0415  # only for a mistyped scheme

        known = sorted(offers)
        near = get_close_matches(uri.scheme, known, n=1)
        raise ConfigError(
            f"unknown key scheme {uri.scheme!r}: known are {', '.join(known) or 'none'}",
            hint=f"did you mean {near[0]!r}?" if near else "install the package that provides this backend",
        )
    if len(found) > 1:
        # Whichever came first would be handed the secrets: that is not for the order of sys.path to decide.
        raise ConfigError(
            f"more than one module offers the key scheme {uri.scheme!r}: {', '.join(sorted(found))}",
            hint="uninstall all but one of the packages",
        )
    (module,) = found
    try:
        return cast("Backend", import_module(module))
    except ImportError as exc:
        extra = uri.family
        raise ConfigError(
            f"the backend of key scheme {uri.scheme!r} cannot be loaded: {exc}",
            hint=f"in a checkout: pip install '.[{extra}]'" if extra else "install the library that it needs",
        ) from exc


def _is_origin(text: str) -> bool:
    if ";" in text or "+" in text or UNSEEN.search(text) is not None:
        return False
    # Surrogates are refused above, so this cannot fail.
    return 1 <= len(text.encode()) <= _ORIGIN_SIZE
