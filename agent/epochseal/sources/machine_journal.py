"""Where the journal of this machine lies."""

from __future__ import annotations

import re
from pathlib import Path

_PLACES = ("/var/log/journal", "/run/log/journal")
_MACHINE = re.compile(r"[0-9a-f]{32}")


def journal_folders(directory: Path | None) -> list[Path]:
    """Folders that journal files are in: a directory and the machines' in it, or those of this machine."""
    if directory is not None:
        return [directory, *_machines(directory)]
    try:
        machine = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        machine = ""
    if not _MACHINE.fullmatch(machine):
        return [folder for place in _PLACES for folder in _machines(Path(place))]
    return [Path(place) / machine for place in _PLACES]


def _machines(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if _MACHINE.fullmatch(path.name) and path.is_dir())
    except OSError:
        return []
