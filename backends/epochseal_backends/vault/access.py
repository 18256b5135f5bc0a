"""Where the server is and how to log in to it, as the settings or the environment say.

| setting                               | without it                                             |
|---------------------------------------|--------------------------------------------------------|
| `address`                             | `BAO_ADDR`, `VAULT_ADDR`                               |
| `namespace`                           | `BAO_NAMESPACE`, `VAULT_NAMESPACE`, none               |
| `ca_file`                             | `BAO_CACERT`, `VAULT_CACERT`, the system's authorities |
| `client_cert_file`, `client_key_file` | `BAO_CLIENT_CERT`, `VAULT_CLIENT_CERT`, …`_KEY`, none  |
| `auth`                                | `token`                                                |
| `auth_mount`                          | the method's own name                                  |
| `role` (kubernetes, jwt, cert)        | an error, but for cert                                 |
| `role_id` (approle)                   | an error                                               |
| secret `token`                        | `BAO_TOKEN`, `VAULT_TOKEN`, the file `~/.vault-token`  |
| secret `secret_id` (approle)          | an error                                               |
| secret `jwt` (kubernetes, jwt)        | the service account's own, or an error (jwt)           |

Secrets are named as `epochseal_backends.credentials` says (`secret_id_file`, …) and read anew for each login.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

from epochseal.errors import ConfigError
from epochseal.families import FAMILIES, AuthMethod
from epochseal_backends.servers import is_this_machine

METHODS: tuple[str, ...] = get_args(AuthMethod)
_VAULT = FAMILIES["vault"]
_NEEDED = {"approle": ("role_id",), "kubernetes": ("role",), "jwt": ("role",)}
_MOUNT = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Access:
    """A server and the way in.

    Args:
        address: URL without a slash at its end.
        namespace: name of the namespace, or None.
        ca_file: authorities that the server's certificate may come from; None for the system's.
        client_cert: certificate and key file of this client, or None.
        auth: one of `METHODS`.
        auth_mount: path of the auth method, without slashes around it.
        role: role to log in to, where the method has one.
        role_id: public half of an AppRole credential.
        settings: all settings, for the secrets that they name.
    """

    address: str
    namespace: str | None
    ca_file: str | None
    client_cert: tuple[str, str] | None
    auth: str
    auth_mount: str
    role: str | None
    role_id: str | None
    settings: Mapping[str, str]


def read_access(settings: Mapping[str, str]) -> Access:
    """What the settings say, completed from the environment.

    Raises:
        ConfigError: an unknown setting or method, no usable address, a missing file, or a setting that the
            method needs.
    """
    for name in settings:
        if name not in _VAULT.settings:
            raise _unknown(name)
    auth = settings.get("auth", "token")
    if auth not in METHODS:
        raise ConfigError(f"unknown auth method of Vault: {auth!r}", hint=f"one of {', '.join(METHODS)}")
    for name in _NEEDED.get(auth, ()):
        if not settings.get(name):
            raise ConfigError(f"auth = {auth!r} needs the setting {name}", hint=f"add {name} to [vault]")
    mount = settings.get("auth_mount", auth)
    if _MOUNT.fullmatch(mount) is None:
        raise ConfigError(
            f"auth_mount is no path: {mount!r}", hint="write it as in auth/PATH, without slashes around"
        )
    client_cert = _client_cert(settings)
    if auth == "cert" and client_cert is None:
        raise ConfigError(
            "auth = 'cert' needs a certificate of this client",
            hint="add client_cert_file and client_key_file to [vault]",
        )
    return Access(
        address=_address(settings),
        namespace=settings.get("namespace") or _native("NAMESPACE"),
        ca_file=_existing(settings.get("ca_file") or _native("CACERT"), "ca_file"),
        client_cert=client_cert,
        auth=auth,
        auth_mount=mount,
        role=settings.get("role"),
        role_id=settings.get("role_id"),
        settings=settings,
    )


def _native(name: str) -> str | None:
    """A variable of the vendors' own programs; an empty one is none."""
    return os.environ.get(f"BAO_{name}") or os.environ.get(f"VAULT_{name}") or None


def _address(settings: Mapping[str, str]) -> str:
    address = settings.get("address") or _native("ADDR")
    if not address:
        raise ConfigError(
            "no address of a Vault or OpenBao server is given",
            hint="set address in [vault], or EPOCHSEAL_VAULT_ADDRESS, BAO_ADDR or VAULT_ADDR",
        )
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    # The text is not repeated: what does not parse may be a URL with a password.
    if (
        not host
        or parts.scheme not in {"http", "https"}
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise ConfigError(
            "the address of the Vault server is not a URL such as https://vault.example:8200",
            hint="scheme, host and port only: credentials have settings of their own",
        )
    if parts.scheme == "http" and not is_this_machine(host):
        raise ConfigError(
            f"{address} would send epoch secrets and tokens in the clear",
            hint="use https; plain http is for a loopback address only, such as a proxy on this machine",
        )
    return address.rstrip("/")


def _client_cert(settings: Mapping[str, str]) -> tuple[str, str] | None:
    certificate = _existing(settings.get("client_cert_file") or _native("CLIENT_CERT"), "client_cert_file")
    key = _existing(settings.get("client_key_file") or _native("CLIENT_KEY"), "client_key_file")
    if (certificate is None) != (key is None):
        raise ConfigError(
            "client_cert_file and client_key_file belong together, and only one is given",
            hint="name both; they may be one file",
        )
    return None if certificate is None or key is None else (certificate, key)


def _existing(path: str | None, name: str) -> str | None:
    if path is not None and not Path(path).is_file():
        raise ConfigError(f"{path} ({name}) is not a file", hint="name a PEM file that this user may read")
    return path


def _unknown(name: str) -> ConfigError:
    if name in _VAULT.secrets:
        return ConfigError(
            f"the setting {name} would hold a secret",
            hint=f"write the secret to a file that only this user may read, and name it: {name}_file",
        )
    near = get_close_matches(name, _VAULT.settings, n=1)
    plain = [known for known in _VAULT.settings if _VAULT.secret_of(known) is None]
    return ConfigError(
        f"unknown setting of Vault: {name!r}",
        hint=f"did you mean {near[0]}?" if near else f"known are {', '.join(plain)}",
    )
