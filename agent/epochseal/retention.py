"""Expire old segments so that the log still verifies: the log itself says what is gone, signed, before it goes.

A prune line states which segments expired and where the tree stood after them (docs/format.md, "Retention"). The files
are removed only when that line is durable and under a signed checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from epochseal.durable import sync_directory
from epochseal.encoding import b64decode, b64encode, format_time
from epochseal.errors import StorageError, VerificationError
from epochseal.lines import Header, Prune
from epochseal.merkle import Frontier
from epochseal.segments import FOLDER, Segment
from epochseal.verifier.plan import SegmentPart, take_snapshot


@dataclass(frozen=True, slots=True)
class Expired:
    """Segments that may go, and the line that says so."""

    origin: str
    segments: tuple[Segment, ...]
    prune: Prune


def find_expired(logdir: Path, keep: int, policy: str, now: int) -> Expired | None:
    """The segments that ended more than `keep` ms ago; None where there is none. The last one always stays.

    Raises:
        StorageError: a file cannot be read, or the log itself promised to keep longer.
        VerificationError: an epoch line that must be quoted cannot be read.
    """
    parts = take_snapshot(logdir).parts
    count = 0
    # A segment has ended when the next one begins.
    while count + 1 < len(parts) and _first_header(parts[count + 1]).time + keep <= now:
        count += 1
    if not count:
        return None
    kept = _first_header(parts[count])
    if kept.time + kept.retention > now:
        raise StorageError(
            f"segment {kept.segment} began at {format_time(kept.time)} and promised to keep what was before it "
            f"until {format_time(kept.time + kept.retention)}",
            "prune later, or verify would call the log incomplete",
        )
    tree = Frontier(kept.tree.size, [b64decode(subtree, "frontier") for subtree in kept.tree.frontier])
    prune = Prune(
        segment=parts[count - 1].segment.number,
        epoch=kept.epoch - 1,
        tree_size=tree.size,
        root=b64encode(tree.root()),
        entries=kept.first_entry,
        bytes=sum(part.sealed for part in parts[:count]),
        policy=policy,
    )
    return Expired(kept.origin, tuple(part.segment for part in parts[:count]), prune)


def remove(logdir: Path, expired: Expired) -> int:
    """Remove the files of expired segments, oldest first, so that a crash leaves no hole; how many files went.

    Raises:
        StorageError: a file cannot be removed; run prune again.
    """
    gone = 0
    for segment in expired.segments:
        for path in (*segment.logs, segment.unsealed, segment.seal):
            if path is None:
                continue
            try:
                path.unlink()
            except OSError as exc:
                raise StorageError(f"cannot remove {path}: {exc.strerror}") from exc
            gone += 1
        sync_directory(logdir / FOLDER)
    return gone


def _first_header(part: SegmentPart) -> Header:
    header = part.epochs[0].header if part.epochs else None
    if header is None:
        raise VerificationError(f"the first epoch line of {part.seal.name} cannot be read", "run verify first")
    return header
