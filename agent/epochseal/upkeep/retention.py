"""Expire old segments so that the log still verifies: the log itself says what goes, signed, before it goes.

A prune line states which segments expired and where the tree stood after them (docs/format.md, section 11).
The files are removed only when that line is durable and under a signed checkpoint: the agent waits for it in
segment_upkeep.py, the command in service/single_line.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from epochseal.encoding import b64encode, format_time
from epochseal.errors import FormatError, StorageError, VerificationError
from epochseal.format.seal_lines import MAX_LINE, Header, NoteLine, Prune, parse_line
from epochseal.storage.durable import sync_directory
from epochseal.storage.opener import open_file
from epochseal.storage.segments import FOLDER, Segment
from epochseal.verifier.seal_files import EpochPart
from epochseal.verifier.snapshot import SegmentPart, stated_size, take_snapshot


@dataclass(frozen=True, slots=True)
class ExpiredSegments:
    """Segments that may go, and the line that says so."""

    origin: str
    segments: tuple[Segment, ...]
    prune: Prune


def find_expired(
    logdir: Path, keep: int, policy: str, now: int, archived: Callable[[Segment], bool] | None = None
) -> ExpiredSegments | None:
    """The segments that ended more than `keep` ms ago; None where there is none. The last one always stays.

    So does the one before an epoch that nothing else vouches for. It was announced and signed for there; an
    agent that was killed before its next signature left no other one, and without any it would be untrusted.
    With `archived`, so does the first one that is not in the archive, and what follows it.

    Raises:
        StorageError: a file cannot be read, or the log itself promised to keep longer.
        VerificationError: an epoch line that must be quoted cannot be read.
    """
    plan = take_snapshot(logdir)
    # Without the last pair if it is empty: an agent was killed when it had just made it.
    parts, count = [part for part in plan.parts if part.epochs], 0
    # A segment has ended when the next one begins.
    while count + 1 < len(parts) and _first_header(parts[count + 1]).time + keep <= now:
        if archived is not None and not archived(parts[count].segment):
            break
        count += 1
    while count and not _is_signed_for(parts[count:]):
        count -= 1
    if not parts or _first_header(parts[count]).time + keep > now:
        return None
    kept = _first_header(parts[count])
    if kept.segment != parts[count].segment.number:
        raise VerificationError(f"{parts[count].seal.name} holds segment {kept.segment}", "run verify first")
    # From the listing, not from the parts: where an earlier removal was interrupted, one file of a pair is
    # left.
    gone = tuple(segment for segment in plan.listing.segments if segment.number < kept.segment)
    if not gone:
        return None
    if kept.time + kept.retention > now:
        raise StorageError(
            f"segment {kept.segment} began at {format_time(kept.time)} and promised to keep what was before "
            f"it until {format_time(kept.time + kept.retention)}",
            "prune later, or verify would call the log incomplete",
        )
    tree = kept.tree.to_frontier()
    prune = Prune(
        segment=kept.segment - 1,
        epoch=kept.epoch - 1,
        tree_size=tree.size,
        root=b64encode(tree.root()),
        entries=kept.first_entry,
        bytes=sum(part.sealed for part in parts[:count]),
        policy=policy,
    )
    return ExpiredSegments(kept.origin, gone, prune)


def remove_expired(logdir: Path, expired: ExpiredSegments) -> None:
    """Remove the files of expired segments, oldest first, so that a crash leaves no hole.

    Raises:
        StorageError: a file cannot be removed; run prune again.
    """
    for segment in expired.segments:
        for path in (*segment.logs, segment.unsealed, segment.torn, segment.seal):
            if path is None:
                continue
            try:
                path.unlink()
            except OSError as exc:
                raise StorageError(f"cannot remove {path}: {exc.strerror}", "run prune again") from exc
        sync_directory(logdir / FOLDER)


def _is_signed_for(parts: Sequence[SegmentPart]) -> bool:
    """Whether a note of its own run is over the line of their first epoch (docs/format.md, 13.7)."""
    first = _first_header(parts[0])
    for part in parts:
        for epoch in part.epochs:
            header = epoch.header
            if header is not None and header.link != "carry" and header.epoch != first.epoch:
                return False  # another run begins
            if any(stated_size(note) > first.tree.size for note in _notes(part.seal, epoch)):
                return True
    return False


def _notes(seal: Path, epoch: EpochPart) -> Iterator[bytes]:
    with BufferedReader(open_file(seal)) as file:
        file.seek(epoch.start)
        while file.tell() < epoch.stop and (raw := file.readline(MAX_LINE + 1)):
            if raw.startswith(b"note "):
                try:
                    line = parse_line(raw.removesuffix(b"\n"))
                except FormatError:
                    continue  # it vouches for nothing
                if isinstance(line, NoteLine):
                    yield line.note


def _first_header(part: SegmentPart) -> Header:
    header = part.epochs[0].header if part.epochs else None
    if header is None:
        raise VerificationError(f"no epoch line can be read in {part.seal.name}", "run verify first")
    return header
