"""What there is to verify: a snapshot of the segments, cut into epochs that can be checked on their own."""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from epochseal.errors import FormatError, StorageError
from epochseal.format.seal_lines import Block, End, Header, TaggedLine, parse_header, parse_line
from epochseal.storage.mapped_file import mapped
from epochseal.storage.segments import Listing, Segment, list_segments

_SETTLE_SECONDS = 3.0
_FRESH_SECONDS = 30.0
_TAIL_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class EpochPart:
    """The lines of one epoch: bytes `start` to `stop` of a seal file; `header` is None if it cannot be read.

    Of the epoch that follows on it, -1 if there is none: `asked_line` is the tree index whose tag that one
    quotes, `next_line` its own index, `next_entry` its first entry.
    """

    start: int
    stop: int
    header: Header | None
    asked_line: int = -1
    next_line: int = -1
    next_entry: int = -1


@dataclass(slots=True)
class SegmentPart:
    """One segment as it was when the snapshot was taken.

    By its last block line, `sealed` is where the entries end, in bytes, and `end_entry` the number of the
    next one.
    """

    segment: Segment
    log: Path
    seal: Path
    epochs: list[EpochPart]
    sealed: int
    stop: int
    leading: int = 0
    torn: int = 0
    end_entry: int = -1
    last: bool = False

    @property
    def first_entry(self) -> int:
        """The number of the segment's first entry, as far as its lines say."""
        return next((part.header.first_entry for part in self.epochs if part.header is not None), 0)


@dataclass(slots=True)
class Snapshot:
    """The snapshot; files with signed notes come first: lines are durable before they are signed."""

    listing: Listing
    checkpoint: bytes | None
    witnessed: bytes | None = None
    parts: list[SegmentPart] = field(default_factory=list)


def take_snapshot(logdir: Path, *, sleep: Callable[[float], None] = time.sleep) -> Snapshot:
    """Read what is there; while a living agent is in the middle of something, wait for it a moment.

    Raises:
        StorageError: a file cannot be read.
    """
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        snapshot = _look(logdir)
        if not snapshot.parts or not _in_motion(snapshot.parts[-1]) or time.monotonic() > deadline:
            return snapshot
        sleep(0.1)


def _look(logdir: Path) -> Snapshot:
    witnessed, checkpoint = _note(logdir / "witnessed"), _note(logdir / "checkpoint")
    snapshot = Snapshot(list_segments(logdir), checkpoint, witnessed)
    for segment in snapshot.listing.segments:
        if segment.seal is not None and segment.logs:
            snapshot.parts.append(_read_part(segment, segment.seal, segment.logs[0]))
    if snapshot.parts:
        snapshot.parts[-1].last = snapshot.parts[-1].segment.stem == snapshot.listing.segments[-1].stem
    _look_ahead(snapshot.parts)
    return snapshot


def _note(path: Path) -> bytes | None:
    try:
        return path.read_bytes() if path.exists() else None
    except OSError as exc:
        raise StorageError(f"cannot read {path}: {exc.strerror}") from exc


def _read_part(segment: Segment, seal: Path, log: Path) -> SegmentPart:
    with mapped(seal) as content:
        return _cut_epochs(segment, log, seal, content)


def _cut_epochs(segment: Segment, log: Path, seal: Path, content: mmap.mmap | bytes) -> SegmentPart:
    stop = content.rfind(b"\n") + 1
    sealed, end_entry = _sealed(content, stop)
    part = SegmentPart(segment, log, seal, [], sealed, stop, torn=len(content) - stop, end_entry=end_entry)
    starts = [0] if content[:6] == b"epoch " else []
    # JSON holds no raw newline, so this is the start of a line and nothing else.
    found = content.find(b"\nepoch ", 0, stop)
    while found >= 0:
        starts.append(found + 1)
        found = content.find(b"\nepoch ", found + 1, stop)
    part.leading = min(starts[0] if starts else stop, stop)
    for start, end in pairwise([*starts, stop]):
        if start < stop:
            part.epochs.append(
                EpochPart(start, end, parse_header(content[start : content.find(b"\n", start)]))
            )
    return part


def _sealed(content: mmap.mmap | bytes, stop: int) -> tuple[int, int]:
    start = content.rfind(b"\nblock ", 0, stop) + 1
    try:
        line = parse_line(content[start : content.find(b"\n", start)])
    except FormatError:
        return 0, -1
    if isinstance(line, TaggedLine) and isinstance(block := line.body, Block):
        return block.offset + block.size, block.first_entry + block.entries
    return 0, -1


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


def _in_motion(part: SegmentPart) -> bool:
    """Whether the end looks like something that a living agent completes within moments."""
    start = max(part.epochs[-1].start if part.epochs else 0, part.stop - _TAIL_BYTES)
    try:
        age = time.time() - part.seal.stat().st_mtime
        with part.seal.open("rb") as file:
            file.seek(start)
            lines = file.read(part.stop - start).split(b"\n")[:-1]
    except OSError:
        return False
    if age > _FRESH_SECONDS:
        return False
    return bool(part.torn) or not lines or _is_unfinished(lines)


def _is_unfinished(lines: list[bytes]) -> bool:
    """Whether a line must follow at once: an end that is no close, or a start that is not signed."""
    tagged = [line for line in lines if not line.startswith(b"note ")]
    try:
        last = parse_line(tagged[-1]) if tagged else None
    except FormatError:
        return False
    if not isinstance(last, TaggedLine):
        return False
    if isinstance(last.body, Header):
        return last.body.link != "carry" and lines[-1] == tagged[-1]
    return isinstance(last.body, End) and (last.body.reason != "close" or lines[-1] == tagged[-1])
