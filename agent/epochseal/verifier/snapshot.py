"""What there is to verify: a snapshot of the log directory (docs/format.md, 13.2)."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec.structs import replace
from msgspec.structs import replace as replace_fields

from epochseal.errors import FormatError, StorageError
from epochseal.format.note import MAX_NOTE, parse_checkpoint, parse_note
from epochseal.format.seal_lines import Header
from epochseal.storage.archive_path import ArchivePath
from epochseal.storage.holes import stored_bytes
from epochseal.storage.log_past import join_listings, newest_checkpoint, read_checkpoint
from epochseal.storage.opener import GoneError, NotAFileError, open_file, read_file
from epochseal.storage.segments import COMPRESSED_ENDINGS, Listing, Segment, is_listed_alike, list_segments
from epochseal.storage.settling import looks, settling_ends
from epochseal.storage.stored_file import StoredFile
from epochseal.verifier.epoch_mark import EpochMark
from epochseal.verifier.reading_budget import NOTHING, Reading, allot, reading_of
from epochseal.verifier.resume_point import ResumePoint
from epochseal.verifier.seal_files import EpochPart, SealFile, cut_seal_file
from epochseal.verifier.seal_tail import is_unfinished, read_tail
from epochseal.verifier.sealed_entries import SealedEntries

_FRESH_SECONDS = 30.0
_END = 4096

_Identity = tuple[int, int, int] | None


class SegmentPart(msgspec.Struct):
    """One whole segment as it was when the snapshot was taken; `last` if no stem has a greater number.

    `copied` is the tree size that the file `checkpoint` states, 0 if it is none; `stored` what the log file
    takes on the disk, `reading` what it may cost. `seal_end` is the end of the last seal file, as it was
    read. `marks` say what of its epochs was verified before, by the bytes at which they begin.
    """

    segment: Segment
    log: Path
    seal: Path
    lines: SealFile
    last: bool
    stored: int = 0
    copied: int = 0
    reading: Reading = NOTHING
    identity: tuple[_Identity, _Identity] = (None, None)
    seal_end: bytes = b""
    marks: dict[int, EpochMark] = msgspec.field(default_factory=dict)

    def is_as_it_was(self) -> bool:
        """Whether what was read of its files since the snapshot is what stood there then.

        What is gone now was there when it was opened: a segment that expires, and a log file that is
        compressed, are read to their ends all the same. The last segment grows.
        """
        (seal, log), now = self.identity, (_identity(self.seal), _identity(self.log))
        if not self.last or not self.epochs:
            return all(found in (None, was) for found, was in zip(now, self.identity, strict=True))
        if now[1] is not None and (
            log is None or now[1][:2] != log[:2] or now[1][2] < min(log[2], self.sealed)
        ):
            return False
        # A start may cut off what is torn, and set aside lines that do not follow: then it is another file.
        return seal is not None and now[0] is not None and now[0][:2] == seal[:2] and self._ends_as_it_did()

    def _ends_as_it_did(self) -> bool:
        stop = self.lines.stop + self.lines.torn
        try:
            with open_file(self.seal) as file:
                return file.pread(len(self.seal_end), stop - len(self.seal_end)) == self.seal_end
        except (OSError, StorageError):
            return False

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
        return self.lines.first_entry


class Snapshot(msgspec.Struct):
    """The snapshot; files with signed notes come first: lines are durable before they are signed.

    `not_files` are names under which something else than a file stands, `gone` the numbers of segments that
    could not be read as they were listed: a file was gone, or another one stood there. `empty_halves` are the
    stems that lack one of their two files, and of which the other one is empty.
    """

    listing: Listing
    checkpoint: bytes | None = None
    witnessed: bytes | None = None
    not_files: list[str] = msgspec.field(default_factory=list)
    parts: list[SegmentPart] = msgspec.field(default_factory=list)
    gone: set[int] = msgspec.field(default_factory=set)
    empty_halves: set[str] = msgspec.field(default_factory=set)

    archived: bytes | None = None
    """The newest checkpoint of the archive that has the log's past."""

    since: ResumePoint | None = None
    """Where it begins, if not at the beginning of the log."""

    marks: Sequence[EpochMark] = ()
    """What was verified before."""

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
                again = _read_part(part.segment, part.seal, part.log, last=last, since=self.since)
                again.copied = part.copied
                self.parts[place] = again
        self.prepare()

    def prepare(self) -> None:
        """Say of each part what only all of them together tell."""
        _look_ahead(self.parts)
        files = [(part.stored, part.sealed, part.lines.stop) for part in self.parts]
        for part, reading in zip(self.parts, allot(files), strict=True):
            part.reading = reading
            part.marks = {mark.part.start: mark for mark in self.marks if mark.stem == part.segment.stem}


