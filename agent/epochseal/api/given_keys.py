"""What keys and origins stand for that are named as text: for programs, and on every command line."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from epochseal.config.environment import settings_from_environment
from epochseal.errors import ConfigError, FormatError
from epochseal.format.note import parse_vkey
from epochseal.keys import KeyURI, PublicKey, Recoverer, load_backend, parse_key_uri, settings_of

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


def recoverer_maker(uris: tuple[KeyURI, ...]) -> _RecovererMaker:
    """What makes recoverers of these keys in each process.

    Raises:
        ConfigError: a wrong URI, folder or setting: an error of its own before anything is read.
        Denied, Unavailable, BackendError: the key backend failed.
    """
    maker = _RecovererMaker(uris)
    maker()
    return maker


class _RecovererMaker:
    """Makes recoverers in each process that needs some."""

    def __init__(self, uris: tuple[KeyURI, ...]) -> None:
        self._keys = [(uri, settings_of(uri, settings_from_environment(uri))) for uri in uris]

    def __call__(self) -> list[Recoverer]:
        return [load_backend(uri).recoverer(uri, settings) for uri, settings in self._keys]


def read_checkpoint_key(key: CheckpointKey | None) -> tuple[str | None, PublicKey | None]:
    """As `read_public_key`, of a key that need not be named."""
    return read_public_key(key) if key is not None else (None, None)


def read_public_key(key: CheckpointKey) -> tuple[str | None, PublicKey]:
    """The public key, and the origin that a vkey names with it.

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
    settings = settings_of(uri, settings_from_environment(uri))
    return None, load_backend(uri).public_key(uri, settings)


def _read_vkey(path: Path) -> str:
    with path.open("rb") as file:
        raw = file.read(_LONGEST_VKEY)
    try:
        return raw.decode("utf-8").strip()
    except UnicodeDecodeError as exc:
        raise FormatError(f"{path} holds no vkey: it is not UTF-8") from exc
