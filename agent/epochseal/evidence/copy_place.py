"""Where a copy of a log lies: at each moment the copy before or the new one, whole, whatever happens.

A copy is put together in `.segments.new`, and takes the place of `segments` in one step. `checkpoint` and
`witnessed` are written behind that, though they were read before everything else: until then the older ones
stand beside the newer lines, which have all that those were signed over. Where the file system cannot
exchange two folders, the two files go first, then the folders are renamed one after the other: a kill
between these leaves nothing to verify, and the next run begins by giving the former folder its name back.

What a kill leaves in `.segments.new` is files that are whole, each under the name that it has in the log;
the next run goes on with them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from epochseal.errors import ConfigError, LogBusy, StorageError
from epochseal.format.note import MAX_NOTE
from epochseal.storage.durable import DirectoryLock, make_directory, replace_file, sync_directory
from epochseal.storage.exchange import NoExchangeError, exchange_folders
from epochseal.storage.opener import GoneError, read_file
from epochseal.storage.segments import CHECKPOINT_FILE, FOLDER, Listing, list_segments
from epochseal.verifier.snapshot import stated_size

WITNESSED_FILE = "witnessed"
TIMESTAMPS = "timestamps"

_NEW, _OLD = ".segments.new", ".segments.old"
_NOTES = (WITNESSED_FILE, CHECKPOINT_FILE)
_OURS = frozenset({FOLDER, TIMESTAMPS, _NEW, _OLD, *_NOTES, *(f".{name}.new" for name in _NOTES)})


class CopyPlace:
    """The directory of a copy, held against other copies until `close`.

    Attributes:
        folder: where it is.
        work: the folder that the next copy is put together in.
        published: the segments of the copy that is there.
        size: the tree size that its `checkpoint` states, 0 if there is none.

    Raises:
        ConfigError: it is in the log, or is not empty and no copy of a log.
        LogBusy: another copy, or an agent, is at work there.
        StorageError: it cannot be made or looked at.
    """

    def __init__(self, folder: Path, logdir: Path) -> None:
        try:
            inside = folder.resolve()
        except RuntimeError as exc:
            raise ConfigError(f"{folder} is a link that leads to itself", "name a directory") from exc
        if logdir.resolve() in (inside, *inside.parents):
            raise ConfigError(
                f"{folder} is in the log that is to be copied", "name a directory that is outside of it"
            )
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder} is no directory", "name another one")
        self.folder = folder
        make_directory(folder, _mode(logdir))
        try:
            self._lock = DirectoryLock(folder)
        except LogBusy as exc:
            raise LogBusy(
                f"another copy to {folder} is under way, or an agent holds it", "wait for it"
            ) from exc
        try:
            self._open(logdir)
        except BaseException:
            self._lock.close()
            raise

    def _open(self, logdir: Path) -> None:
        segments, old = self.folder / FOLDER, self.folder / _OLD
        self.work = self.folder / _NEW
        try:
            if old.is_dir() and not os.path.lexists(segments):
                old.rename(segments)
            foreign = sorted({entry.name for entry in os.scandir(self.folder)} - _OURS)
            self.work.mkdir(_mode(logdir / FOLDER), parents=False, exist_ok=True)
        except OSError as exc:
            raise StorageError(f"cannot use {exc.filename}: {exc.strerror}") from exc
        self.published: Listing = list_segments(self.folder)
        if self.published.not_files:
            raise ConfigError(f"{self.folder} is no copy: {self.published.not_files[0]} is no file")
        if foreign and not self.published.segments:
            raise ConfigError(
                f"{self.folder} is not empty, and holds no copy of a log: {foreign[0]}",
                "name a directory that is empty or absent",
            )
        self.size = stated_size(read_note(self.folder / CHECKPOINT_FILE) or b"")

    def publish(self, checkpoint: bytes | None, witnessed: bytes | None) -> None:
        """Put what is in the work folder in the place of the copy that was there, durably, then the notes.

        Raises:
            StorageError: a system call failed; what is there is the copy before or the new one.
        """
        sync_directory(self.work)
        segments = self.folder / FOLDER
        try:
            if segments.exists():
                self._take_place_of(segments)
            else:
                self.work.rename(segments)
            sync_directory(self.folder)
            for name, data in zip(_NOTES, (witnessed, checkpoint), strict=True):
                if data is not None:
                    replace_file(self.folder / name, data)
            for name in (_NEW, _OLD):
                if (self.folder / name).exists():
                    shutil.rmtree(self.folder / name)
        except OSError as exc:
            raise StorageError(f"cannot write {exc.filename or self.folder}: {exc.strerror or exc}") from exc

    def _take_place_of(self, segments: Path) -> None:
        try:
            exchange_folders(self.work, segments)
        except NoExchangeError:
            for name in _NOTES:
                (self.folder / name).unlink(missing_ok=True)
            sync_directory(self.folder)
            old = self.folder / _OLD
            if old.exists():
                shutil.rmtree(old)
            segments.rename(old)
            self.work.rename(segments)

    def close(self) -> None:
        """Let others copy there."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_note(path: Path) -> bytes | None:
    """What a file with a signed note holds; None if there is none.

    Raises:
        NotAFileError, StorageError: it cannot be read.
    """
    try:
        return read_file(path, MAX_NOTE)
    except GoneError:
        return None


def _mode(folder: Path) -> int:
    """The mode of a copy of this folder; ours may always write there."""
    try:
        return folder.stat().st_mode & 0o777 | 0o700
    except OSError:
        return 0o750
