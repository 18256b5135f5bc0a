"""The log as a whole: its epochs in order, the runs that they belong to, and where checkpoints are signed."""

from __future__ import annotations

from collections import deque

import msgspec

from epochseal.format.seal_lines import Header, Link, Next, Prune, Rotate
from epochseal.verifier.epoch_mark import EpochMark
from epochseal.verifier.epoch_result import EpochResult, Noted
from epochseal.verifier.findings import Place
from epochseal.verifier.sealed_entries import LogEnd
from epochseal.verifier.snapshot import SegmentPart

_MARKED = 4
"""The resume point's epoch, what follows it, and what the next turn brings."""


class Run(msgspec.Struct, eq=False):
    """An epoch that no carry leads into, and all epochs that the carry continues from it.

    `start` is the index of its first line, None if that is not there any more. `claim` is what its
    `sign` lines have to say of it. Of its valid checkpoints, `signed` is the largest size; `vouched` is that
    of those which vouch for more than one epoch line: for every line of the run below it. `entries` are those
    in its blocks, and `vouched_entries` those of them that are vouched for.
    """

    start: int | None
    epochs: list[Epoch] = msgspec.field(default_factory=list)
    claim: int | None = None
    entries: int = 0
    signed: int = 0
    vouched: int = 0
    vouched_entries: int = 0


class Epoch(msgspec.Struct, eq=False):
    """What one epoch is judged by when all are joined.

    `index` is that of its first line, `leaf` its leaf, `stop` the tree size behind its last line. `wrapped`
    is SHA-256 of its wrapped secret, `denies` the log that it says was here before. `before` is the epoch
    that it was compared with. `bare`: begun behind a close, and nothing stands in it yet (9.7). `by_person`:
    trusted for nothing but that a person accepted it. Before it lie `epochs_before` epochs with
    `bytes_before` bytes of entries; its own begin at `log_offset` of the log file, None if it has none.
    """

    place: Place
    last_entry: int
    index: int
    stop: int
    leaf: bytes
    link: Link
    key: str
    wrapped: bytes
    time: int
    interval: int
    max_overdue: int
    retention: int
    denies: str
    entries: int
    end_reason: str | None
    announced: tuple[int, Next] | None
    run: Run
    before: Epoch | None
    epochs_before: int = 0
    bytes_before: int = 0
    log_offset: int | None = None
    bare: bool = False
    trusted: bool = False
    by_person: bool = False


class Signable(msgspec.Struct, frozen=True):
    """A tree size at which a checkpoint may be signed; `vouches` for lines of `run` before its last leaf too.

    `run` is None for the tree before the first line present, whose own lines have expired. `entry` is the
    number of the next entry there, `entries` how many of the run's blocks lie below.
    """

    root: bytes
    entry: int
    entries: int
    run: Run | None
    vouches: bool


class Line(msgspec.Struct, frozen=True):
    """A prune or rotate line that was recorded, and the epoch that it stands in."""

    index: int
    place: Place
    epoch: Epoch
    authentic: bool

    def counts(self) -> bool:
        """Whether its epoch is trusted, and a checkpoint vouches for it or its tag holds (13.7)."""
        return self.epoch.trusted and (self.authentic or self.index < self.epoch.run.vouched)


class PruneLine(Line, frozen=True):
    """A `prune` line."""

    body: Prune


class RotateLine(Line, frozen=True):
    """A `rotate` line."""

    body: Rotate


class JoinedSegment(msgspec.Struct, frozen=True):
    """A segment that was read: the entries `began` to `ended`, and the last epoch up to its end.

    `lasting` is that epoch, of this segment or an earlier one, None if there is none; `first` the first one
    in it.
    """

    part: SegmentPart
    end: LogEnd
    bounded: bool
    too_far: bool
    began: int
    ended: int
    first: Epoch | None
    lasting: Epoch | None
    unreadable: bool


class JoinedLog(msgspec.Struct):
    """All that 13.5 puts together; `last` is the result of the last epoch, for its tree and end.

    `left_out` are ranges of lines, by their index, that stand in segments which did not settle (13.2).
    `marks` are of the last few epochs in which everything held.
    """

    epochs: list[Epoch] = msgspec.field(default_factory=list)
    runs: list[Run] = msgspec.field(default_factory=list)
    segments: list[JoinedSegment] = msgspec.field(default_factory=list)
    signable: dict[int, Signable] = msgspec.field(default_factory=dict)
    notes: list[tuple[Noted, Place]] = msgspec.field(default_factory=list)
    prunes: list[PruneLine] = msgspec.field(default_factory=list)
    rotates: list[RotateLine] = msgspec.field(default_factory=list)
    behind: list[tuple[Place, bool, int, int]] = msgspec.field(default_factory=list)
    left_out: list[tuple[int, int]] = msgspec.field(default_factory=list)
    marks: deque[EpochMark] = msgspec.field(default_factory=lambda: deque(maxlen=_MARKED))
    damaged_from: int | None = None
    first: Header | None = None
    first_leaf: bytes = b""
    last: EpochResult | None = None
    last_header: Header | None = None
    epoch_count: int = 0
    entries: int = 0
    bytes: int = 0

    @property
    def tree_size(self) -> int:
        """The size of the tree at the end."""
        return self.last.tree.size if self.last is not None else 0

    @property
    def first_size(self) -> int:
        """The size of the tree before the first line present: what has expired."""
        return self.first.tree.size if self.first is not None else 0

    @property
    def closed(self) -> bool:
        """Whether the last epoch ends with reason `close`."""
        return self.last is not None and self.last.closed

    @property
    def end_place(self) -> Place:
        """Where the log ends."""
        last = self.epochs[-1].place if self.epochs else Place()
        return Place(last.segment, last.base, last.epoch, self.entries)

    @property
    def start_place(self) -> Place:
        """Where the log begins."""
        return self.epochs[0].place if self.epochs else Place()

    def is_damaged_before(self, size: int) -> bool:
        """Whether a line before this tree size was changed, so that the root there shows nothing more."""
        return self.damaged_from is not None and self.damaged_from < size

    def is_left_out(self, size: int) -> bool:
        """Whether the last line under this tree size may stand in a segment that did not settle."""
        return any(first < size <= stop for first, stop in self.left_out)
