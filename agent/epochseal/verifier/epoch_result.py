"""What one epoch shows by itself; the rest is for those who join epochs."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from epochseal.format.merkle import Frontier
from epochseal.format.seal_lines import End, Header, Next, Prune, Rotate
from epochseal.verifier.verdict import Problem

_Body = TypeVar("_Body", Prune, Rotate)


class LastLeaf(msgspec.Struct, frozen=True, gc=False):
    """A line at which a checkpoint may be signed: an epoch line, a `sign`, or an `end` with reason `close`.

    The tree with it as its last leaf has `size` leaves and this root; `entry` is the number of the next entry
    there, and `sealed` the number of entries in the blocks of its epoch up to it. `run` is what the line says
    of the beginning of its run; None for an epoch line, which vouches for itself alone.
    """

    size: int
    root: bytes
    entry: int
    sealed: int
    run: int | None


class Noted(msgspec.Struct, frozen=True, gc=False):
    """A note line, and how many lines and entries stand before it."""

    note: bytes
    lines: int
    entry: int


class Recorded(msgspec.Struct, Generic[_Body], frozen=True, gc=False):
    """A prune or rotate line: its index, the number of the next entry, and whether its tag was checked."""

    index: int
    body: _Body
    entry: int
    authentic: bool


class EpochResult(msgspec.Struct):
    """What was found in the lines of one epoch, and in the entries that they seal.

    `leaf` is that of the epoch line. `next_entry` is the number of the entry after the last one, `sealed` how
    many are in its blocks, `size` their bytes; `begins` and `offset` are where they begin and end in the log
    file, None if that is not known. `lines` is the number of tagged lines. `announced` is the last `next` of
    a `sign` line, with the index of that line. `carry_in` and `carry_out` are SHA-256 digests of carries,
    None where unknown. `late` are the first and last entry of blocks beyond the time that the epoch may last;
    `behind` those of blocks that the last log file does not reach, by whether the file `checkpoint` states a
    tree with them. `unread` are the leaves of an epoch whose first line cannot be read.
    """

    segment: int
    header: Header | None
    leaf: bytes = b""
    problems: list[Problem] = msgspec.field(default_factory=list)
    next_entry: int = 0
    sealed: int = 0
    begins: int | None = None
    offset: int | None = None
    size: int = 0
    index: int = 0
    lines: int = 0
    last_tag: bytes = b""
    asked_tag: bytes | None = None
    tree: Frontier = msgspec.field(default_factory=Frontier)
    last_leaves: list[LastLeaf] = msgspec.field(default_factory=list)
    announced: tuple[int, Next] | None = None
    end: End | None = None
    carry_in: bytes | None = None
    carry_out: bytes | None = None
    notes: list[Noted] = msgspec.field(default_factory=list)
    prunes: list[Recorded[Prune]] = msgspec.field(default_factory=list)
    rotates: list[Recorded[Rotate]] = msgspec.field(default_factory=list)
    blocks: int = 0
    last_time: int = 0
    clock_back: int = 0
    gaps: list[tuple[int, str, int]] = msgspec.field(default_factory=list)
    late: tuple[int, int] | None = None
    behind: dict[bool, tuple[int, int]] = msgspec.field(default_factory=dict)
    unread: list[bytes] = msgspec.field(default_factory=list)
    damaged: bool = False
    authentic: bool = False

    @property
    def closed(self) -> bool:
        """Whether it ends with reason `close`."""
        return self.end is not None and self.end.reason == "close"
