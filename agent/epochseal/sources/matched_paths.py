"""The files that globs name, looked up again at a cost that follows what has changed."""

from __future__ import annotations

import glob
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase, translate
from pathlib import Path, PurePath

# A folder's time of change is as coarse as the kernel's clock: a listing made this soon after it may be old.
_STEADY_NS = 2_000_000_000
_COARSE_NS = 20_000_000


class MatchedPaths:
    """Some globs.

    Args:
        patterns: absolute and normal; each a path or a glob.
        exclude: globs of what is not meant; a star in them stands for folders too.
    """

    def __init__(self, patterns: Sequence[str], exclude: Sequence[str] = ()) -> None:
        self._exclude = [re.compile(translate(pattern)) for pattern in exclude]
        self.patterns = list(patterns)
        # In the order in which they were written; as keys, since thousands of paths may be asked for.
        self.fixed = dict.fromkeys(
            path for path in patterns if not (glob.has_magic(path) or self._is_excluded(path))
        )
        self._globs = {pattern: PurePath(pattern).parts for pattern in patterns if glob.has_magic(pattern)}
        self._by_folder: dict[str, list[re.Pattern[str]]] = {}
        self._others: list[str] = []
        for pattern in patterns:
            folder, name = os.path.split(pattern)
            if not glob.has_magic(pattern):
                self._by_folder.setdefault(folder, [])
            elif glob.has_magic(folder) or "**" in name:
                self._others.append(pattern)
            else:
                # As for `glob`: a star names no hidden file.
                hidden = "" if name.startswith(".") else r"(?!\.)"
                self._by_folder.setdefault(folder, []).append(re.compile(hidden + translate(name)))
        self._steady: dict[str, tuple[int, int]] = {}
        # Folders in which a glob for folders, too, has named a file.
        self._found: dict[str, None] = {}
        self._listed = 0
        self.since = 0
        """When the listing before the latest one began, in nanoseconds of the clock of files; at first 0."""

    def matches(self, path: str) -> bool:
        """Whether a pattern names it."""
        if self._is_excluded(path):
            return False
        return path in self.fixed or bool(self._globs_of(path))

    def patterns_of(self, path: str) -> list[str]:
        """Those that name it."""
        return [*([path] if path in self.fixed else ()), *self._globs_of(path)]

    def _globs_of(self, path: str) -> list[str]:
        parts = PurePath(path).parts
        return [pattern for pattern, wanted in self._globs.items() if _names(wanted, parts)]

    def _is_excluded(self, path: str) -> bool:
        return any(pattern.match(path) for pattern in self._exclude)

    def unmatched(self, found: Sequence[str]) -> list[str]:
        """The patterns that name nothing, neither among `found` nor at a path of their own."""
        seen = {pattern for path in found for pattern in self._globs_of(path)}
        missing = (pattern for pattern in self._globs if pattern not in seen)
        return [*(path for path in self.fixed if not os.path.lexists(path)), *missing]

    def folders(self) -> Iterator[tuple[str, os.stat_result]]:
        """The folders whose names matter, and what they are; also those in which files were found."""
        yield from self._stats(self._by_folder)
        yield from self._stats(tuple(self._found))

    def _stats(self, folders: Iterable[str]) -> Iterator[tuple[str, os.stat_result]]:
        for folder in folders:
            try:
                yield folder, os.stat(folder)  # noqa: PTH116  # of each folder, many times a second
            except OSError:
                self._steady.pop(folder, None)
                self._found.pop(folder, None)

    def changed(self) -> list[str]:
        """Regular files in folders that have changed since the last call; all of them at the first."""
        found = list[str]()
        self.since, self._listed = self._listed, time.time_ns() - _COARSE_NS
        for folder, stat in self._stats(self._by_folder):
            names = self._by_folder[folder]
            look = stat.st_ino, stat.st_mtime_ns
            if not names or self._steady.get(folder) == look:
                continue
            steady = time.time_ns() - stat.st_mtime_ns > _STEADY_NS
            files, others = _list(folder, names)
            found += files
            # A link that leads nowhere yet may lead to a file without any change of this folder.
            if steady and not others:
                self._steady[folder] = look
            else:
                self._steady.pop(folder, None)
        for pattern in self._others:
            paths = glob.iglob(pattern, recursive=True)  # noqa: PTH207  # Path.glob takes no absolute pattern
            there = [path for path in paths if Path(path).is_file()]
            self._found |= dict.fromkeys(map(os.path.dirname, there))
            found += there
        return sorted(path for path in set(found) if not self._is_excluded(path))


def _names(pattern: Sequence[str], path: Sequence[str]) -> bool:
    """Whether a glob names a path, part by part, as `glob` does: `**` stands for any folders, or none."""
    if not pattern or not path:
        return not pattern and not path
    first, rest = pattern[0], pattern[1:]
    shown = first.startswith(".") or not path[0].startswith(".")
    if first == "**":
        into = shown and _names(pattern, path[1:])
        return into or (_names(rest, path) if rest else shown and len(path) == 1)
    return shown and fnmatchcase(path[0], first) and _names(rest, path[1:])


def _list(folder: str, names: Sequence[re.Pattern[str]]) -> tuple[list[str], bool]:
    """The files that are named, and whether there is something else of such a name."""
    try:
        with os.scandir(folder) as entries:
            named = [entry for entry in entries if any(name.match(entry.name) for name in names)]
            files = [entry.path for entry in named if entry.is_file()]
            return files, len(files) < len(named)
    except OSError:
        return [], True
