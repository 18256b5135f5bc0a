"""Segments: the file pairs of a log directory, their names, and appending to the open one."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from epochseal.errors import StorageError
from epochseal.storage.archive_path import ArchivePath
from epochseal.storage.durable import (
    AppendFile,
    DiskFullError,
    DurabilityError,
    make_directory,
    sync_directory,
)

FOLDER = "segments"
CHECKPOINT_FILE = "checkpoint"
"""The latest signed checkpoint, beside the folder of segments."""
_EXCHANGES = 100
"""The folder may be exchanged this often while it is listed; after that somebody plays with it."""
COMPRESSED_ENDINGS = {"gzip": ".gz", "zstd": ".zst"}
"""What a compressed log file has behind its name, by the kind of compression."""
_FORMS = ("", *COMPRESSED_ENDINGS.values())
_NAME = re.compile(
    r"([0-9]{6,18})-([0-9]{8}T[0-9]{6}Z)\.(log|seal|unsealed|torn)"
    rf"({'|'.join(map(re.escape, COMPRESSED_ENDINGS.values()))})?"
)


def segment_stem(number: int, time: int) -> str:
    """The name of a segment's files without their ending, from its number and its first epoch's time (ms)."""
    try:
        moment = datetime.fromtimestamp(time // 1000, tz=UTC)
    except (OverflowError, ValueError, OSError):
        # A clock that is off by ages must not stop sealing. The name is only for people: the header has the
        # time.
        moment = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    day = f"{moment.year:04d}{moment.month:02d}{moment.day:02d}"
    return f"{number:06d}-{day}T{moment.hour:02d}{moment.minute:02d}{moment.second:02d}Z"


def stem_time(stem: str) -> int:
    """The time in a segment's name, in ms; 0 where somebody has renamed it to what is no time."""
    try:
        moment = datetime.strptime(stem.partition("-")[2], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        # The name is for people alone: such a segment counts as old, and ends soon.
        return 0
    return int(moment.timestamp()) * 1000


class Segment(msgspec.Struct, frozen=True):
    """The files that share a stem: any of them may be missing, and the log may be there in several forms."""

    number: int
    stem: str
    logs: tuple[Path, ...]
    seal: Path | None
    unsealed: Path | None
    torn: Path | None = None

    def is_empty(self) -> bool:
        """Whether no file of it holds a byte: then a kill came between making the pair and its first line.

        Raises:
            StorageError: a file cannot be looked at.
        """
        try:
            return not any(path.stat().st_size for path in self.files())
        except OSError as exc:
            raise StorageError(f"cannot look at {exc.filename}: {exc.strerror}") from exc

    def remove(self) -> None:
        """Delete its files.

        Raises:
            StorageError: a file cannot be deleted.
        """
        try:
            for path in self.files():
                path.unlink()
        except OSError as exc:
            raise StorageError(f"cannot remove {exc.filename}: {exc.strerror}") from exc

    def files(self) -> list[Path]:
        """All files of it that are there."""
        return [path for path in (*self.logs, self.seal, self.unsealed, self.torn) if path is not None]


class Listing(msgspec.Struct, frozen=True):
    """What stands in a log directory: segments by number and stem, and names that belong to none.

    `not_files` are names of the segments' files, or the folder's own name, under which something else stands:
    a link, a FIFO, a device, a folder. Names that begin with a dot are files that are being made.
    """

    segments: tuple[Segment, ...]
    foreign: tuple[str, ...]
    not_files: tuple[str, ...] = ()
    names: tuple[tuple[str, bool], ...] = ()
    """All that was listed, each with whether it is a regular file."""


def log_name(logdir: Path) -> str:
    """The last part of a log's path, as it was named: links are not followed, and may even go in a circle."""
    if isinstance(logdir, ArchivePath):
        return logdir.name
    return os.path.basename(os.path.abspath(logdir))  # noqa: PTH100, PTH119  # Path.resolve follows links


def list_segments(logdir: Path) -> Listing:
    """Read the folder of segments; a directory without one is an empty listing.

    Raises:
        StorageError: the folder cannot be read, or is exchanged again and again.
    """
    stems: dict[tuple[int, str], list[Path]] = {}
    foreign, not_files = [], []
    names = _names(logdir / FOLDER)
    if names is None:
        return Listing((), (), (FOLDER,))
    for name, regular in names:
        if name.startswith("."):
            continue
        match = _NAME.fullmatch(name)
        number = int(match[1]) if match else 0
        if match is None or f"{number:06d}" != match[1] or (match[4] and match[3] != "log"):
            foreign.append(name)
            continue
        if not regular:
            not_files.append(name)
        stems.setdefault((number, f"{match[1]}-{match[2]}"), []).append(logdir / FOLDER / name)
    segments = [_group(number, stem, paths) for (number, stem), paths in sorted(stems.items())]
    return Listing(tuple(segments), tuple(foreign), tuple(not_files), tuple(names))


def is_listed_alike(logdir: Path, before: Listing) -> bool:
    """Whether the folder of segments has the same names as then; of an empty one that is not said.

    Raises:
        StorageError: as `list_segments`.
    """
    # A log may have thousands: to compare their names costs a tenth of what making segments of them does.
    return bool(before.names) and before.names == tuple(_names(logdir / FOLDER) or ())


def _names(folder: Path) -> list[tuple[str, bool]] | None:
    """What stands in the folder, by name, each with whether it is a regular file; None if it is no folder.

    Compression exchanges the whole folder and then empties the old one (compression.py): a list that was read
    from a folder which is not there any more may have holes, and is read again from the new one.
    """
    if isinstance(folder, ArchivePath):
        return [(name, True) for name in folder.names()]
    try:
        for _ in range(_EXCHANGES):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                with os.scandir(descriptor) as found:
                    names = sorted(
                        (entry.name, regular)
                        for entry in found
                        if (regular := _is_regular(entry)) is not None
                    )
                # Still the same folder? Its number tells: while it is open, no other folder can get that
                # number.
                if os.path.samestat(os.fstat(descriptor), folder.stat()):
                    return names
            finally:
                os.close(descriptor)
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        # Of a file or a link in its place; not if the log directory itself is none.
        return None if folder.parent.is_dir() else []
    except OSError as exc:
        raise StorageError(f"cannot list {folder}: {exc.strerror}") from exc
    raise StorageError(f"cannot list {folder}: it is exchanged by another one all the time", "try again")


def _is_regular(entry: os.DirEntry[str]) -> bool | None:
    """Whether it is a regular file; None if it is gone by now.

    Where a list of names does not tell what they are, each is looked at, and a file may expire before that:
    it is not there then, which is not to say that something else is.
    """
    if entry.is_file(follow_symlinks=False):
        return True
    try:
        return stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return None


def _group(number: int, stem: str, paths: Iterable[Path]) -> Segment:
    by_ending = {path.name[len(stem) :]: path for path in paths}
    logs = tuple(by_ending[ending] for suffix in _FORMS if (ending := ".log" + suffix) in by_ending)
    return Segment(number, stem, logs, *map(by_ending.get, (".seal", ".unsealed", ".torn")))


class SegmentWriter:
    """The open segment of a log: entries go to one file, seal lines to the other, each durable at once."""

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
        return cls._open_pair(logdir / FOLDER, stem, _open_empty)

    @classmethod
    def prepare(cls, logdir: Path, stem: str) -> SegmentWriter:
        """Make an empty pair under hidden names, which no reader looks at; `name` gives it its own.

        Raises:
            StorageError: a file cannot be made.
        """
        folder = logdir / FOLDER
        make_directory(folder)
        try:
            for ending in (".log", ".seal"):
                (folder / f".{stem}{ending}").unlink(missing_ok=True)
        except OSError as exc:
            raise StorageError(f"cannot remove {exc.filename}: {exc.strerror}") from exc
        pair = cls._open_pair(folder, f".{stem}", lambda path: AppendFile.open(path, create=True))
        pair.stem = stem
        return pair

    def name(self) -> None:
        """Give a prepared pair its names, durably: first the log file, so no seal file ever stands alone.

        Raises:
            StorageError: a file cannot be renamed, or one with content has its name.
        """
        for file, ending in ((self.log, ".log"), (self.seal, ".seal")):
            path = file.path.with_name(self.stem + ending)
            if path == file.path:
                continue
            try:
                if path.exists() and path.stat().st_size:
                    raise StorageError(
                        f"{path} has content that no chain accounts for", "move it out of the log directory"
                    )
                file.path.rename(path)
            except OSError as exc:
                kind = DiskFullError if exc.errno in {errno.ENOSPC, errno.EDQUOT} else DurabilityError
                raise kind(f"cannot name {path}: {exc.strerror}", exc.errno) from exc
            file.path = path
        sync_directory(self.log.path.parent)

    @classmethod
    def reopen(cls, logdir: Path, stem: str) -> SegmentWriter:
        """Open a pair for appending at its present length; a file of it that has no name yet is made.

        Raises:
            StorageError: a file of the pair cannot be opened or made.
        """
        return cls._open_pair(logdir / FOLDER, stem, open_or_create)

    @classmethod
    def _open_pair(cls, folder: Path, stem: str, open_file: Callable[[Path], AppendFile]) -> SegmentWriter:
        log = open_file(folder / f"{stem}.log")
        try:
            return cls(stem, log, open_file(folder / f"{stem}.seal"))
        except BaseException:
            log.close()
            raise

    def check_lengths(self) -> None:
        """Refuse files that somebody else made longer or shorter: nothing foreign is ever sealed in between.

        Raises:
            StorageError: a file is not as long as the chain says.
        """
        self.log.check_length()
        self.seal.check_length()

    def append_entries(self, data: memoryview | bytes) -> None:
        """Append entries and make them durable.

        Raises:
            StorageError: a file is not as long as the chain says, or the write failed.
        """
        self.check_lengths()
        self.log.append(data)
        self.log.sync()

    def append_lines(self, data: bytes) -> None:
        """Append whole seal lines and make them durable.

        Raises:
            StorageError: as `append_entries`, but of the seal file alone: the log file of a segment that has
                ended may have been compressed or shipped by the time its checkpoint is signed.
        """
        self.seal.check_length()
        self.seal.append(data)
        self.seal.sync()

    def close(self) -> None:
        """Close both files; what was acknowledged is durable already."""
        self.log.close()
        self.seal.close()


def open_or_create(path: Path) -> AppendFile:
    """Open a file for appending; make it if it is not there.

    Raises:
        DurabilityError: as `AppendFile.open`.
    """
    return AppendFile.open(path, create=not os.path.lexists(path))


def _open_empty(path: Path) -> AppendFile:
    if not path.exists():
        return AppendFile.open(path, create=True)
    file = AppendFile.open(path, create=False)
    if file.length:
        file.close()
        raise StorageError(
            f"{path} has content that no chain accounts for", "move it out of the log directory"
        )
    return file
