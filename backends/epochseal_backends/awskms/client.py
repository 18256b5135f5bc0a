"""Clients of KMS as the settings of `[aws]` want them; without a setting, whatever boto3 finds by itself.

| setting        | is                                                                      | else         |
|----------------|-------------------------------------------------------------------------|--------------|
| `region`       | the region; one that contradicts the key's ARN is refused               | the ARN's    |
| `profile`      | a profile of the AWS configuration: keys, sign-on, a role, a process    | `AWS_*`      |
| `endpoint`     | URL of KMS, as of a VPC endpoint; a host in the key's URI goes first    | the region's |
| `role_arn`     | a role to assume with the credential found so far                       | none         |
| `external_id`  | what the role's trust policy asks for                                   | none         |
| `session_name` | the name of the session in CloudTrail                                   | `epochseal`  |
| `fips`         | `true`: the FIPS 140 endpoints of KMS and STS                           | `AWS_*`      |
| `ca_file`      | certificates to trust instead of the built-in ones                      | `AWS_*`      |

`fips`, `ca_file` and the limits of time hold for logins too, also for those that the library makes by itself.

Credentials without a setting come from boto3's default chain: the environment, the profile, web identity
(IRSA), a container's or an instance's role. A secret is never among the settings.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock, get_ident
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import boto3
import botocore.session
from botocore.config import Config
from botocore.httpsession import URLLib3Session

from epochseal.answers import bound_answers
from epochseal.errors import ConfigError, Denied, Unavailable
from epochseal_backends.awskms.errors import Expired, translated
from epochseal_backends.awskms.key import KeyName
from epochseal_backends.servers import CONNECT_SECONDS, READ_SECONDS, TRIES, is_this_machine

ONCE = 1
"""Attempts of a call that is not repeated unseen: an issue call may have been served without an answer."""
STANDARD = TRIES
"""Attempts of a call that may be: throttled and broken ones are made again, with a growing delay."""

SIDE_BY_SIDE = 8
"""How many calls of one client may be under way at a time; it keeps as many connections."""

_SESSION_SECONDS = 900
_SESSION_NAME = re.compile(r"[A-Za-z0-9_=,.@-]{2,64}")


class _Core(botocore.session.Session):  # type: ignore[misc]  # the library has no types
    """A session of which every answer ends: also those of logins and of a container's or instance's service.

    The library has no way to name a transport: its tables of pools are changed before the first call.
    """

    def create_client(self, *args: Any, **named: Any) -> Any:  # noqa: ANN401  # as the library has it
        """A client, ours or one of a login."""
        client = super().create_client(*args, **named)
        bound_answers(client._endpoint.http_session._pool_classes_by_scheme)  # noqa: SLF001  # as said above
        return client

    def get_credentials(self, *args: Any, **named: Any) -> Any:  # noqa: ANN401  # as above
        """Whatever the default chain finds."""
        for provider in self.get_component("credential_provider").providers:
            fetchers = (getattr(provider, name, None) for name in ("_fetcher", "_role_fetcher"))
            for session in (getattr(fetcher, "_session", None) for fetcher in fetchers):
                if isinstance(session, URLLib3Session):
                    bound_answers(session._pool_classes_by_scheme)  # noqa: SLF001  # as said above
        return super().get_credentials(*args, **named)


class Kms:
    """Calls of KMS about one key, by any number of threads."""

    def __init__(self, key: KeyName, settings: Mapping[str, str], attempts: int) -> None:
        self.key = key
        self._settings = settings
        self._attempts = attempts
        self._login = _login_of(key, settings)
        self._client = _make_client(self._login, key, settings, attempts)
        self._renewing = Lock()

    def call(self, operation: str, **parameters: object) -> dict[str, Any]:
        """Make one call of KMS, `operation` as boto3 names it, about this key.

        Raises:
            Denied, Unavailable, WrongKey, ConfigError, BackendError: as KMS or its library said.
        """
        client = self._client
        try:
            return self._call(operation, parameters)
        except Expired:
            # A refused call was not served, but an issue call is not repeated whatever the reason.
            if self._attempts == ONCE or "role_arn" not in self._settings:
                raise
        with self._renewing:
            # Of several threads whose session has ended, one makes the next.
            if self._client is client:
                _forget(self._login)
                self._login = _login_of(self.key, self._settings)
                self._client = _make_client(self._login, self.key, self._settings, self._attempts)
        return self._call(operation, parameters)

    def _call(self, operation: str, parameters: Mapping[str, object]) -> dict[str, Any]:
        # ReEncrypt is about two keys, which it calls SourceKeyId and DestinationKeyId: its caller names both.
        named = {} if "SourceKeyId" in parameters else {"KeyId": self.key.name}
        with translated(self.key.name):
            answer: dict[str, Any] = getattr(self._client, operation)(**named, **parameters)
            return answer


def field(answer: Mapping[str, Any], name: str, kind: type) -> Any:  # noqa: ANN401  # of the `kind` that was asked for
    """A field that an answer must have.

    Raises:
        Unavailable: it is missing: the answer was cut, or does not come from KMS.
    """
    value = answer.get(name)
    if not isinstance(value, kind) or not value:
        raise Unavailable(
            f"the answer of KMS has no {name}",
            "see whether something other than AWS answers at this endpoint",
        )
    return value


@dataclass(eq=False)
class _Login:
    """A session of the library: credentials that were found, and the role that was assumed with them."""

    session: Any


_logins: WeakValueDictionary[tuple[object, ...], _Login] = WeakValueDictionary()
"""Those that some `Kms` holds. So a courier, which has one for each of its keys, logs in once for both."""


def _login_of(key: KeyName, settings: Mapping[str, str]) -> _Login:
    """The login with these settings that is held already, by this thread of this process, or a new one."""
    region = settings.get("region")
    if region and key.region and region != key.region:
        raise ConfigError(
            f"the key is in {key.region}, and [aws] says region = {region!r}",
            "leave region out, or correct it",
        )
    _check_ca_file(settings)
    own = {name: text for name, text in settings.items() if name != "endpoint"}
    own["region"] = key.region or region or ""
    # What the library itself reads may have changed, and sessions are no more shared than their sockets are.
    native = hash(tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_"))))
    place = os.getpid(), get_ident(), native, *sorted(own.items())
    if (held := _logins.get(place)) is not None:
        return held
    with translated(key.name):
        session = _session(settings, profile_name=settings.get("profile"), region_name=key.region or region)
    made = _Login(_assume(session, settings) if "role_arn" in settings else session)
    _logins[place] = made
    return made


def _forget(login: _Login) -> None:
    """Have the next one log in anew."""
    for place in [place for place, held in _logins.items() if held is login]:
        del _logins[place]


def _make_client(login: _Login, key: KeyName, settings: Mapping[str, str], attempts: int) -> Any:  # noqa: ANN401  # boto3 has no types
    endpoint = key.endpoint or settings.get("endpoint")
    if _flag(settings, "fips") and endpoint:
        raise ConfigError(
            f"fips and the endpoint {endpoint} exclude each other",
            "leave fips out, and name an endpoint that is validated itself",
        )
    config = Config(
        retries={"mode": "standard", "total_max_attempts": attempts}, max_pool_connections=SIDE_BY_SIDE
    )
    return _client_of(login.session, "kms", key.name, endpoint_url=endpoint, config=config)


def _session(settings: Mapping[str, str], **found_by: object) -> Any:  # noqa: ANN401  # as above
    """A session whose clients all follow the settings: also those that it makes for a login."""
    core = _Core()
    if "ca_file" in settings:
        core.set_config_variable("ca_bundle", settings["ca_file"])
    fips = _flag(settings, "fips") if "fips" in settings else None
    core.set_default_client_config(
        Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": STANDARD},
            # None leaves it to AWS_USE_FIPS_ENDPOINT and the profile.
            use_fips_endpoint=fips,
            # The library would go to AWS_ENDPOINT_URL instead, and drop the wish for FIPS without a word.
            ignore_configured_endpoint_urls=True if fips else None,
        )
    )
    return boto3.Session(botocore_session=core, **found_by)


def _assume(session: Any, settings: Mapping[str, str]) -> Any:  # noqa: ANN401  # as above
    """A session of the role: the shortest that AWS gives, for a courier needs it for seconds."""
    role = settings["role_arn"]
    name = settings.get("session_name", "epochseal")
    if _SESSION_NAME.fullmatch(name) is None:
        raise ConfigError(
            f"session_name cannot name a session: {name[:80]!r}", "write 2 to 64 letters, digits and _=,.@-"
        )
    parameters: dict[str, Any] = {
        "RoleArn": role,
        "RoleSessionName": name,
        "DurationSeconds": _SESSION_SECONDS,
    }
    if "external_id" in settings:
        parameters["ExternalId"] = settings["external_id"]
    client = _client_of(session, "sts", role)
    with translated(role):
        given = field(client.assume_role(**parameters), "Credentials", dict)
        return _session(
            settings,
            aws_access_key_id=field(given, "AccessKeyId", str),
            aws_secret_access_key=field(given, "SecretAccessKey", str),
            aws_session_token=field(given, "SessionToken", str),
            region_name=session.region_name,
        )


def _client_of(session: Any, service: str, subject: str, **options: object) -> Any:  # noqa: ANN401  # as above
    with translated(subject):
        try:
            client = session.client(service, **options)
        except ValueError as exc:
            # Nothing was sent yet, so this is not about an answer: only an endpoint that is no URL is left.
            raise ConfigError(
                f"the endpoint of {service} is not the URL of a server", "write it as https://HOST[:PORT]"
            ) from exc
    _check_endpoint(client.meta.endpoint_url)
    return client


def _flag(settings: Mapping[str, str], name: str) -> bool:
    written = settings.get(name, "false")
    if written not in {"true", "false"}:
        raise ConfigError(
            f"{name} in [aws] is neither true nor false: {written[:80]!r}", "write true or false"
        )
    return written == "true"


def _check_ca_file(settings: Mapping[str, str]) -> None:
    """Refuse a file that the library would only complain of in the first call, as if the network were down.

    Raises:
        ConfigError: it is not there, or holds no certificate.
        Denied: this user may not read it.
    """
    path = settings.get("ca_file")
    if path is None:
        return
    hint = "name a file of certificates in PEM"
    try:
        ssl.create_default_context(cafile=path)
    except PermissionError as exc:
        raise Denied(f"this user may not read ca_file {path}", "check owner and mode") from exc
    except ssl.SSLError as exc:
        raise ConfigError(f"ca_file {path} holds no certificate that can be read", hint) from exc
    except OSError as exc:
        raise ConfigError(f"ca_file {path} cannot be read: {exc.strerror}", hint) from exc


def _check_endpoint(url: str) -> None:
    """Refuse plain HTTP but to this machine itself: answers hold epoch secrets.

    Raises:
        ConfigError: the endpoint, wherever it was configured, is such a one.
    """
    parts = urlsplit(url)
    if parts.scheme == "https":
        return
    if not is_this_machine(parts.hostname or ""):
        raise ConfigError(
            f"the endpoint {url} is not encrypted, and epoch secrets would travel through it",
            "write it with https://",
        )
