"""What the file system says of a log's files without reading one: whether there is anything new to verify.

A stamp proves nothing, and nothing is believed for it: whoever may write the files may set their times. It
only decides when a log is looked at next; the scrub reads everything, whatever the stamps say.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from zlib import crc32

from epochseal.errors import EpochsealError
from epochseal.storage.archive_path import parse_archive
from epochseal.storage.log_past import CHECKPOINTS
from epochseal.storage.segments import CHECKPOINT_FILE, FOLDER
from epochseal.verifier import ResumePoint

_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Stamps:
    """Of the files before a resume point's segment, and of all others; equal ones: nothing was changed."""

    old: str
    new: str


def stamps_of(place: str, since: ResumePoint | None) -> Stamps:
    """Look at the names, sizes and times of a log's files; what cannot be looked at has a stamp too."""
    if "://" in place:
        return _stamps_of_archive(place, since)
    # A thousand logs are looked at in each round: plain calls, and sums, in whatever order the names come.
    old = new = 0
    first = f"{since.segment:06d}-" if since is not None else ""
    try:
        with os.scandir(f"{place}/{FOLDER}") as found:
            for entry in found:
                name, row = entry.name, _row(entry.name, entry.stat(follow_symlinks=False))
                # Numbers have six digits, or more without a leading zero.
                if (name.find("-"), name) < (len(first) - 1, first):
                    old += row
                else:
                    new += row
    except OSError as exc:
        new += exc.errno or 1
    try:
        new += _row(CHECKPOINT_FILE, os.lstat(f"{place}/{CHECKPOINT_FILE}"))  # as above
    except OSError as exc:
        new += exc.errno or 1
    return Stamps(f"{old & _MASK:x}", f"{new & _MASK:x}")


def rows_of(place: str, first: int) -> dict[str, int]:
    """The same of each file of the segments from number `first` on, by its name."""
    if "://" in place:
        return {name: row for name, row in _rows_of_archive(place, FOLDER) if _segment_of(name) >= first}
    try:
        with os.scandir(f"{place}/{FOLDER}") as found:
            return {
                entry.name: _row(entry.name, entry.stat(follow_symlinks=False))
                for entry in found
                if _segment_of(entry.name) >= first
            }
    except OSError:
        return {}


def old_stamp(before: str, rows: dict[str, int], first: int, until: int) -> str:
    """`Stamps.old`, which was `before`, once the files of segments from `first` up to `until` are old too."""
    more = sum(row for name, row in rows.items() if first <= _segment_of(name) < until)
    total = int(before or "0", 16) + more
    return f"{total & _MASK:x}"


def _segment_of(name: str) -> int:
    number = name.partition("-")[0]
    return int(number) if number.isdecimal() and number.isascii() else 0


def _stamps_of_archive(place: str, since: ResumePoint | None) -> Stamps:
    first = since.segment if since is not None else 0
    old = new = 0
    for name, row in _rows_of_archive(place, FOLDER):
        if _segment_of(name) < first:
            old += row
        else:
            new += row
    new += sum(row for _, row in _rows_of_archive(place, CHECKPOINTS))
    return Stamps(f"{old & _MASK:x}", f"{new & _MASK:x}")


def _rows_of_archive(place: str, folder: str) -> list[tuple[str, int]]:
    """What the store's list says of each object; what cannot be listed now looks as if it had changed."""
    try:
        found = (parse_archive(place) / folder).objects()
    except (EpochsealError, OSError):
        return []
    return [
        (item.key.rpartition("/")[2], crc32(f"{item.key} {item.etag} {item.size} {item.modified}".encode()))
        for item in found
    ]


def _row(name: str, seen: os.stat_result) -> int:
    # Of numbers alone, whose hash is the same in every process.
    number = crc32(os.fsencode(name))
    return hash((number, seen.st_ino, seen.st_mode, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns))
