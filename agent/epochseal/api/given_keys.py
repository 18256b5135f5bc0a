"""What keys and origins stand for that are named as text: for programs, and on every command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from epochseal.config.environment import settings_from_environment
from epochseal.errors import ConfigError, FormatError
from epochseal.format.note import parse_vkey
from epochseal.keys import (
    BackendSettings,
    KeyURI,
    PublicKey,
    Recoverer,
    load_backend,
    parse_key_uri,
    settings_of,
)
from epochseal.storage.opener import read_named_file

if TYPE_CHECKING:  # it would load all of sealing's settings, where no file is read
    from epochseal.config.model import Configuration

CheckpointKey = str | os.PathLike[str]
"""A public checkpoint key: a vkey, the path of a file that holds one, or a key URI (`file:keys/auditor`)."""
_LONGEST_VKEY = 4096


def one_origin(origin: str | None, named: dict[str, str | None]) -> str | None:
    """The origin that was asked for, by option, key file or trust file.

    Raises:
        ConfigError: two of them differ.
    """
    for what, other in named.items():
        if other is not None and origin not in (None, other):
            raise ConfigError(f"the {what} is for origin {other!r}, {origin!r} is asked for")
        origin = origin or other
    return origin


class LogKeys(msgspec.Struct, frozen=True, kw_only=True):
    """What one log is to be checked with.

    Args:
        epoch_keys: keys that recover epoch secrets; none for what a public key can show.
        checkpoint_key: what checkpoints have to be signed with.
        origin: the name that the log must have.
        settings: how the backends of its keys are reached; None: as the environment says.
    """

    epoch_keys: tuple[KeyURI, ...] = ()
    checkpoint_key: CheckpointKey | None = None
    origin: str | None = None
    settings: BackendSettings | None = None

    def recoverer_maker(self) -> Callable[[], list[Recoverer]] | None:
        """What makes recoverers in each process; None without an epoch key.

        Raises:
            ConfigError: a wrong URI, folder or setting: an error of its own before anything is read.
            Denied, Unavailable, BackendError: the key backend failed.
        """
        if not self.epoch_keys:
            return None
        maker = _RecovererMaker(self)
        maker()
        return maker

    def settings_of(self, uri: KeyURI) -> Mapping[str, str]:
        """How the backend of this key is reached and logged in to."""
        return _settings_of(uri, self.settings)

    def public_key(self) -> tuple[str | None, PublicKey | None]:
        """As `read_public_key`, of a key that need not be named."""
        key = self.checkpoint_key
        return read_public_key(key, self.settings) if key is not None else (None, None)


def keys_of_file(config: Configuration, logdir: Path | None, given: LogKeys) -> LogKeys:
    """The keys that a configuration names for a verifier of the log in `logdir`; those of `given` come first.

    The log is the one whose directory this is; of a copy, the one of the origin of `given`, or the only one.

    Raises:
        ConfigError: the file has no such log, or the log has another origin than `given`.
    """
    log = config.log_in(logdir) if logdir is not None else None
    if log is None:
        found = [each for each in config.logs if given.origin in (None, each.origin)]
        if len(found) != 1:
            known = ", ".join(f"{each.origin} in {each.dir}" for each in config.logs)
            hint = f"name the log's own directory, or for a copy its origin: {known}"
            raise ConfigError(f"{config.path} does not say which of its logs this is", hint)
        log = found[0]
    named = log.verifier
    return LogKeys(
        epoch_keys=given.epoch_keys or named.epoch_keys,
        checkpoint_key=given.checkpoint_key if given.checkpoint_key is not None else named.checkpoint_key,
        origin=one_origin(given.origin, {"configuration": log.origin}),
        settings=named.backend_settings,
    )


class _RecovererMaker:
    """Makes recoverers in each process that needs some."""

    def __init__(self, keys: LogKeys) -> None:
        self._settings = keys.settings
        self._keys = [(uri, keys.settings_of(uri)) for uri in keys.epoch_keys]

    def __reduce__(self) -> tuple[type[_RecovererMaker], tuple[LogKeys]]:
        # Another machine asks its own environment: nothing of this one's goes there.
        return type(self), (LogKeys(epoch_keys=tuple(uri for uri, _ in self._keys), settings=self._settings),)

    def __call__(self) -> list[Recoverer]:
        return [load_backend(uri).recoverer(uri, settings) for uri, settings in self._keys]


def _settings_of(uri: KeyURI, settings: BackendSettings | None) -> Mapping[str, str]:
    return settings_of(uri, settings_from_environment(uri) if settings is None else settings)


def read_public_key(
    key: CheckpointKey, settings: BackendSettings | None = None
) -> tuple[str | None, PublicKey]:
    """The public key, and the origin that a vkey names with it; `settings` as `LogKeys` has them.

    Raises:
        ConfigError: it is no vkey, file or key URI, or cannot be used.
        FormatError: a file is there, and holds no vkey.
        OSError: the file cannot be read.
        Denied, Unavailable, BackendError: the key backend failed.
    """
    text = os.fspath(key)
    # A vkey holds its own hash, so that no name of a file or key is one by chance.
    with suppress(FormatError):
        vkey = parse_vkey(text)
        return vkey.name, vkey.key
    path = Path(text)
    if path.is_file():
        vkey = parse_vkey(_read_vkey(path))
        return vkey.name, vkey.key
    if ":" not in text:
        raise ConfigError(
            f"there is no file {text}", "name a vkey file, or a key URI such as file:keys/auditor"
        )
    uri = parse_key_uri(text)
    return None, load_backend(uri).public_key(uri, _settings_of(uri, settings))


def _read_vkey(path: Path) -> str:
    raw = read_named_file(path, _LONGEST_VKEY)
    try:
        return raw.decode("utf-8").strip()
    except UnicodeDecodeError as exc:
        raise FormatError(f"{path} holds no vkey: it is not UTF-8") from exc
