"""The ways to get a token: one function a method, each reading its secret anew.

The text of a failed login is kept out of the errors where it holds the credential that was sent.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from epochseal.errors import ConfigError, CredentialRefused, Unavailable
from epochseal_backends.credentials import read_secret
from epochseal_backends.vault.access import Access

TOKEN_FILE = ".vault-token"  # noqa: S105  # the name of a file, as the vendors' programs have it
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_NATIVE = ("BAO_TOKEN", "VAULT_TOKEN")
_WITHHELD = "its answer is withheld, as it holds the credential"

Body = dict[str, str]


class LoginDenied(CredentialRefused):
    """The way in is closed, so that nothing is known about single permissions."""


def stored_token(access: Access) -> tuple[str, str]:
    """The token that was given rather than logged in for, and where it came from.

    Raises:
        ConfigError: there is none, or it is no token.
        Denied: this user may not read its file.
    """
    if (token := read_secret(access.settings, "token")) is not None:
        where = next(key for key in access.settings if key.startswith("token_"))
        return _checked(token, f"{access.settings[where]} ({where})")
    for name in _NATIVE:
        if token := os.environ.get(name):
            return _checked(token, name)
    path = Path.home() / TOKEN_FILE
    if path.is_file():
        return _checked(read_secret({"token_file": str(path)}, "token") or "", str(path))
    raise ConfigError(
        f"no token for Vault: no token setting, none of {', '.join(_NATIVE)}, no {path}",
        hint="name the file that holds it: token_file; or log in with auth = 'approle'. In a configuration "
        "file these stand under [vault] for the agent, and under [verifier.vault] for who verifies",
    )


def login_body(access: Access) -> Body:
    """What is posted to `auth/MOUNT/login`.

    Raises:
        ConfigError: the secret is missing.
        Denied: this user may not read its file.
    """
    return _BODIES[access.auth](access)


def refused_login(access: Access, said: str, body: Body) -> LoginDenied:
    """The error of a login that the server refused, in its words unless they hold the credential."""
    if _holds_secret(said, body):
        said = _WITHHELD
    return LoginDenied(
        f"vault at {access.address}: auth/{access.auth_mount}/login refused: {said}", hint=_HINTS[access.auth]
    )


def without_secrets(exc: Unavailable, body: Body) -> Unavailable:
    """`exc` again, or one that does not repeat the server's words if they hold the credential."""
    return Unavailable(f"vault: no login: {_WITHHELD}", exc.hint) if _holds_secret(str(exc), body) else exc


def _holds_secret(text: str, body: Body) -> bool:
    return any(value in text for name, value in body.items() if name in {"secret_id", "jwt"})


def _checked(token: str, where: str) -> tuple[str, str]:
    token = token.strip()
    # It goes into a header: a line end in it would end the header too.
    if not token.isascii() or not token.isprintable() or " " in token or not token:
        raise ConfigError(f"{where} does not hold a token of Vault", hint="write the token alone there")
    return token, where


def _approle(access: Access) -> Body:
    return {"role_id": access.role_id or "", "secret_id": _needed(access, "secret_id")}


def _kubernetes(access: Access) -> Body:
    jwt = read_secret(access.settings, "jwt")
    if jwt is None:
        jwt = read_secret({"jwt_file": str(SERVICE_ACCOUNT)}, "jwt")
    return {"role": access.role or "", "jwt": (jwt or "").strip()}


def _jwt(access: Access) -> Body:
    return {"role": access.role or "", "jwt": _needed(access, "jwt")}


def _cert(access: Access) -> Body:
    return {"name": access.role} if access.role else {}


def _needed(access: Access, name: str) -> str:
    secret = read_secret(access.settings, name)
    if secret is None:
        raise ConfigError(
            f"auth = {access.auth!r} needs {name}", hint=f"name the file that holds it: {name}_file"
        )
    return secret.strip()


_BODIES: dict[str, Callable[[Access], Body]] = {
    "approle": _approle,
    "kubernetes": _kubernetes,
    "jwt": _jwt,
    "cert": _cert,
}
_HINTS = {
    "approle": "check role_id and secret_id, auth_mount and namespace: a secret id expires, is used up, or "
    "is bound to addresses. After 5 wrong ones the server locks the role for 15 minutes, and refuses the "
    "right one with the same answer: sys/locked-users shows it",
    "kubernetes": "check the role's service accounts and namespaces, and that the server may review tokens",
    "jwt": "check the role's bound claims and audience, and whether the token has expired",
    "cert": "check that the certificate is the role's, and that the server's listener asks for one",
}
