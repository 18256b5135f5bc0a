"""The files that a rotation left beside a log file, from the oldest to the newest, and which one it was."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import PurePath

from epochseal.sources.compressed_copy import CompressedCopy, Content, Search, open_content, reach
from epochseal.sources.file_identity import Identity, holds
from epochseal.sources.log_file import LogFile
from epochseal.sources.rotated_names import (
    Age,
    RotatedNames,
    direction_of_numbers,
    is_compressed,
    is_dated,
    missing_numbers,
    plain_name,
    upwards,
)

_MOST_LISTINGS = 10
_ROTATION_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Rotated:
    """A file that was rotated away from a path."""

    path: str
    found: os.stat_result
    age: Age
    certain: bool = True
    """Whether it is sure which of the others are older."""

    @property
    def key(self) -> tuple[int, int]:
        """Device and inode."""
        return self.found.st_dev, self.found.st_ino


def list_rotated(path: str, names: RotatedNames) -> list[Rotated]:
    """The rotated files of `path`, the oldest first; none if the folders cannot be listed.

    Of `app.log.1` and `app.log.1.gz` only the first counts: the second is being made of it. Those that are
    compressed in a form that is not read are there too, so that they are missed. Where `path` is a
    link, the files are those beside what it leads to, and may be what it led to before.
    """
    found = _list(path, names)
    if missing_numbers([item.age for item in found]):
        # A rotation renames one file after the other, and for a moment a number is free.
        time.sleep(_ROTATION_SECONDS)
        found = _list(path, names)
    return found


def _list(path: str, names: RotatedNames) -> list[Rotated]:
    real = os.path.realpath(path)
    folder, base = os.path.split(real)
    bases = {base} if real == path else {base, *names.bases(base)}

    def is_rotated(other: str) -> bool:
        # In the folder for old files one may have kept its name.
        name = os.path.basename(other)  # noqa: PTH119  # of each name in the folder
        return other != real and not bases.isdisjoint([name, *names.bases(name)])

    entries = _stats(names.folders(folder), is_rotated)
    found = [
        Rotated(other, stat, names.age(PurePath(other).name, base, stat.st_mtime_ns))
        for other, stat in entries.items()
        if not (is_compressed(other) and plain_name(other) in entries)
    ]
    up, certain = direction_of_numbers(
        [(item.age, item.found.st_mtime_ns, is_compressed(item.path)) for item in found]
    )
    # Dates count up; where other names are there too, only the time of the last write is comparable, and a
    # compressor may have changed that. A link may have led to files of other names before: of those, too.
    others = any(base not in (name := PurePath(item.path).name, *names.bases(name)) for item in found)
    if len({item.age[0] for item in found}) > 1 or (others and not all(is_dated(item.age) for item in found)):
        times = {item.found.st_mtime_ns for item in found}
        certain = len(times) == len(found) and not any(is_compressed(item.path) for item in found)
        order = sorted(found, key=lambda item: (item.found.st_mtime_ns, item.path))
    else:
        order = sorted(found, key=lambda item: (upwards(item.age) if up else item.age, item.path))
    return [replace(item, certain=certain) for item in order]


def _stats(folders: list[str], wanted: Callable[[str], bool]) -> dict[str, os.stat_result]:
    """Paths and what they are; none if no folder can be listed.

    While a rotation renames one file after the other a listing can miss one that moved to a name it was past:
    it is asked for again until it says the same twice.
    """
    before, stats = None, dict[str, os.stat_result]()
    for _ in range(_MOST_LISTINGS):
        stats, inodes = {}, dict[str, int]()
        for folder in folders:
            with suppress(OSError):
                listed = [f"{folder.rstrip('/')}/{name}" for name in os.listdir(folder)]  # noqa: PTH208  # names are all that is wanted
                for path in filter(wanted, listed):
                    inodes[path] = 0
                    with suppress(FileNotFoundError):  # renamed at this moment, or a link that leads nowhere
                        stats[path] = os.stat(path)  # noqa: PTH116  # of each of them
                        inodes[path] = stats[path].st_ino
        if inodes == before:
            break
        before = inodes
    return stats


def find_file(
    files: list[Rotated], wanted: Identity, offset: int, *, copies: bool
) -> Search[tuple[Content, bytes] | None]:
    """The newest that `wanted` was, or that is a copy of it, set to `offset`; and its last bytes before that.

    Args:
        files: where to look, the newest last.
        wanted: what the file was when `offset` bytes of it were sealed.
        offset: bytes of the content.
        copies: look for another file of the same content; else for the file itself, by its inode.
    """
    for item in reversed(files):
        if not (wanted.size > 0 if copies else wanted.is_file(item.key)):
            continue
        try:
            content = open_content(item.path)
        except OSError:
            continue
        is_it = False
        try:
            ends = yield from reach(content, offset)
            is_it = holds(ends, wanted, offset)
        finally:
            if not is_it:
                content.close()
        if is_it:
            return content, ends[1]
    return None


def is_copy_of(content: CompressedCopy, wanted: Identity, offset: int) -> Search[bool]:
    """Whether a compressed file holds what `wanted` was when `offset` bytes of it were read."""
    return holds((yield from content.reach(offset)), wanted, offset)


def find_by_inode(path: str, names: RotatedNames, wanted: Identity, offset: int) -> LogFile | None:
    """The file that `wanted` was, set to `offset`, under any name beside `path` or what that leads to."""
    own, real = os.path.dirname(path), os.path.dirname(os.path.realpath(path))  # noqa: PTH120  # as `path` is
    for folder in {*names.folders(own), *names.folders(real)}:
        with suppress(OSError), os.scandir(folder) as entries:
            found = [entry.path for entry in entries if entry.inode() == wanted.inode]
            for other in found:
                with suppress(OSError):
                    content = LogFile.open(other)
                    known = wanted.is_file(content.key) and holds(content.ends(offset), wanted, offset)
                    if known and content.go_to(offset):
                        return content
                    content.close()
    return None


def has_others(path: str, old: Content, here: LogFile, rotated: list[Rotated]) -> bool:
    """Whether files lie beside a log that begin with its name, and are not known, and may have followed it.

    Args:
        path: of the log.
        old: the file that was found under a name that no rotation gives.
        here: what stands at the path now.
        rotated: those that are known.
    """
    real = PurePath(os.path.realpath(path))
    known = {old.key, here.key, *(item.key for item in rotated)}
    newest = old.stat().st_mtime_ns if isinstance(old, LogFile) else 0
    with suppress(OSError), os.scandir(real.parent) as entries:
        for entry in entries:
            if entry.name.startswith(real.stem) and entry.is_file(follow_symlinks=False):
                found = entry.stat()
                if found.st_mtime_ns >= newest and (found.st_dev, found.st_ino) not in known:
                    return True
    return False
