"""Files that have nothing to seal: known, but not open. One `stat` of each tells which of them changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from epochseal.errors import FormatError
from epochseal.format.seal_lines import SourceMark
from epochseal.sources.file_identity import Identity
from epochseal.sources.log_file import source_name
from epochseal.sources.source import FileLook

_MOST_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class Look:
    """What `stat` says of a file, as far as a write changes it."""

    key: tuple[int, int]
    size: int
    written: int

    @classmethod
    def at(cls, path: str) -> Look | None:
        """What stands at a path now; None if nothing that can be looked at does."""
        try:
            return cls.of(os.stat(path))  # noqa: PTH116  # of thousands of files
        except OSError:
            return None

    @classmethod
    def of(cls, found: os.stat_result) -> Look:
        """The same of a file that was looked at."""
        return cls((found.st_dev, found.st_ino), found.st_size, found.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Resting:
    """A path with nothing to read.

    Args:
        mark: up to where its file is sealed; None if nothing was ever read there.
        seen: what stood there at the last look; None if nothing did, or nobody looked yet.
        generation: of the news of its folder at that look (`Watches.generation`).
        said: the error that was told last.
        missing_said: whether it was told that the file of the mark is not there any more.
        is_missing: whether that is to be told, unless the file is found under another name.
        since: of a new path: rotated files are its own that were written to since then; nanoseconds, or 0.
    """

    mark: SourceMark | None = None
    seen: Look | None = None
    generation: int = 0
    said: str = ""
    missing_said: bool = False
    is_missing: bool = False
    since: int = 0


class RestingFiles:
    """All of them, by path."""

    def __init__(self) -> None:
        self._files: dict[str, Resting] = {}
        self._by_inode: dict[int, set[str]] = {}

    def __contains__(self, path: str) -> bool:
        return path in self._files

    def __len__(self) -> int:
        return len(self._files)

    def remember(self, positions: Mapping[str, SourceMark], is_named: Callable[[str], bool]) -> None:
        """Put what the chain knows, but for paths that belong to another source, or to none any more."""
        gone = list[tuple[str, SourceMark]]()
        for name, mark in positions.items():
            kind, _, encoded = name.partition(":")
            path = os.fsdecode(unquote_to_bytes(encoded))
            if kind != "tail" or not mark.file or not is_named(path):
                continue
            if os.path.lexists(path):
                self.put(path, Resting(mark))
            else:
                gone.append((path, mark))
        for path, mark in gone[-_MOST_REMEMBERED:]:
            self.put(path, Resting(mark))

    def of_inode(self, inode: int) -> list[str]:
        """The paths whose file had this inode when it was looked at, or sealed."""
        return sorted(self._by_inode.get(inode, ()))

    def get(self, path: str) -> Resting | None:
        """What rests at a path."""
        return self._files.get(path)

    def put(self, path: str, resting: Resting) -> None:
        """Let a path rest."""
        self._files[path] = resting
        if (inode := _inode(resting)) is not None:
            self._by_inode.setdefault(inode, set()).add(path)

    def take(self, path: str) -> Resting:
        """It does not rest any more."""
        resting = self._files.pop(path)
        if (inode := _inode(resting)) is not None:
            self._by_inode[inode].discard(path)
            if not self._by_inode[inode]:
                del self._by_inode[inode]
        return resting

    def changed(self) -> Iterator[str]:
        """Paths at which another file stands than did, or the same with another size or time."""
        stat = os.stat
        for path, resting in self._files.items():
            try:
                found = stat(path)
            except OSError:
                if resting.seen is not None:
                    yield path
                continue
            seen = resting.seen
            if seen is None or (seen.written, seen.size, seen.key) != (
                found.st_mtime_ns,
                found.st_size,
                (found.st_dev, found.st_ino),
            ):
                yield path

    def marks(self) -> list[SourceMark]:
        """Up to where each is sealed."""
        known = self._files.values()
        return [item.mark for item in known if item.mark is not None and not item.missing_said]

    def items(self) -> Iterator[tuple[str, Resting]]:
        """Each path with what rests there."""
        return iter(tuple(self._files.items()))

    def file_looks(self) -> Iterator[FileLook]:
        """Each of them as it is now; any thread may ask."""
        for path, resting in tuple(self._files.items()):
            look, mark = Look.at(path), resting.mark
            lag = max(0, look.size - (mark.offset if mark is not None else 0)) if look is not None else 0
            yield FileLook(source_name(path), resting.said, lag)


def _inode(resting: Resting) -> int | None:
    if resting.seen is not None:
        return resting.seen.key[1]
    try:
        return Identity.parse(resting.mark.file).inode if resting.mark is not None else None
    except FormatError:
        return None
