"""What a start finds and does not seal: it is moved to `STEM.unsealed` and `STEM.torn`, or removed if empty.

A copy is durable before its source is cut or removed: a crash in between leaves bytes twice, never none.
"""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path

from epochseal.errors import StorageError
from epochseal.storage.durable import AppendFile, DiskFullError, sync_directory
from epochseal.storage.holes import data_ranges
from epochseal.storage.opener import open_disk_file
from epochseal.storage.segments import FOLDER, Segment, open_or_create

_CHUNK = 1 << 20


def set_aside(logdir: Path, stem: str, log: AppendFile, sealed: int) -> int:
    """Move what follows the `sealed` bytes of an open log file to `STEM.unsealed`; the number of bytes moved.

    Raises:
        StorageError: a file cannot be read or written; after `DiskFullError` the same call may be made again.
    """
    return _move_end(log, sealed, logdir / FOLDER / f"{stem}.unsealed")


def cut_tear(logdir: Path, stem: str, seal: AppendFile, kept: int, *, torn_note: bool) -> int:
    """Move what follows the `kept` bytes of a seal file to `STEM.torn`; the number of bytes moved.

    The beginning of a note is cut without a trace: it is no line of the log, and is asked for again.

    Raises:
        StorageError: as `set_aside`.
    """
    if torn_note:
        if seal.length > kept:
            seal.truncate(kept)
        return 0
    return _move_end(seal, kept, logdir / FOLDER / f"{stem}.torn")


def absorb(logdir: Path, stem: str, strange: Segment) -> tuple[int, int]:
    """Append what a segment without an epoch line holds to the asides of the segment `stem`, and remove it.

    Returns:
        The bytes moved to `.unsealed`, and those moved to `.torn`.

    Raises:
        StorageError: as `set_aside`.
    """
    unsealed, torn = logdir / FOLDER / f"{stem}.unsealed", logdir / FOLDER / f"{stem}.torn"
    moved = [0, 0]
    # The seal file goes first: what is left is then a segment without one, and is moved by the next start.
    for number, source, target in (
        *((1, path, torn) for path in (strange.seal, strange.torn) if path is not None),
        *((0, path, unsealed) for path in (strange.unsealed, *strange.logs) if path is not None),
    ):
        moved[number] += _append_file(source, 0, target)
        _unlink(source)
    return moved[0], moved[1]


def remove_segment(segment: Segment) -> None:
    """Remove a segment that was begun and never used, the seal file first.

    An empty log file alone is what a start leaves that was interrupted; a line without its log file is not.

    Raises:
        StorageError: a file cannot be removed.
    """
    for path in sorted(segment.files(), key=lambda path: path != segment.seal):
        _unlink(path)


def remove_hidden(logdir: Path) -> None:
    """Remove pairs of files that were prepared for a next segment and never got their names.

    Raises:
        StorageError: a file cannot be removed.
    """
    folder = logdir / FOLDER
    try:
        hidden = [path for path in folder.iterdir() if path.name.startswith(".")]
    except FileNotFoundError:
        return
    except OSError as exc:
        raise StorageError(f"cannot list {folder}: {exc.strerror}") from exc
    for path in hidden:
        if path.suffix in {".log", ".seal"}:
            _unlink(path)


def _move_end(file: AppendFile, start: int, target: Path) -> int:
    if file.length <= start:
        return 0
    moved = _append_file(file.path, start, target)
    file.truncate(start)
    return moved


def _append_file(source: Path, start: int, target: Path) -> int:
    """Append a file from byte `start` on to another one, durably."""
    try:
        with open_disk_file(source) as file:
            if file.seek(0, os.SEEK_END) <= start:
                return 0
            kept = open_or_create(target)
            before = kept.length
            try:
                # What is added meanwhile goes with it.
                while (stop := file.seek(0, os.SEEK_END)) > start:
                    _append_range(file, start, stop, kept)
                    start = stop
                kept.sync()
            except DiskFullError:
                # The next try appends the whole copy: a half that was left here would stand before it.
                kept.truncate(before)
                raise
            finally:
                kept.close()
    except OSError as exc:
        raise StorageError(f"cannot read {source}: {exc.strerror}") from exc
    sync_directory(target.parent)
    return kept.length - before


def _append_range(file: FileIO, start: int, stop: int, kept: AppendFile) -> None:
    """Append bytes `start` to `stop` of a file; holes stay holes: they may be larger than the disk."""
    for begin, end in data_ranges(file.fileno(), stop):
        if end <= start:
            continue
        if begin > start:
            kept.append_hole(begin - start)
            start = begin
        file.seek(start)
        while start < end and (chunk := file.read(min(end - start, _CHUNK))):
            kept.append(chunk)
            start += len(chunk)
    if start < stop:
        kept.append_hole(stop - start)


def _unlink(path: Path) -> None:
    try:
        path.unlink()
    except OSError as exc:
        raise StorageError(f"cannot remove {path}: {exc.strerror}") from exc
    sync_directory(path.parent)
