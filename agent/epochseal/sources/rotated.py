"""The files that a rotation left beside a log file, by their names, from the oldest to the newest.

Known are the names of logrotate and of the rotating handlers of most languages: `app.log.1`,
`app.log-20261123`, `app.log.2026-11-23_10`, `app.log.old`, `app-20261123.log`, `app.1.log`, each with `.gz`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import PurePath

from epochseal.sources.content import Content, Identity, holds, open_content

COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".Z")
_MARK = r"[._-](\d[\dT:._-]*|old|bak)"
_AT_END = re.compile(rf"(.+?){_MARK}")
_BEFORE_ENDING = re.compile(rf"(.+?){_MARK}(\.[A-Za-z][^.]*)")
_DATE_DIGITS = 6


def base_names(name: str) -> list[str]:
    """The names that a file may have had before it was rotated to `name`."""
    plain = PurePath(name).stem if name.endswith(COMPRESSED) else name
    bases = [] if plain == name else [plain]
    if match := _AT_END.fullmatch(plain):
        bases.append(match[1])
    if match := _BEFORE_ENDING.fullmatch(plain):
        bases.append(match[1] + match[3])
    return bases


@dataclass(frozen=True, slots=True)
class Rotated:
    """A file that was rotated away from a path."""

    path: str
    found: os.stat_result
    age: tuple[int, int, int]


def list_rotated(path: str) -> list[Rotated]:
    """The rotated files of `path` that can be read, the oldest first; none if the folder cannot be listed.

    Of `app.log.1` and `app.log.1.gz` only the first counts: the second is being made of it. Where `path` is a
    link, the files are those beside what it leads to, and may be what it led to before.
    """
    real = os.path.realpath(path)
    folder, base = os.path.split(real)
    bases = {base} if real == path else {base, *base_names(base)}
    try:
        entries = {
            entry.name: entry
            for entry in os.scandir(folder)
            if entry.name != base and bases & set(base_names(entry.name))
        }
        found = [
            Rotated(entry.path, entry.stat(), _age(name, base, entry.stat()))
            for name, entry in entries.items()
            if not name.endswith(COMPRESSED[1:]) and not (name.endswith(".gz") and name[:-3] in entries)
        ]
    except OSError:
        return []
    # Numbers count down towards the newest, dates count up; where both are there, only the time of the last
    # write is comparable.
    if real != path or len({item.age[0] for item in found}) > 1:
        return sorted(found, key=lambda item: (item.found.st_mtime_ns, item.path))
    return sorted(found, key=lambda item: (item.age, item.path))


def _age(name: str, base: str, found: os.stat_result) -> tuple[int, int, int]:
    """A scheme, and the place within it: the greater, the newer."""
    ending = PurePath(base).suffix
    stem = base.removesuffix(ending)
    plain = name.removesuffix(".gz")
    mark = plain.removeprefix(base) if plain.startswith(base) else plain[len(stem) :].removesuffix(ending)
    digits = re.sub(r"\D", "", mark)
    if not digits:
        return 2, found.st_mtime_ns, 0
    if len(digits) < _DATE_DIGITS:
        return 0, -int(digits), 0
    return 1, int(digits), found.st_mtime_ns


def find_file(
    files: list[Rotated], wanted: Identity, offset: int, *, copies: bool
) -> tuple[int, Content] | None:
    """The newest that `wanted` was, or that is a copy of it: its place, and its content, set to `offset`.

    Args:
        files: where to look, the newest last.
        wanted: what the file was when `offset` bytes of it were sealed.
        offset: bytes of the content.
        copies: look for another file of the same content; else for the file itself, by its inode.
    """
    for place in range(len(files) - 1, -1, -1):
        found = files[place].found
        # A device's number may change with a reboot; then the content must tell.
        same = found.st_ino == wanted.inode and (wanted.size > 0 or found.st_dev == wanted.device)
        if not (wanted.size > 0 if copies else same):
            continue
        try:
            content = open_content(files[place].path)
        except OSError:
            continue
        if holds(content, wanted, offset) and content.go_to(offset):
            return place, content
        content.close()
    return None
