"""What the settings of sealing may be; durations in milliseconds, sizes in bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from epochseal.encoding import MAX_INT
from epochseal.errors import ConfigError
from epochseal.units import format_duration, format_size


class _Bounds(NamedTuple):
    """The least and the greatest value, and why not beyond."""

    least: int = 1
    most: int = MAX_INT
    shown: Callable[[int], str] = str
    why: str = "leave it out for the default"


_BOUNDS: Final = {
    "commit_interval": _Bounds(least=0),
    "retention": _Bounds(least=0),
    "block_bytes": _Bounds(
        most=16 << 20, shown=format_size, why="a source's buffer is twice as large, and is held in memory"
    ),
    "max_entry_bytes": _Bounds(
        most=256 << 20, shown=format_size, why="a longer entry could not be proven: a proof holds its block"
    ),
    "max_overdue": _Bounds(
        least=2_000, shown=format_duration, why="sealing would stop before the backend can have answered"
    ),
}


def check_bounds(name: str, value: int) -> int:
    """The value of the setting `name`, if it may be that: more than 0 where nothing else is said.

    Raises:
        ConfigError: it is too small or too large.
    """
    bounds = _BOUNDS.get(name, _Bounds())
    if value < bounds.least:
        least = "more than 0" if bounds.least == 1 else f"at least {bounds.shown(bounds.least)}"
        raise ConfigError(f"must be {least}", bounds.why if bounds.least > 1 else _Bounds().why)
    if value > bounds.most:
        raise ConfigError(f"must be at most {bounds.shown(bounds.most)}", bounds.why)
    return value