def take_snapshot(
    logdir: Path,
    *,
    archive: ArchivePath | None = None,
    witnessed: bool = True,
    since: ResumePoint | None = None,
    marks: Sequence[EpochMark] = (),
    until: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Snapshot:
    """Read what is there; while a living agent is in the middle of something, wait for it a moment.

    `archive`: where the log's past is, if not in the directory. `witnessed`: read the file of that name too.
    `since`: leave out what stands before it. `marks`: of what need not be read again.
    `until`: look again up to that time, of the monotonic clock; by default for as long as from now on.

    Raises:
        StorageError: a file cannot be read.
        ResumeMisfitError: there is no such place any more.
    """
    for last in looks(settling_ends() if until is None else until, sleep=sleep):
        snapshot = _look(logdir, archive, witnessed=witnessed, since=since, marks=marks)
        before = snapshot.listing
        now = before if is_listed_alike(logdir, before) else _list(logdir, archive, since)
        snapshot.gone |= _listed_otherwise(before, now, snapshot.last_number)
        # A log that begins, or a copy whose folder is just put in its place.
        appeared = bool(now.segments) and not before.segments
        if last or not (snapshot.gone or appeared or _is_in_motion(snapshot)):
            return snapshot
    raise AssertionError("looks() ends with a last one")


def _listed_otherwise(before: Listing, now: Listing, last: int) -> set[int]:
    """The numbers of segments of which other files stand there now; what follows the last one is new."""
    if now.segments is before.segments:
        return set()
    changed = {*before.segments} ^ {*now.segments}
    return {item.number for item in changed if item.number <= last}


def _list(logdir: Path, archive: ArchivePath | None, since: ResumePoint | None) -> Listing:
    listing = list_segments(logdir)
    if archive is not None:
        listing = join_listings(listing, list_segments(archive))
    if since is None:
        return listing
    return replace(listing, segments=tuple(item for item in listing.segments if item.number >= since.segment))


def _look(
    logdir: Path,
    archive: ArchivePath | None,
    *,
    witnessed: bool,
    since: ResumePoint | None,
    marks: Sequence[EpochMark],
) -> Snapshot:
    not_files: list[str] = []
    cosigned = _note("witnessed", _read_witnessed, logdir, not_files) if witnessed else None
    checkpoint = _note("checkpoint", read_checkpoint, logdir, not_files)
    archived = newest_checkpoint(archive) if archive is not None else None
    listing = _list(logdir, archive, since)
    snapshot = Snapshot(
        listing,
        checkpoint,
        cosigned,
        [*not_files, *listing.not_files],
        archived=archived,
        since=since,
        marks=marks,
    )
    snapshot.last_number = max((segment.number for segment in listing.segments), default=0)
    read: set[int] = set()
    copied = stated_size(checkpoint or b"")
    for segment in listing.segments:
        # Of several stems with one number the first whole one is read.
        if segment.seal is None or not segment.logs:
            if _is_empty_half(segment):
                snapshot.empty_halves.add(segment.stem)
            continue
        if segment.number in read:
            continue
        read.add(segment.number)
        try:
            last = segment.number == snapshot.last_number
            part = _read_part(segment, segment.seal, segment.logs[0], last=last, since=since)
            part.copied = copied
            snapshot.parts.append(part)
        except GoneError:
            snapshot.gone.add(segment.number)
    snapshot.prepare()
    return snapshot


def stated_size(raw: bytes) -> int:
    """The tree size of a note in the form of section 8, 0 if it is none; its signature is not looked at."""
    try:
        return parse_checkpoint(parse_note(raw).text).size
    except FormatError:
        return 0


def _note(name: str, read: Callable[[Path], bytes], logdir: Path, not_files: list[str]) -> bytes | None:
    try:
        return read(logdir)
    except GoneError:
        return None
    except NotAFileError:
        not_files.append(name)
        return b""


def _read_witnessed(logdir: Path) -> bytes:
    return read_file(logdir / "witnessed", MAX_NOTE)


def _read_part(
    segment: Segment, seal: Path, log: Path, *, last: bool, since: ResumePoint | None
) -> SegmentPart:
    end, opened = b"", None
    try:
        with open_file(seal) as file:
            # An object's is that of the list, which it was opened by.
            opened = os.fstat(file.fileno()) if not isinstance(file, StoredFile) else None
            size = file.size
            here = since if since is not None and segment.number == since.segment else None
            lines = cut_seal_file(file, size, last=last, start=here.seal_start if here is not None else 0)
            if here is not None:
                lines = here.cut(lines)
            if last:
                end = file.pread(min(size, _END), max(size - _END, 0))
    except NotAFileError:
        # The listing has said so; what is not read is as good as empty.
        lines = SealFile([])
    except OSError as exc:
        raise StorageError(f"cannot read {seal}: {exc.strerror}") from exc
    identity = _identity_of(opened) if opened is not None else _identity(seal), _identity(log)
    stored = _stored(log)
    return SegmentPart(segment, log, seal, lines, last, stored, identity=identity, seal_end=end)


def _stored(log: Path) -> int:
    # A living agent may have put the compressed one in its place since it was listed.
    for ending in ("", *COMPRESSED_ENDINGS.values()):
        with suppress(GoneError, NotAFileError):
            return stored_bytes(log.with_name(log.name + ending) if ending else log)
    return 0


def _identity(path: Path) -> _Identity:
    with suppress(OSError):
        return _identity_of(path.lstat())
    return None


def _identity_of(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino, status.st_size


def _look_ahead(parts: list[SegmentPart]) -> None:
    following: Header | None = None
    for part in reversed(parts):
        for place in range(len(part.epochs) - 1, -1, -1):
            epoch = part.epochs[place]
            before = epoch.header.epoch if epoch.header is not None else None
            if following is not None and before in (None, following.epoch - 1):
                part.epochs[place] = replace_fields(
                    epoch,
                    asked_line=following.asked.line,
                    next_line=following.tree.size,
                    next_entry=following.first_entry,
                )
            following = epoch.header


def _is_in_motion(snapshot: Snapshot) -> bool:
    """Whether the last segment was written just now, and ends in the middle of something."""
    half = next((item for item in snapshot.listing.segments if item.number == snapshot.last_number), None)
    if half is not None and (half.seal is None) != (not half.logs):
        # One of its two files has its name: the other one is about to follow, or to be removed too.
        return any(map(_is_fresh, half.files()))
    parts = snapshot.parts
    if not parts or not parts[-1].last or not _is_fresh(parts[-1].seal):
        return False
    last, before = parts[-1], parts[-2] if len(parts) > 1 else None
    # Only behind the end of a segment can an epoch stand that has to be signed though it has a carry.
    behind = read_tail(before.seal, before.lines) if before is not None and len(last.epochs) == 1 else None
    return bool(last.lines.torn) or is_unfinished(read_tail(last.seal, last.lines), behind)


def _is_fresh(path: Path) -> bool:
    with suppress(OSError):
        return time.time() - path.lstat().st_mtime <= _FRESH_SECONDS
    return True


def _is_empty_half(segment: Segment) -> bool:
    """Whether a segment has one of its two files, and that one has no plain bytes."""
    path = next(iter((*segment.logs, *filter(None, (segment.seal,)))), None)
    return path is not None and _is_empty(path)


def _is_empty(path: Path) -> bool:
    """Whether a file has no plain bytes; what is no file is taken for an empty one."""
    if path.suffix == ".seal":
        with suppress(FileNotFoundError):
            found = path.lstat()
            return not (stat.S_ISREG(found.st_mode) and found.st_size)
        return True
    try:
        content = SealedEntries(path, 0, reading_of(path, 0))
    except (GoneError, NotAFileError):
        return True
    try:
        end = content.end()
        return end.whole and end.empty and not end.extra
    finally:
        content.close()
