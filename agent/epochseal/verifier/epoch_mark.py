"""How far an epoch was verified: its next verification need not read those lines and entries again.

Whoever reads a live log again and again would read its last epoch from the beginning each time. A mark is
what the walk through the epoch knew at the last line that was there. It is kept in memory, by the process
that made it, and never written down: whoever can change a log cannot change a mark.

A mark is gone on from only while no epoch follows. Once one does, the epoch is read once more from its
beginning, and the result of that reading is its last mark: nothing has to be read for it then. So a change of
bytes that a mark had passed over is found when the epoch ends, at the latest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from epochseal.format.merkle import Frontier, leaf_hash
from epochseal.verifier.epoch_result import EpochResult
from epochseal.verifier.seal_files import EpochPart

if TYPE_CHECKING:
    from epochseal.verifier.workers import TaskResult

_MOST_PARTS = 256


class EpochMark(msgspec.Struct, frozen=True):
    """What was found in an epoch of the segment `stem`, none of it damaged, and of which of its lines."""

    stem: str
    part: EpochPart
    result: EpochResult

    def is_of(self, part: EpochPart) -> bool:
        """Whether the epoch that stands there now has the same epoch line, and all of these lines or more."""
        first = part.first
        return (
            first is not None
            and leaf_hash(first.payload) == self.result.leaf
            and part.start == self.part.start
            and part.stop >= self.part.stop
            and _next(part) == _next(self.part)
        )

    def is_whole(self, part: EpochPart) -> bool:
        """Whether that epoch has these lines and no others, and an epoch behind it that asks for no more."""
        return part.next_line >= 0 and part.stop == self.part.stop and self.is_of(part)

    def goes_on(self, part: EpochPart) -> bool:
        """Whether that epoch may be read from the end of these lines on."""
        return part.next_line < 0 and self.is_of(part)

    def take(self) -> EpochResult:
        """The result, to be gone on with."""
        found = self.result
        return replace(
            found,
            # A mark is of what held: these are empty.
            problems=[],
            behind={},
            unread=[],
            tree=Frontier(found.tree.size, found.tree.hashes),
            last_leaves=[*found.last_leaves],
            notes=[*found.notes],
            gaps=[*found.gaps],
            prunes=[*found.prunes],
            rotates=[*found.rotates],
        )


def marks_of(done: Sequence[TaskResult]) -> Iterator[EpochMark]:
    """Of each epoch of a segment in which everything held."""
    for task in done:
        for part, result in zip(task.task.epochs, task.results, strict=True):
            if _is_sound(result):
                yield EpochMark(task.task.part.segment.stem, part, result)


def _is_sound(result: EpochResult) -> bool:
    parts: tuple[Sized, ...] = (result.last_leaves, result.notes, result.gaps, result.prunes, result.rotates)
    return (
        result.header is not None
        and not (result.problems or result.damaged or result.behind or result.late or result.unread)
        and result.authentic
        # A log decides how many it has: a mark stays small.
        and sum(map(len, parts)) <= _MOST_PARTS
    )


def _next(part: EpochPart) -> tuple[int, int, int]:
    return part.asked_line, part.next_line, part.next_entry
