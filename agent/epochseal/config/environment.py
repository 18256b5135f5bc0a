"""The variables `EPOCHSEAL_…`: the overlay that they choose, and settings such as `EPOCHSEAL_VAULT_ADDRESS`.

The settings are those of the commands that read no configuration file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from epochseal.config.backend_settings import any_of, as_setting
from epochseal.errors import ConfigError
from epochseal.families import FAMILIES, ways_to
from epochseal.keys import BackendSettings, KeyURI


def overlay_from_environment() -> str | None:
    """The overlay of a configuration file that EPOCHSEAL_ENV names; None if it names none."""
    return os.environ.get("EPOCHSEAL_ENV") or None


def settings_from_environment(*keys: KeyURI, environ: Mapping[str, str] = os.environ) -> BackendSettings:
    """What the environment sets for the families of these keys, as a file's tables `[vault]` … would.

    A setting NAME of a family is the variable `EPOCHSEAL_FAMILY_NAME`, in capitals; an empty one is none.

    Raises:
        ConfigError: a variable of these families that nobody knows, a secret, or a value that cannot be.
    """
    families = dict.fromkeys(key.family for key in keys)
    return {family: _family(family, environ) for family in families if family is not None}


def _family(family: str, environ: Mapping[str, str]) -> dict[str, str]:
    prefix = f"EPOCHSEAL_{family.upper()}_"
    known = FAMILIES[family].settings
    settings = {}
    for variable in sorted(environ):
        if not variable.startswith(prefix) or not (text := environ[variable]):
            continue
        name = variable.removeprefix(prefix).lower()
        if name in FAMILIES[family].secrets:
            ways = any_of([prefix + way.upper() for way in ways_to(name)])
            raise ConfigError(
                f"{variable} is a secret, and settings hold none", f"say where it is with {ways}"
            )
        if name not in known:
            from difflib import get_close_matches  # noqa: PLC0415  # only for a mistyped setting

            near = get_close_matches(name, known, n=1)
            names = ", ".join(known)
            hint = f"did you mean {prefix}{near[0].upper()}?" if near else f"known after {prefix}: {names}"
            raise ConfigError(f"environment variable {variable} names no setting", hint)
        try:
            settings[name] = as_setting(family, name, text)
        except ConfigError as exc:
            raise ConfigError(f"environment variable {variable} {exc}", exc.hint) from exc
    return settings
