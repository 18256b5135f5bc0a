"""Calls to the server with one login behind them, and what its answers mean in our errors.

| what came                                             | error                                       |
|-------------------------------------------------------|---------------------------------------------|
| no connection, time-out, cut answer, redirect         | Unavailable                                 |
| 429, 500, 501 (not initialised), 502, 503 (sealed), … | Unavailable                                 |
| an error page of something that stands before it      | Unavailable                                 |
| 403                                                   | one new login and one more try, then Denied |
| 400, 404, 405, and a 500 that says what was wrong     | Refusal, with the server's words            |
| any status, with the results of a batch               | none: each result says its own              |
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from threading import get_ident
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

import hvac
import hvac.adapters
import hvac.exceptions
import msgspec
import requests
import requests.adapters

from epochseal.answers import bound_answers
from epochseal.decoders import json_decoder
from epochseal.encoding import UNREADABLE
from epochseal.errors import BackendError, Denied, Unavailable
from epochseal_backends.servers import CONNECT_SECONDS, READ_SECONDS, TRIES, one_line
from epochseal_backends.vault.access import Access
from epochseal_backends.vault.connection_faults import connection_reason, tls_reason
from epochseal_backends.vault.login import (
    LoginDenied,
    login_body,
    refused_login,
    stored_token,
    without_secrets,
)

_FIRST_PAUSE = 0.2
_ANSWERS_REFUSED = frozenset({400, 404, 405})
_STATUS = {
    hvac.exceptions.InvalidRequest: 400,
    hvac.exceptions.Unauthorized: 401,
    hvac.exceptions.Forbidden: 403,
    hvac.exceptions.InvalidPath: 404,
    hvac.exceptions.RateLimitExceeded: 429,
    hvac.exceptions.InternalServerError: 500,
    hvac.exceptions.VaultNotInitialized: 501,
    hvac.exceptions.BadGateway: 502,
    hvac.exceptions.VaultDown: 503,
}
_PAGES = _ANSWERS_REFUSED | {401, 403}
_NO_TLS = frozenset({"wrong version number", "record layer failure", "http request"})
# Transit answers 500 to these; asking again would not help.
_LASTING = ("requested version for", "missing 'context'", "soft-deleted")
_T = TypeVar("_T")


class Refusal(BackendError):
    """The server understood the call and did not do it.

    Args:
        message: as of every error.
        status: the HTTP status.
        said: the server's words on one line.
    """

    def __init__(self, message: str, status: int, said: str) -> None:
        super().__init__(message)
        self.status = status
        self.said = said


class _Answer(msgspec.Struct, Generic[_T]):
    data: _T


class _Mount(msgspec.Struct):
    type: str


class _Login(msgspec.Struct):
    client_token: str


class _LoginAnswer(msgspec.Struct):
    auth: _Login


class _Transport(requests.adapters.HTTPAdapter):
    """Connections on which every answer ends."""

    def init_poolmanager(self, *args: Any, **named: Any) -> None:  # noqa: ANN401  # as requests has it
        """Make the pools, as requests calls it."""
        super().init_poolmanager(*args, **named)
        pools = dict(self.poolmanager.pool_classes_by_scheme)
        bound_answers(pools)
        self.poolmanager.pool_classes_by_scheme = pools

    def proxy_manager_for(self, *args: Any, **named: Any) -> Any:  # noqa: ANN401  # as requests has it
        """The pools behind a proxy."""
        manager = super().proxy_manager_for(*args, **named)
        manager.pool_classes_by_scheme = self.poolmanager.pool_classes_by_scheme
        return manager


class Session:
    """One server, one role; not for several threads at a time."""

    def __init__(self, access: Access) -> None:
        self._access = access
        # A redirect would take the token, and the answer with the secret, to wherever it points.
        http = requests.Session()
        http.mount("https://", _Transport())
        http.mount("http://", _Transport())
        http.headers["Accept-Encoding"] = "identity"
        # No method of this object: a circle would keep it, and its login, behind its last use.
        http.hooks["response"].append(partial(_refuse_redirect, access.address))
        http.verify = access.ca_file or True
        http.cert = access.client_cert
        # An empty token, not None: for None, hvac looks for one of its own.
        self._client = hvac.Client(
            url=access.address,
            token="",
            verify=http.verify,
            cert=access.client_cert,
            session=http,
            timeout=(CONNECT_SECONDS, READ_SECONDS),
            allow_redirects=False,
            namespace=access.namespace,
            adapter=hvac.adapters.RawAdapter,
        )

    def read(self, path: str, kind: type[_T], may_not: str) -> _T:
        """The `data` of a GET; `may_not` says in the error what a role without the permission may not do.

        Raises:
            Denied, Unavailable, Refusal: see the module's table.
        """
        return self._retried(lambda: self._call("get", path, None, kind, may_not, None))

    def write(
        self,
        path: str,
        body: Mapping[str, object],
        kind: type[_T],
        may_not: str,
        condition: str | None = None,
    ) -> _T:
        """The `data` of a POST that may be repeated; `condition` completes the line of policy in the error.

        Raises:
            Denied, Unavailable, Refusal: see the module's table.
        """
        return self._retried(lambda: self._call("post", path, body, kind, may_not, condition))

    def write_once(
        self,
        path: str,
        body: Mapping[str, object],
        kind: type[_T],
        may_not: str,
        condition: str | None = None,
    ) -> _T:
        """The `data` of a POST that is sent once, and a second time only if the first was refused with 403.

        `condition` completes the line of policy in the error.

        Raises:
            Denied, Unavailable, Refusal: see the module's table.
        """
        return self._call("post", path, body, kind, may_not, condition)

    def refuses(self, path: str, body: Mapping[str, object]) -> bool:
        """Whether a POST is refused with 403; with a token that has just been good for something.

        Raises:
            Denied: the login was refused.
            Unavailable: there was no answer.
        """
        self._prepare()
        try:
            self._request("post", path, body)
        except hvac.exceptions.Forbidden:
            return True
        except Refusal:
            # The policy let the call through: it was the engine that refused it.
            return False
        return False

    def engine_at(self, mount: str) -> str | None:
        """The kind of engine that is mounted there, if this role may see it."""
        try:
            return self.read(f"sys/internal/ui/mounts/{mount}", _Mount, "see the engine").type
        except BackendError:
            return None

    def _retried(self, call: Callable[[], _T]) -> _T:
        for number in range(1, TRIES):
            try:
                return call()
            except Unavailable:
                # Jitter keeps many verifiers from coming back all at once.
                time.sleep(_FIRST_PAUSE * number * (0.5 + secrets.randbelow(1024) / 1024))
        return call()

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None,
        kind: type[_T],
        may_not: str,
        condition: str | None,
    ) -> _T:
        fresh = self._prepare()
        for last in (fresh, True):
            try:
                content = self._request(method, path, body)
            except hvac.exceptions.Forbidden as exc:
                # A token that was fetched for this very call cannot have expired: a permission is missing.
                if last or not self._log_in():
                    raise self._denied(method, path, may_not, condition) from exc
            else:
                return self._decode(content, _Answer[kind], path).data  # type: ignore[valid-type]  # made at run time
        raise AssertionError  # the second round returns or raises

    def _prepare(self) -> bool:
        """Have a token; whether it was made just now."""
        if self._access.auth == "token":
            # Vault Agent replaces the file while this runs: it is read every time.
            self._log_in()
            return False
        return not self._client.token and self._log_in()

    def _log_in(self) -> bool:
        """Get a token; whether it is another one than before."""
        before = self._client.token
        if self._access.auth == "token":
            self._client.token, _ = stored_token(self._access)
            return bool(self._client.token != before)
        body = login_body(self._access)
        # A login is sent without the old token: an expired one would have the login refused.
        self._client.token = ""
        path = f"auth/{self._access.auth_mount}/login"
        try:
            content = self._request("post", path, body)
        except Refusal as exc:
            # Without the chain: the server's words may quote the credential.
            raise refused_login(self._access, exc.said, body) from None
        except hvac.exceptions.Forbidden as exc:
            raise refused_login(self._access, _said(exc), body) from None
        except Unavailable as exc:
            raise without_secrets(exc, body) from None
        self._client.token = self._decode(content, _LoginAnswer, path).auth.client_token
        return True

    def _request(self, method: str, path: str, body: Mapping[str, object] | None) -> bytes:
        with self._translated(path):
            try:
                response = self._client.adapter.request(method, f"/v1/{path}", json=body)
            except hvac.exceptions.VaultError as exc:
                # Where one of a batch was refused, the answer to all has the status of an error.
                if exc.errors is not None or '"batch_results"' not in (exc.text or ""):
                    raise
                return bytes(exc.text.encode())
            content: bytes = response.content
            return content

    def _decode(self, content: bytes, kind: type[_T], path: str) -> _T:
        try:
            return json_decoder(kind).decode(content)
        except UNREADABLE as exc:
            # These errors name a field, never its value.
            raise Unavailable(
                f"vault at {self._access.address}: the answer to {path} cannot be read: {exc}",
                hint="check that the address is the server's own, not that of some other service",
            ) from exc

    def _denied(self, method: str, path: str, may_not: str, condition: str | None) -> Denied:
        """What a 403 means: no such permission, or a token that is no longer good."""
        where = f"vault at {self._access.address}"
        if self._access.auth == "token" and not self._token_is_good():
            _, source = stored_token(self._access)
            return LoginDenied(
                f"{where}: the token is expired, revoked or unknown there, or used up",
                hint=f"put a new one in {source}, without a limit of uses (num_uses=0)",
            )
        capability = "read" if method == "get" else "update"
        inner = f'capabilities = ["{capability}"]' + (f" {condition}" if condition else "")
        return Denied(
            f"{where}: this role may not {may_not}: {path} was refused",
            hint=f'its policy needs: path "{path}" {{ {inner} }}',
        )

    def _token_is_good(self) -> bool:
        """Whether the server still knows the token, which nearly every policy lets its owner ask."""
        try:
            self._request("get", "auth/token/lookup-self", None)
        except hvac.exceptions.Forbidden:
            return False
        except BackendError:
            return True
        return True

    @contextmanager
    def _translated(self, path: str) -> Iterator[None]:
        where = f"vault at {self._access.address}"
        try:
            yield
        except hvac.exceptions.VaultError as exc:
            said, status = _said(exc), _status(exc)
            if not isinstance(exc.errors, list) and status in _PAGES:
                # The server's own refusals are JSON with a list of errors. A page of a proxy or an ingress
                # says nothing about a role or a key: taken for a refusal, it would close the log.
                raise Unavailable(
                    f"{where}: something before the server answered {path} with {status}: {said[:80]}",
                    hint="a proxy or ingress: check the address, and whether /v1/ is passed on to the server",
                ) from exc
            if isinstance(exc, hvac.exceptions.Forbidden):
                raise
            if status in _ANSWERS_REFUSED or any(text in said for text in _LASTING):
                raise Refusal(f"{where}: {path}: {said or f'refused with {status}'}", status, said) from exc
            raise Unavailable(
                f"{where} cannot serve {path} now: {said or status}", hint=_hint(status)
            ) from exc
        except requests.exceptions.SSLError as exc:
            reason = tls_reason(exc)
            raise Unavailable(
                f"{where}: no trusted connection: {reason}",
                hint="what answers there speaks no TLS: check scheme and port of the address"
                if reason in _NO_TLS
                else "name the authority that its certificate comes from: ca_file",
            ) from exc
        except requests.exceptions.ConnectTimeout as exc:
            raise Unavailable(f"{where}: no connection within {CONNECT_SECONDS} s") from exc
        except requests.exceptions.ReadTimeout as exc:
            raise Unavailable(f"{where}: no answer to {path} within {READ_SECONDS} s") from exc
        except requests.exceptions.RequestException as exc:
            raise Unavailable(f"{where} cannot be reached: {connection_reason(exc)}") from exc
        except AttributeError as exc:
            # hvac asks the JSON of a refusal for its errors, also where it is a list, a text or a number.
            raise Unavailable(
                f"{where}: something before the server answered {path} with JSON of another form",
                hint="a proxy or ingress: check the address, and whether /v1/ is passed on to the server",
            ) from exc


def _refuse_redirect(address: str, response: requests.Response, **_: object) -> None:
    if response.is_redirect:
        raise Unavailable(
            f"vault at {address} sends its callers elsewhere ({response.status_code})",
            hint="name the address of the active node, or let standby nodes forward requests",
        )


_held: WeakValueDictionary[tuple[object, ...], Session] = WeakValueDictionary()


def session_of(access: Access) -> Session:
    """The session of this role that somebody holds already, in this thread of this process, or a new one.

    So a courier, which has an issuer and a signer, logs in once for both.
    """
    place = os.getpid(), get_ident(), *sorted(access.settings.items()), str(replace(access, settings={}))
    return _held.setdefault(place, Session(access))


def _status(exc: hvac.exceptions.VaultError) -> int:
    # hvac has one class for all others, and of these only an unsupported operation is for good.
    return _STATUS.get(type(exc), 405 if "unsupported operation" in _said(exc) else 0)


def _hint(status: int) -> str | None:
    return {
        429: "its rate limit is reached: raise the quota of this path, or lower the number of epochs",
        501: "initialise it",
        503: "unseal it, or wait until it has an active node",
    }.get(status)


def _said(exc: hvac.exceptions.VaultError) -> str:
    """The server's own words."""
    errors = exc.errors if isinstance(exc.errors, list) else [exc.text or ""]
    return one_line(" ".join(str(error) for error in errors))
