"""Which modules the installed packages offer as key backends: their entry points `epochseal.backends`.

An installed package has a folder `NAME-VERSION.dist-info`, and in that an `entry_points.txt`: sections in
brackets, a line `scheme = module` for each offer (packaging.python.org, "Entry points specification").
importlib.metadata reads the same, but loads Python's mail library for it, which took a sixth of the CPU time
of verifying a small log. A package inside a zip file is not found.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache

_GROUP = "epochseal.backends"
_FOLDERS = (".dist-info", ".egg-info")


@lru_cache(maxsize=1)
def offered_backends(path: tuple[str, ...]) -> Mapping[str, frozenset[str]]:
    """The names of the modules that are offered for each key scheme.

    Args:
        path: where Python looks for modules, `tuple(sys.path)`: every package there is asked, so once only.
    """
    found: dict[str, set[str]] = {}
    for text in _entry_points(path):
        for scheme, module in _offers(text):
            found.setdefault(scheme, set()).add(module)
    return {scheme: frozenset(modules) for scheme, modules in found.items()}


def _entry_points(path: tuple[str, ...]) -> Iterator[str]:
    """The `entry_points.txt` of each package; of one that is there twice, the one that is imported counts."""
    seen: set[str] = set()
    for place in path:
        with contextlib.suppress(OSError), os.scandir(place or ".") as folders:
            for folder in folders:
                name = folder.name.partition("-")[0].lower()
                if not folder.name.endswith(_FOLDERS) or name in seen:
                    continue
                seen.add(name)
                with (
                    contextlib.suppress(FileNotFoundError, NotADirectoryError),
                    open(f"{folder.path}/entry_points.txt", encoding="utf-8", errors="replace") as file,  # noqa: PTH123  # a Path for each package takes as long as reading it
                ):
                    yield file.read()


def _offers(text: str) -> Iterator[tuple[str, str]]:
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line
        elif section == f"[{_GROUP}]" and line and not line.startswith(("#", ";")):
            scheme, _, module = line.partition("=")
            # Extras behind the name, in brackets, are for installers.
            yield scheme.strip(), module.partition("[")[0].strip()
