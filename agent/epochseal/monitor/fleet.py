"""Which logs there are: the directories that the patterns of a configuration match now."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence

from epochseal.config.monitor_settings import MonitoredLogs
from epochseal.evidence.known_logs import place_of
from epochseal.storage.segments import CHECKPOINT_FILE, FOLDER


def find_logs(configured: Sequence[MonitoredLogs]) -> dict[str, MonitoredLogs]:
    """The places of all logs, absolute paths, each with the first table that names it.

    A directory that is named without a pattern is a log even if it is not there: then it is missing. What a
    pattern matches is one if it holds `segments` or a checkpoint.
    """
    found: dict[str, MonitoredLogs] = {}
    for table in configured:
        if not glob.has_magic(table.pattern):
            found.setdefault(place_of(table.pattern), table)
            continue
        plain = plain_directory(table.pattern)
        if plain is not None:
            found.setdefault(place_of(plain), table)
            continue
        for path in sorted(glob.glob(table.pattern, recursive=True)):  # noqa: PTH207  # absolute and relative alike
            if _is_log(path):
                found.setdefault(place_of(path), table)
    return found


def plain_directory(pattern: str) -> str | None:
    """The directory that a pattern names if its only special characters are escaped ones."""
    plain = pattern
    for mark in "[?*":
        plain = plain.replace(f"[{mark}]", mark)
    return plain if glob.escape(plain) == pattern else None


def _is_log(path: str) -> bool:
    return any(os.path.lexists(os.path.join(path, name)) for name in (FOLDER, CHECKPOINT_FILE))  # noqa: PTH118  # as above
