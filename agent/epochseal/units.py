"""Sizes and durations as people write them: a number and a unit."""

from __future__ import annotations

import re

from epochseal.encoding import MAX_INT
from epochseal.errors import ConfigError

_SIZES = {
    "": 1,
    "B": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}
_DURATIONS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_TEXT = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([A-Za-z]*)")


def parse_size(text: str) -> int:
    """Bytes from `64KiB`, `1.5GB`, `4096`.

    Raises:
        ConfigError: not a number with a known unit.
    """
    return _parse(text, _SIZES, "size", "64KiB or 100MB")


def parse_duration(text: str) -> int:
    """Milliseconds from `50ms`, `10m`, `90d`; a unit is asked for, because 10 could mean anything.

    Raises:
        ConfigError: not a number with a known unit.
    """
    return _parse(text, _DURATIONS, "duration", "50ms, 10m or 90d")


def format_size(size: int) -> str:
    """A number of bytes as `parse_size` reads it, with the largest unit of 1024 that needs no fraction."""
    return _format(size, {name: factor for name, factor in _SIZES.items() if "i" in name or name == "B"}, "B")


def format_duration(milliseconds: int) -> str:
    """Milliseconds as `parse_duration` reads them, with the largest unit that needs no fraction."""
    return _format(milliseconds, _DURATIONS, "s")


def _format(value: int, units: dict[str, int], unit_of_0: str) -> str:
    if value == 0:
        return f"0{unit_of_0}"
    name, factor = max((unit for unit in units.items() if value % unit[1] == 0), key=lambda unit: unit[1])
    return f"{value // factor}{name}"


def _parse(text: str, units: dict[str, int], what: str, example: str) -> int:
    match = _TEXT.fullmatch(text.strip())
    factor = units.get(match[2]) if match else None
    if match is None or factor is None:
        raise ConfigError(f"{text!r} is not a {what}", f"write a number and a unit, such as {example}")
    value = round(float(match[1]) * factor) if "." in match[1] else int(match[1]) * factor
    if value > MAX_INT:
        raise ConfigError(f"the {what} {text!r} is too large")
    return value
