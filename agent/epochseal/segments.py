"""Segments: the file pairs of a log directory, their names, and appending to the open one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from epochseal.durable import AppendFile, make_directory, sync_directory
from epochseal.errors import StorageError

FOLDER = "segments"
COMPRESSIONS = ("", ".gz", ".zst")
_NAME = re.compile(r"([0-9]{6,18})-([0-9]{8}T[0-9]{6}Z)\.(log|seal|unsealed)(\.gz|\.zst)?")


def segment_stem(number: int, time: int) -> str:
    """The name of a segment's files without their ending, from its number and its first epoch's time (ms)."""
    try:
        moment = datetime.fromtimestamp(time // 1000, tz=UTC)
    except (OverflowError, ValueError, OSError):
        # A clock beyond the calendar must not stop sealing; the header holds the exact time.
        moment = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    return f"{number:06d}-{moment.strftime('%Y%m%dT%H%M%SZ').rjust(16, '0')}"


@dataclass(frozen=True, slots=True)
class Segment:
    """The files that share a stem: any of them may be missing, and the log may be there in several forms."""

    number: int
    stem: str
    logs: tuple[Path, ...]
    seal: Path | None
    unsealed: Path | None


@dataclass(frozen=True, slots=True)
class Listing:
    """What stands in a log directory: segments by number and stem, and names that belong to none."""

    segments: tuple[Segment, ...]
    foreign: tuple[str, ...]


def list_segments(logdir: Path) -> Listing:
    """Read the folder of segments; a directory without one is an empty listing.

    Raises:
        StorageError: the folder cannot be read.
    """
    try:
        names = sorted(os.listdir(logdir / FOLDER))
    except (FileNotFoundError, NotADirectoryError):
        names = []
    except OSError as exc:
        raise StorageError(f"cannot list {logdir / FOLDER}: {exc.strerror}") from exc
    stems: dict[tuple[int, str], list[Path]] = {}
    foreign = []
    for name in names:
        match = _NAME.fullmatch(name)
        number = int(match[1]) if match else 0
        if match is None or f"{number:06d}" != match[1] or (match[4] and match[3] != "log"):
            foreign.append(name)
            continue
        stems.setdefault((number, f"{match[1]}-{match[2]}"), []).append(logdir / FOLDER / name)
    segments = [_group(number, stem, paths) for (number, stem), paths in sorted(stems.items())]
    return Listing(tuple(segments), tuple(foreign))


def _group(number: int, stem: str, paths: Iterable[Path]) -> Segment:
    by_ending = {path.name[len(stem) :]: path for path in paths}
    logs = tuple(by_ending[ending] for suffix in COMPRESSIONS if (ending := ".log" + suffix) in by_ending)
    return Segment(number, stem, logs, by_ending.get(".seal"), by_ending.get(".unsealed"))


class SegmentWriter:
    """The open segment of a log: entries go to one file, seal lines to the other, each made durable when told."""

    def __init__(self, stem: str, log: AppendFile, seal: AppendFile) -> None:
        self.stem = stem
        self.log = log
        self.seal = seal

    @classmethod
    def create(cls, logdir: Path, stem: str) -> SegmentWriter:
        """Make an empty pair; left-overs of the same name without any content are used again.

        Raises:
            StorageError: a file cannot be made, or one with content is there already.
        """
        make_directory(logdir / FOLDER)
        return cls(stem, *(_open_empty(logdir / FOLDER / (stem + ending)) for ending in (".log", ".seal")))

    @classmethod
    def reopen(cls, logdir: Path, stem: str) -> SegmentWriter:
        """Open an existing pair for appending at its present length.

        Raises:
            StorageError: a file of the pair is missing or cannot be opened.
        """
        folder = logdir / FOLDER
        log = AppendFile.open(folder / f"{stem}.log", create=False)
        return cls(stem, log, AppendFile.open(folder / f"{stem}.seal", create=False))

    def append_entries(self, data: memoryview | bytes) -> None:
        """Append entries and make them durable; the length is checked first, so that nothing foreign is between.

        Raises:
            StorageError: a file is not as long as the chain says, or the write failed (the file is as before).
        """
        self.log.check_length()
        self.log.append(data)
        self.log.sync()

    def append_lines(self, data: bytes) -> None:
        """Append whole seal lines and make them durable.

        Raises:
            StorageError: as `append_entries`.
        """
        self.seal.check_length()
        self.seal.append(data)
        self.seal.sync()

    def close(self) -> None:
        """Close both files; what was acknowledged is durable already."""
        self.log.close()
        self.seal.close()


def set_aside(logdir: Path, stem: str, log: AppendFile, sealed: int) -> int:
    """Move what follows the `sealed` bytes of an open log file to `STEM.unsealed`; the number of bytes moved.

    The copy is durable before the log is cut: a crash in between leaves the bytes twice, never not at all.
    """
    if (extra := log.length - sealed) <= 0:
        return 0
    path = logdir / FOLDER / f"{stem}.unsealed"
    kept = AppendFile.open(path, create=not path.exists())
    try:
        with (logdir / FOLDER / f"{stem}.log").open("rb") as source:
            source.seek(sealed)
            while chunk := source.read(1 << 20):
                kept.append(chunk)
        kept.sync()
    finally:
        kept.close()
    sync_directory(logdir / FOLDER)
    log.truncate(sealed)
    return extra


def _open_empty(path: Path) -> AppendFile:
    if not path.exists():
        return AppendFile.open(path, create=True)
    file = AppendFile.open(path, create=False)
    if file.length:
        file.close()
        raise StorageError(f"{path} has content that no chain accounts for", "move it out of the log directory")
    return file
