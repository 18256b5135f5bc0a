"""The tables of the backend families: where a backend is and how it is logged in to, without any secret.

A secret NAME is only ever named, by NAME_file, NAME_credential (systemd) or NAME_env.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, get_args
from urllib.parse import urlsplit

import msgspec

from epochseal.errors import ConfigError

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_WAYS = ("file", "credential", "env")

AuthMethod = Literal["token", "approle", "kubernetes", "jwt", "cert"]


class FamilyTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True, omit_defaults=True):
    """One family's settings as they are written, None where they are not."""


class VaultTable(FamilyTable, frozen=True):
    """`[vault]`: HashiCorp Vault and OpenBao, for keys of `hashivault:` and `openbao:`."""

    address: str | None = None
    namespace: str | None = None
    ca_file: str | None = None
    auth: AuthMethod | None = None
    auth_mount: str | None = None
    role: str | None = None
    role_id: str | None = None
    token_file: str | None = None
    token_credential: str | None = None
    token_env: str | None = None
    secret_id_file: str | None = None
    secret_id_credential: str | None = None
    secret_id_env: str | None = None
    jwt_file: str | None = None
    jwt_credential: str | None = None
    jwt_env: str | None = None
    client_cert_file: str | None = None
    client_key_file: str | None = None


class AwsTable(FamilyTable, frozen=True):
    """`[aws]`: AWS KMS, for keys of `awskms:`."""

    region: str | None = None
    profile: str | None = None
    endpoint: str | None = None
    role_arn: str | None = None
    external_id: str | None = None
    session_name: str | None = None
    fips: bool | None = None
    ca_file: str | None = None


class Pkcs11Table(FamilyTable, frozen=True):
    """`[pkcs11]`: an HSM, for keys of `pkcs11:`."""

    module: str | None = None
    pin_file: str | None = None
    pin_credential: str | None = None
    pin_env: str | None = None


FAMILIES: dict[str, type[FamilyTable]] = {"vault": VaultTable, "aws": AwsTable, "pkcs11": Pkcs11Table}
"""The tables by the name of their family (`KeyURI.family`)."""

SECRETS: dict[str, tuple[str, ...]] = {"vault": ("token", "secret_id", "jwt"), "aws": (), "pkcs11": ("pin",)}
"""What each family logs in with; it is never written in a setting, only where it is."""

CHOICES: dict[str, tuple[str, ...]] = {"auth": get_args(AuthMethod), "fips": ("true", "false")}
"""The settings that are one of a few words."""


def secret_of(family: str, name: str) -> str | None:
    """The secret that this setting says the place of; None if it is no such setting."""
    secret, _, way = name.rpartition("_")
    return secret if way in _WAYS and secret in SECRETS[family] else None


def ways_to(secret: str) -> tuple[str, ...]:
    """The settings that this secret may be named by."""
    return tuple(f"{secret}_{way}" for way in _WAYS)


def as_setting(family: str, name: str, written: str | bool) -> str:  # noqa: FBT001  # a flag is a setting here
    """One setting as backends are handed it: all are text, a flag is `true` or `false`.

    Raises:
        ConfigError: a value that cannot be meant; it is not repeated: it may be a secret in a wrong place.
    """
    if isinstance(written, bool):
        return "true" if written else "false"
    if not written or _CONTROL.search(written):
        raise ConfigError("is empty, or holds a control character", "leave it out for the default")
    if name in CHOICES and written not in CHOICES[name]:
        raise ConfigError("is none of the words that it can be", f"write {any_of(CHOICES[name])}")
    if name in {"address", "endpoint"}:
        _check_url(written)
    if secret_of(family, name) and name.endswith("_env") and not _VARIABLE.fullmatch(written):
        raise ConfigError("is not the name of an environment variable", f'as in {name} = "MY_VARIABLE"')
    return written


def any_of(words: Sequence[str]) -> str:
    """The words as a sentence has them: `a, b or c`."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _check_url(text: str) -> None:
    hint = 'write it as "https://HOST:PORT"'
    try:
        url = urlsplit(text)
        well_formed = url.scheme in {"http", "https"} and url.hostname and url.port != 0
    except ValueError:
        raise ConfigError("is not the URL of a server", hint) from None
    if not well_formed or url.query or url.fragment:
        raise ConfigError("is not the URL of a server", hint)
    if "@" in url.netloc:
        raise ConfigError("holds a user name or password before '@'", "leave it out: no secret stands here")
