"""A log whose past is in an archive: which of its segments are read where, and the checkpoints kept there."""

from __future__ import annotations

import re
from pathlib import Path

from msgspec.structs import replace

from epochseal.format.note import MAX_NOTE
from epochseal.storage.archive_path import ArchivePath
from epochseal.storage.opener import GoneError, open_file, read_file
from epochseal.storage.segments import CHECKPOINT_FILE, Listing, Segment, list_segments

CHECKPOINTS = "checkpoints"
"""The folder of an archive with an object for each checkpoint, named by its tree size."""
_SIZE_DIGITS = 20
_END = 64 << 10
_INDEX = re.compile(rb"[a-z]+ ([0-9]{1,18}) ")
_NAME = re.compile(f"[0-9]{{{_SIZE_DIGITS}}}")


def checkpoint_name(size: int) -> str:
    """The name of the object that holds the checkpoint of a tree of this size."""
    return f"{size:0{_SIZE_DIGITS}d}"


def join_listings(here: Listing, past: Listing) -> Listing:
    """The segments of both: one that is whole in the directory is read there, any other one in the archive.

    The directory must have been listed first: what expires there meanwhile was archived before.
    """
    segments = {(item.number, item.stem): item for item in past.segments}
    for item in here.segments:
        name = item.number, item.stem
        if name not in segments or _is_whole(item):
            segments[name] = item
        else:
            # What a start has set aside is a finding, wherever the segment is read.
            segments[name] = replace(
                segments[name],
                unsealed=item.unsealed or segments[name].unsealed,
                torn=item.torn or segments[name].torn,
            )
    joined = tuple(segments[name] for name in sorted(segments))
    return Listing(joined, (*here.foreign, *past.foreign), (*here.not_files, *past.not_files))


def read_checkpoint(logdir: Path) -> bytes:
    """The file `checkpoint` of a log; of an archive its newest checkpoint over lines that are there.

    Later ones are over lines that have not left their host yet: they say nothing of what is there.

    Raises:
        GoneError: there is none.
        NotAFileError, StorageError: as `read_file`.
    """
    if not isinstance(logdir, ArchivePath):
        return read_file(logdir / CHECKPOINT_FILE, MAX_NOTE)
    found = newest_checkpoint(logdir, _count_lines(logdir))
    if found is None:
        raise GoneError(f"there is no checkpoint in {logdir}")
    return found


def newest_checkpoint(archive: ArchivePath, most: int | None = None) -> bytes | None:
    """The checkpoint of the largest tree of up to `most` lines that is in the archive, None if there is none.

    Raises:
        StorageError: it cannot be read.
    """
    folder = archive / CHECKPOINTS
    names = [name for name in folder.names() if _NAME.fullmatch(name)]
    sizes = [size for size in map(int, names) if most is None or size <= most]
    if not sizes:
        return None
    try:
        return read_file(folder / checkpoint_name(max(sizes)), MAX_NOTE)
    except GoneError:
        # It was listed a moment ago: as good as a note that cannot be read.
        return b""


def _count_lines(archive: ArchivePath) -> int:
    """How many lines the log has in the archive, as far as its last line says; 0 if it does not."""
    seals = [item.seal for item in list_segments(archive).segments if item.seal is not None]
    if not seals:
        return 0
    with open_file(seals[-1]) as file:
        lines = file.pread(_END, max(file.size - _END, 0)).split(b"\n")[1:-1]
    last = next((line for line in reversed(lines) if not line.startswith(b"note ")), b"")
    match = _INDEX.match(last)
    return int(match[1]) + 1 if match else 0


def _is_whole(segment: Segment) -> bool:
    return segment.seal is not None and bool(segment.logs)
