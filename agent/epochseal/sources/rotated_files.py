"""The files that a rotation left beside a log file, by their names, from the oldest to the newest.

Known are the names of logrotate and of the rotating handlers of most languages: `app.log.1`,
`app.log-20261123`, `app.log.2026-11-23_10`, `app.log.old`, `app-20261123.log`, `app.1.log`, each with `.gz`.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath

from epochseal.sources.file_identity import Identity, holds
from epochseal.sources.log_file import READABLE, UNREADABLE, Content, LogFile, open_content

COMPRESSED = (*READABLE, *UNREADABLE)
_MARK = r"[._-](\d[\dT:._-]*|old|bak)"
_AT_END = re.compile(rf"(.+?){_MARK}")
_BEFORE_ENDING = re.compile(rf"(.+?){_MARK}(\.[A-Za-z][^.]*)")
_DATE_DIGITS = 6
_DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(\d\d)*")
_YEARS = range(1970, 2200)
_MOST_LISTINGS = 10
_ROTATION_SECONDS = 0.02


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
    age: tuple[int, ...]

    @property
    def key(self) -> tuple[int, int]:
        """Device and inode."""
        return self.found.st_dev, self.found.st_ino


def list_rotated(path: str) -> list[Rotated]:
    """The rotated files of `path`, the oldest first; none if the folder cannot be listed.

    Of `app.log.1` and `app.log.1.gz` only the first counts: the second is being made of it. Those that are
    compressed in a form that is not read are there too, so that they are missed. Where `path` is a
    link, the files are those beside what it leads to, and may be what it led to before.
    """
    found = _list(path)
    if missing_numbers(found):
        # A rotation renames one file after the other, and for a moment a number is free.
        time.sleep(_ROTATION_SECONDS)
        found = _list(path)
    return found


def _list(path: str) -> list[Rotated]:
    real = os.path.realpath(path)
    folder, base = os.path.split(real)
    bases = {base} if real == path else {base, *base_names(base)}
    entries = _stats(folder, lambda name: name != base and bool(bases & set(base_names(name))))
    found = [
        Rotated(os.path.join(folder, name), stat, _age(name, base, stat))  # noqa: PTH118  # as `path` is
        for name, stat in entries.items()
        if not (name.endswith(COMPRESSED) and PurePath(name).stem in entries)
    ]
    # Numbers count down towards the newest, dates count up; where both are there, only the time of the last
    # write is comparable.
    # A link may have led to files of other names before, and those have no common order either.
    others = any(base not in base_names(PurePath(item.path).name) for item in found)
    if others or len({item.age[0] for item in found}) > 1:
        return sorted(found, key=lambda item: (item.found.st_mtime_ns, item.path))
    return sorted(found, key=lambda item: (item.age, item.path))


def _stats(folder: str, wanted: Callable[[str], bool]) -> dict[str, os.stat_result]:
    """Names and what they are; none if the folder cannot be listed.

    While a rotation renames one file after the other a listing can miss one that moved to a name it was past:
    it is asked for again until it says the same twice.
    """
    before, stats = None, dict[str, os.stat_result]()
    for _ in range(_MOST_LISTINGS):
        stats, inodes = {}, dict[str, int]()
        try:
            for name in filter(wanted, os.listdir(folder)):  # noqa: PTH208  # names are all that is wanted
                inodes[name] = 0
                with suppress(FileNotFoundError):  # renamed at this moment, or a link that leads nowhere
                    stats[name] = os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118  # as `path` is
                    inodes[name] = stats[name].st_ino
        except OSError:
            return {}
        if inodes == before:
            break
        before = inodes
    return stats


def _age(name: str, base: str, found: os.stat_result) -> tuple[int, ...]:
    """A scheme, and the place within it: the greater, the newer."""
    ending = PurePath(base).suffix
    stem = base.removesuffix(ending)
    plain = PurePath(name).stem if name.endswith(COMPRESSED) else name
    mark = plain.removeprefix(base) if plain.startswith(base) else plain[len(stem) :].removesuffix(ending)
    digits = re.sub(r"\D", "", mark)
    if not digits:
        return 2, found.st_mtime_ns, 0
    if len(digits) < _DATE_DIGITS:
        return 0, -int(digits), 0
    return 1, *_date(re.findall(r"\d+", mark)), found.st_mtime_ns


def _date(groups: list[str]) -> list[int]:
    """The numbers of a date and what counts within it, the largest unit first, however they were written."""
    if _DATE.fullmatch(first := groups[0]):
        groups = [first[:4], *(first[i : i + 2] for i in range(4, len(first), 2)), *groups[1:]]
    numbers = [int(group) for group in groups]
    if len(numbers) > 2 and numbers[2] in _YEARS and numbers[0] not in _YEARS:  # noqa: PLR2004  # day, month, year
        numbers[:3] = numbers[2::-1]
    return numbers


def missing_numbers(files: list[Rotated]) -> int:
    """How many numbers are left out between files that a rotation numbers."""
    numbers = [-item.age[1] for item in files if item.age[0] == 0]
    return max(numbers) - min(numbers) + 1 - len(set(numbers)) if numbers else 0


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
        if not (wanted.size > 0 if copies else wanted.is_file(files[place].key)):
            continue
        try:
            content = open_content(files[place].path)
        except OSError:
            continue
        if holds(content.ends(offset), wanted, offset) and content.go_to(offset):
            return place, content
        content.close()
    return None


def find_by_inode(path: str, wanted: Identity, offset: int) -> LogFile | None:
    """The file that `wanted` was, set to `offset`, under any name beside `path` or what that leads to."""
    for folder in {os.path.dirname(path), os.path.dirname(os.path.realpath(path))}:  # noqa: PTH120  # as `path` is
        with suppress(OSError), os.scandir(folder) as entries:
            names = [entry.path for entry in entries if entry.inode() == wanted.inode]
            for name in names:
                with suppress(OSError):
                    content = LogFile.open(name)
                    known = wanted.is_file(content.key) and holds(content.ends(offset), wanted, offset)
                    if known and content.go_to(offset):
                        return content
                    content.close()
    return None
