"""What the keys and origins on a command line stand for, the same for every command that checks something."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from epochseal.errors import ConfigError
from epochseal.keys import KeyURI

if TYPE_CHECKING:
    from epochseal.keys import PublicKey, Recoverer

_PARALLEL_FROM = 64 << 20


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
    """What makes recoverers of these keys in each process; this one is hardened before it has a key."""
    from epochseal.custody.memory import harden_process

    harden_process()
    maker = _RecovererMaker(uris)
    maker()  # so that a wrong URI or folder is an error of its own before anything is read
    return maker


class _RecovererMaker:
    """Makes recoverers in each process that needs some."""

    def __init__(self, uris: tuple[KeyURI, ...]) -> None:
        from epochseal.config.environment import settings_from_environment
        from epochseal.keys import settings_of

        self._keys = [(uri, settings_of(uri, settings_from_environment(uri))) for uri in uris]

    def __call__(self) -> list[Recoverer]:
        from epochseal.keys import load_backend

        return [load_backend(uri).recoverer(uri, settings) for uri, settings in self._keys]


def read_checkpoint_key(text: str | None) -> tuple[str | None, PublicKey | None]:
    """The public key, and the origin that a vkey file names with it."""
    if text is None:
        return None, None
    from epochseal.config.environment import settings_from_environment
    from epochseal.format.note import parse_vkey
    from epochseal.keys import load_backend, parse_key_uri, settings_of

    path = Path(text)
    if path.is_file():
        key = parse_vkey(path.read_text(encoding="utf-8").strip())
        return key.name, key.key
    if ":" not in text:
        raise ConfigError(
            f"there is no file {text}", "name a vkey file, or a key URI such as file:keys/auditor"
        )
    uri = parse_key_uri(text)
    settings = settings_of(uri, settings_from_environment(uri))
    return None, load_backend(uri).public_key(uri, settings)


def default_jobs(logdir: Path) -> int:
    """How many processes a log is worth: all cores for a large one."""
    size = sum(path.stat().st_size for path in (logdir / "segments").glob("*.log*"))
    return len(os.sched_getaffinity(0)) if size > _PARALLEL_FROM else 1
