"""What there is to verify: a snapshot of the log directory (docs/format.md, 13.2)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from epochseal.errors import FormatError, StorageError
from epochseal.format.note import MAX_NOTE, parse_checkpoint, parse_note
from epochseal.format.seal_lines import Header
from epochseal.storage.opener import GoneError, NotAFileError, open_file, read_file
from epochseal.storage.segments import Listing, Segment, list_segments
from epochseal.verifier.seal_files import EpochPart, SealFile, cut_seal_file
from epochseal.verifier.seal_tail import is_unfinished, read_tail

SETTLE_SECONDS = 3.0

_FRESH_SECONDS = 30.0

_Identity = tuple[int, int, int] | None


@dataclass(slots=True)
class SegmentPart:
    """One whole segment as it was when the snapshot was taken; `last` if no stem has a greater number.

    `copied` is the tree size that the file `checkpoint` states, 0 if it is none.
    """

    segment: Segment
    log: Path
    seal: Path
    lines: SealFile
    last: bool
    copied: int = 0
    identity: tuple[_Identity, _Identity] = (None, None)

    @property
    def epochs(self) -> list[EpochPart]:
        """Its epochs, in order."""
        return self.lines.epochs

    @property
    def sealed(self) -> int:
        """Where the sealed entries end in the log file, in bytes."""
        return self.lines.sealed

    @property
    def end_entry(self) -> int:
        """The number of the entry after its last one, as far as its lines say; -1 if they do not."""
        return self.lines.end_entry

    @property
    def first_entry(self) -> int:
        """The number of the segment's first entry, as far as its lines say."""
        return next((part.header.first_entry for part in self.epochs if part.header is not None), 0)


@dataclass(slots=True)
class Snapshot:
    """The snapshot; files with signed notes come first: lines are durable before they are signed.

    `not_files` are names under which something else than a file stands, `gone` the numbers of segments of
    which a file was gone when it was to be opened.
    """

    listing: Listing
    checkpoint: bytes | None = None
    witnessed: bytes | None = None
    not_files: list[str] = field(default_factory=list)
    parts: list[SegmentPart] = field(default_factory=list)
    gone: set[int] = field(default_factory=set)

    last_number: int = 0
    """The greatest number of a segment, 0 if there is none."""

    def settle_last(self, number: int) -> None:
        """Take another segment for the last one, and cut its seal file as that of one.

        Raises:
            StorageError: it cannot be read.
        """
        self.last_number = number
        for place, part in enumerate(self.parts):
            if part.last != (part.segment.number == number):
                last = part.segment.number == number
                again = _read_part(part.segment, part.seal, part.log, last=last)
                again.copied = part.copied
                self.parts[place] = again
        _look_ahead(self.parts)


def take_snapshot(
    logdir: Path, *, witnessed: bool = True, sleep: Callable[[float], None] = time.sleep
) -> Snapshot:
    """Read what is there; while a living agent is in the middle of something, wait for it a moment.

    `witnessed`: read the file of that name too.

    Raises:
        StorageError: a file cannot be read.
    """
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        snapshot = _look(logdir, witnessed=witnessed)
        if time.monotonic() > deadline or (
            is_unchanged(snapshot, logdir) and not _is_in_motion(snapshot.parts)
        ):
            return snapshot
        sleep(0.1)


def is_unchanged(snapshot: Snapshot, logdir: Path) -> bool:
    """Whether what was read still stands there; the last segment may have grown, and others followed it.

    Raises:
        StorageError: the folder cannot be listed.
    """
    if snapshot.gone:
        return False
    now = list_segments(logdir).segments
    if tuple(item for item in now if item.number < snapshot.last_number) != tuple(
        item for item in snapshot.listing.segments if item.number < snapshot.last_number
    ):
        return False
    return all(
        part.last or part.identity == (_identity(part.seal), _identity(part.log)) for part in snapshot.parts
    )


def _look(logdir: Path, *, witnessed: bool) -> Snapshot:
    not_files: list[str] = []
    cosigned = _note(logdir / "witnessed", not_files) if witnessed else None
    checkpoint = _note(logdir / "checkpoint", not_files)
    listing = list_segments(logdir)
    snapshot = Snapshot(listing, checkpoint, cosigned, [*not_files, *listing.not_files])
    snapshot.last_number = max((segment.number for segment in listing.segments), default=0)
    read: set[int] = set()
    for segment in listing.segments:
        # Of several stems with one number the first whole one is read.
        if segment.seal is None or not segment.logs or segment.number in read:
            continue
        read.add(segment.number)
        try:
            last = segment.number == snapshot.last_number
            part = _read_part(segment, segment.seal, segment.logs[0], last=last)
            part.copied = stated_size(checkpoint or b"")
            snapshot.parts.append(part)
        except GoneError:
            snapshot.gone.add(segment.number)
    _look_ahead(snapshot.parts)
    return snapshot


def stated_size(raw: bytes) -> int:
    """The tree size of a note in the form of section 8, 0 if it is none; its signature is not looked at."""
    try:
        return parse_checkpoint(parse_note(raw).text).size
    except FormatError:
        return 0


def _note(path: Path, not_files: list[str]) -> bytes | None:
    try:
        return read_file(path, MAX_NOTE)
    except GoneError:
        return None
    except NotAFileError:
        not_files.append(path.name)
        return b""


def _read_part(segment: Segment, seal: Path, log: Path, *, last: bool) -> SegmentPart:
    identity = _identity(seal), _identity(log)
    try:
        with open_file(seal) as file:
            lines = cut_seal_file(file, os.fstat(file.fileno()).st_size, last=last)
    except NotAFileError:
        # The listing has said so; what is not read is as good as empty.
        lines = SealFile([])
    except OSError as exc:
        raise StorageError(f"cannot read {seal}: {exc.strerror}") from exc
    return SegmentPart(segment, log, seal, lines, last, identity=identity)


def _identity(path: Path) -> _Identity:
    with suppress(OSError):
        status = path.lstat()
        return status.st_dev, status.st_ino, status.st_size
    return None


def _look_ahead(parts: list[SegmentPart]) -> None:
    following: Header | None = None
    for part in reversed(parts):
        for place in range(len(part.epochs) - 1, -1, -1):
            epoch = part.epochs[place]
            before = epoch.header.epoch if epoch.header is not None else None
            if following is not None and before in (None, following.epoch - 1):
                part.epochs[place] = replace(
                    epoch,
                    asked_line=following.asked.line,
                    next_line=following.tree.size,
                    next_entry=following.first_entry,
                )
            following = epoch.header


def _is_in_motion(parts: list[SegmentPart]) -> bool:
    """Whether the last segment was written just now, and ends in the middle of something."""
    if not parts or not parts[-1].last:
        return False
    last, before = parts[-1], parts[-2] if len(parts) > 1 else None
    with suppress(OSError):
        if time.time() - last.seal.stat().st_mtime > _FRESH_SECONDS:
            return False
    # Only behind the end of a segment can an epoch stand that has to be signed though it has a carry.
    behind = read_tail(before.seal, before.lines) if before is not None and len(last.epochs) == 1 else None
    return bool(last.lines.torn) or is_unfinished(read_tail(last.seal, last.lines), behind)
