"""Settings of a backend as a command without a configuration reads them."""

from __future__ import annotations

from collections.abc import Mapping


def variables(family: str, settings: Mapping[str, str]) -> dict[str, str]:
    """The environment variables of that family's settings; `family` as its table is named."""
    return {f"EPOCHSEAL_{family.upper()}_{name.upper()}": text for name, text in settings.items()}
