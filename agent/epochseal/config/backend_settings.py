"""One setting of a backend as it is written, in a file or a variable, and as the backend is handed it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import get_args
from urllib.parse import urlsplit

from epochseal.errors import ConfigError
from epochseal.families import FAMILIES, AuthMethod

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

CHOICES: dict[str, tuple[str, ...]] = {"auth": get_args(AuthMethod), "fips": ("true", "false")}
"""The settings that are one of a few words."""


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
    if FAMILIES[family].secret_of(name) and name.endswith("_env") and not _VARIABLE.fullmatch(written):
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
