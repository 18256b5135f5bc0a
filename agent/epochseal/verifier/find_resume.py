"""Where the next verification of a log may begin (resume_point.py says what that means)."""

from __future__ import annotations

from collections.abc import Sequence

from epochseal.verifier.joined_log import Epoch, JoinedLog
from epochseal.verifier.resume_point import ResumePoint
from epochseal.verifier.snapshot import SegmentPart


def find_resume_point(
    log: JoinedLog, parts: Sequence[SegmentPart], size: int, before: ResumePoint | None
) -> ResumePoint | None:
    """The epoch that holds the last leaf of a checkpoint of `size`, None if nobody may begin there.

    `before` is the point that this verification began at itself.
    """
    epoch = next((item for item in log.epochs if item.index < size <= item.stop), None)
    if epoch is None or not epoch.trusted or log.damaged_from is not None or log.left_out:
        return None
    for place, part in enumerate(parts):
        if part.segment.number == epoch.place.segment:
            return _point_at(epoch, place, part, before)
    return None


def _point_at(epoch: Epoch, place: int, part: SegmentPart, before: ResumePoint | None) -> ResumePoint | None:
    for item in part.epochs:
        if item.header is not None and item.header.epoch == epoch.place.epoch:
            return ResumePoint(
                part.segment.number,
                part.segment.stem,
                item.start,
                epoch.log_offset,
                epoch.leaf,
                epoch.index,
                epoch.place.entry,
                epoch.bytes_before,
                epoch.epochs_before,
                place + (before.segments if before is not None else 0),
            )
    return None
