"""Secrets that a backend logs in with: named by the settings, never written in them.

A secret NAME (`pin`, `secret_id`, …) is found by the first of these settings that is there; two are an error:

| setting           | the secret is                                                                        |
|-------------------|--------------------------------------------------------------------------------------|
| `NAME_file`       | the content of that file, without one newline at its end                              |
| `NAME_credential` | that systemd credential: a file of that name in `$CREDENTIALS_DIRECTORY`             |
| `NAME_env`        | the value of that environment variable                                               |
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from epochseal.errors import ConfigError
from epochseal.families import ways_to
from epochseal_backends.small_files import read_small_file, translated


def read_secret(settings: Mapping[str, str], name: str) -> str | None:
    """The secret that the settings name, as it is now; None if they name none.

    Raises:
        ConfigError: more than one setting names it; or the file or variable is missing, empty, or no
            UTF-8 text of at most 64 KiB; or every user may open the file.
        Denied: this user may not read the file.
    """
    named = [key for key in ways_to(name) if key in settings]
    if len(named) > 1:
        raise ConfigError(f"{' and '.join(named)} both name one secret", "keep one of them")
    if not named:
        return None
    (key,) = named
    if key.endswith("_env"):
        secret = os.environ.get(settings[key], "")
        where = f"environment variable {settings[key]} ({key})"
    else:
        path = _path(settings[key], key)
        secret = _read(path, key)
        where = f"{path} ({key})"
    if not secret:
        raise ConfigError(f"no secret in {where}: it is empty or not there", "write the secret there")
    return secret


def _check_mode(named: str, key: str, descriptor: int) -> None:
    """Refuse a secret that every user of the host may read.

    A token that a platform puts there for its workloads (`jwt`) is made with the modes of the platform.
    """
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if mode & stat.S_IRWXO and not key.startswith("jwt_"):
        raise ConfigError(
            f"{named} has mode {mode:04o}: every user of this host may open this secret",
            "chmod 600, for the user of this role (a Kubernetes secret: defaultMode: 0440 and an fsGroup)",
        )


def _path(value: str, key: str) -> Path:
    if key.endswith("_file"):
        return Path(value)
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise ConfigError(
            f"{key} names the systemd credential {value!r}, and there is no CREDENTIALS_DIRECTORY",
            "it is there for the unit alone: systemd-run with the same LoadCredential= runs another command "
            "with it (docs/operation.md); or name a file",
        )
    if "/" in value or value in {"", ".", ".."}:
        raise ConfigError(
            f"{key} is not the name of a credential: {value!r}", "write the name in LoadCredential="
        )
    return Path(folder) / value


def _read(path: Path, key: str) -> str:
    named = f"{path} ({key})"
    with translated(named, "read", "name the file that holds it"):
        raw = read_small_file(path, named, check=partial(_check_mode, named, key))
    try:
        return raw.decode("utf-8").removesuffix("\n")
    except UnicodeDecodeError:
        # The error quotes the bytes, and they may be the secret: it must not be chained to ours.
        raise ConfigError(f"{named} is not UTF-8 text", "write the secret as text") from None
