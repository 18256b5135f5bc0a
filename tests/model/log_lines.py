"""Lines of the model, names instead of bytes, and how a start reads them from a disk."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple, cast

from epochseal.format.merkle import Frontier, leaf_hash
from epochseal.format.seal_lines import Header
from epochseal.sealing.start_without_page import Found, Known
from epochseal.storage.chain_end import ChainEnd, Close
from epochseal.storage.segments import Segment


class Line(NamedTuple):
    """A line of a log.

    Attributes:
        kind: `epoch`, `block`, `end` of an epoch that another follows at once, `close`; or `garbage`.
        at: its index, where it belongs.
        start: which start of an agent wrote it, by which two fresh secrets differ; 0: somebody without key.
        link: of an epoch line.
        log: of an epoch line, the number of the log.
        tree: of an epoch line, the root over the lines before it, as it states them.
        denies: of an epoch line, whether it says that the disk was changed.
    """

    kind: str
    at: int
    start: int
    link: str = ""
    log: int = 0
    tree: bytes = b""
    denies: bool = False


Lines = tuple[Line, ...]

_lines_of: dict[bytes, Lines] = {}


class End(NamedTuple):
    """The end of a chain as it stands on a disk: the lines of its tree, and what follows from them.

    Attributes:
        lines: of its tree.
        foreign: whether bytes lie behind them.
        lines_at: the tree at each size that was read.
    """

    lines: Lines
    foreign: bool
    lines_at: dict[int, Lines]


@cache
def _frontier(lines: Lines) -> Frontier:
    tree = Frontier()
    for line in lines:
        tree.append(leaf_hash(repr(line).encode()))
    return tree


@cache
def root(lines: Lines) -> bytes:
    """The real root of the tree over these lines."""
    found = _frontier(lines).root()
    _lines_of[found] = lines
    return found


def log_id(lines: Lines) -> bytes:
    """The id of the log that the last epoch line names, 32 bytes."""
    return next(line.log for line in reversed(lines) if line.kind == "epoch").to_bytes(32, "big")


def known(lines: Lines) -> Known:
    """What a memory of these lines says."""
    return Known(log_id(lines), len(lines), root(lines))


def run_of(lines: Lines) -> int:
    """The index of the line that the last run begins with."""
    return max(i for i, line in enumerate(lines) if line.kind == "epoch" and line.link != "carry")


def epoch_of(lines: Lines) -> int:
    """The index of the last epoch line."""
    return max(i for i, line in enumerate(lines) if line.kind == "epoch")


def opens_segment(lines: Lines, index: int) -> bool:
    """Whether a line is the first of a pair of files: an epoch line that a start has written."""
    return lines[index].kind == "epoch" and (index == 0 or lines[index - 1].kind != "end")


def without_begun(disk: Lines, state: Lines | None, *, checkpoint: bool) -> tuple[Lines, bool]:
    """Without last segments that hold an epoch line alone, and whether the log was nothing but one.

    It mirrors `_split` of start_without_page.
    """
    while disk and opens_segment(disk, len(disk) - 1) and not disk[-1].denies:
        if len(disk) > 1:
            if state is not None and disk[-1].at < len(state):
                break
        elif not checkpoint and state in {None, disk}:
            return (), True
        else:
            break
        disk = disk[:-1]
    return disk, False


def read_end(disk: Lines, bound: int) -> End | None:
    """Where the chain ends; it mirrors `read_chain_end`.

    It begins with the last epoch line below the bound, by the tree that this line states. From the bound on
    what does not follow is a tear.
    """
    heads = [i for i, line in enumerate(disk) if line.kind == "epoch" and line.at == i]
    if not heads:
        return None
    below = [i for i in heads if i < bound and not _stands_alone(disk, i)]
    first = below[-1] if below else heads[0]
    tree, found = _lines_of.get(disk[first].tree, disk[:first]), dict[int, Lines]()
    for line in disk[first:]:
        follows = line.kind != "garbage" and line.at == len(tree)
        if not follows and len(tree) >= bound:
            return End(tree, foreign=True, lines_at=found)
        tree = (*tree, line)
        found[len(tree)] = tree
    return End(tree, foreign=False, lines_at=found)


def _stands_alone(disk: Lines, index: int) -> bool:
    alone = index + 1 == len(disk) or opens_segment(disk, index + 1)
    return alone and opens_segment(disk, index) and disk[index].link == "carry"


def as_found(disk: Lines, end: End | None, state: Lines | None, *, begun: bool) -> Found:
    """What the real decision is handed."""
    return Found(
        _chain_end(end, state) if end is not None else None,
        (),
        (),
        (),
        begun_only=begun,
        unsealed=0,
        checkpoint=b"there is one" if disk and end is None and not begun else b"",
        checkpoint_size=0,
    )


def _chain_end(end: End, state: Lines | None) -> ChainEnd:
    last = len(end.lines)
    while last and opens_segment(end.lines, last - 1) and end.lines[last - 1].link == "carry":
        last -= 1
    closed = last > 0 and end.lines[last - 1].kind == "close"
    size = len(state) if state is not None else -1
    return ChainEnd(
        # Of these three no decision reads anything.
        segment=cast("Segment", None),
        header=cast("Header", None),
        header_segment=cast("Segment", None),
        header_offset=0,
        header_index=epoch_of(end.lines),
        log=log_id(end.lines),
        tree=_frontier(end.lines),
        last_tag=b"",
        entries=0,
        interval=0,
        max_overdue=0,
        tear=int(end.foreign),
        bare=end.lines[-1].kind == "epoch",
        close=Close(last, root(end.lines[:last]), 0) if closed else None,
        roots={size: root(end.lines_at[size])} if size in end.lines_at else {},
    )
