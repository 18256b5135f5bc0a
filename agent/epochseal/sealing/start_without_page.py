"""What lies on the disk of a log that no page speaks for: where its chain ends, and what else is there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from epochseal.errors import FormatError
from epochseal.format.merkle import leaf_hash
from epochseal.format.note import parse_checkpoint, parse_note
from epochseal.format.seal_lines import MAX_LINE, Header, TaggedLine, id_of_log, parse_line
from epochseal.storage.chain_end import ChainEnd, greatest_noted, read_chain_end
from epochseal.storage.opener import GoneError, open_file, read_file
from epochseal.storage.segments import CHECKPOINT_FILE, Segment

_MOST_CHECKPOINT = 1 << 20


class Known(NamedTuple):
    """What a memory says of a log: its id, a tree size and the root there."""

    log: bytes
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """What is on the disk.

    Attributes:
        end: where the chain ends; None without one.
        segments: what stays.
        unused: last segments that were begun and never used; they are removed.
        strange: last segments without an epoch line that follows; what they hold is moved.
        begun_only: the log was nothing but a first line that nobody has seen.
        unsealed: bytes of the last log file behind the last sealed entry.
        checkpoint: the content of the file `checkpoint`; empty without one.
        checkpoint_size: its tree size, unverified; 0 where it cannot be read.
    """

    end: ChainEnd | None
    segments: tuple[Segment, ...]
    unused: tuple[Segment, ...]
    strange: tuple[Segment, ...]
    begun_only: bool
    unsealed: int
    checkpoint: bytes
    checkpoint_size: int

    @property
    def foreign(self) -> bool:
        """Whether bytes lie behind the chain that are not the beginning of a note."""
        torn = self.end is not None and self.end.tear and not self.end.torn_note
        return bool(torn or self.unsealed or self.strange)


def look_without_page(logdir: Path, segments: tuple[Segment, ...], state: Known | None) -> Found:
    """Read where the chain ends; nothing is changed.

    Args:
        logdir: the log's directory.
        segments: what is there.
        state: what is remembered of the log.

    Raises:
        StorageError: a file cannot be read, or is no regular one.
    """
    checkpoint, size = _read_checkpoint(logdir)
    kept, unused, strange, begun = _split(segments, state, has_checkpoint=bool(checkpoint))
    bound = state.size if state is not None else max(greatest_noted(kept), size)
    sizes = {state.size} if state is not None else set()
    end = read_chain_end(kept, bound, sizes)
    if strange and end is not None and end.tree.size < bound:
        # Lines that are remembered stood there: what is damaged below that stays where it is.
        kept, strange = kept + strange, ()
        end = read_chain_end(kept, bound, sizes)
    elif end is not None and end.tear and not end.kept and len(kept) > 1:
        kept, strange = kept[:-1], (kept[-1], *strange)
        end = read_chain_end(kept, bound, sizes)
    return Found(end, kept, unused, strange, begun, _unsealed(end), checkpoint, size)


def _read_checkpoint(logdir: Path) -> tuple[bytes, int]:
    try:
        raw = read_file(logdir / CHECKPOINT_FILE, _MOST_CHECKPOINT)
    except GoneError:
        return b"", 0
    try:
        return raw or b"\n", parse_checkpoint(parse_note(raw).text).size
    except FormatError:
        return raw or b"\n", 0


def _unsealed(end: ChainEnd | None) -> int:
    plain = [path for path in end.segment.logs if path.suffix == ".log"] if end is not None else []
    if end is None or not plain:
        return 0
    return max(0, _length(plain[0]) - end.sealed)


def _length(path: Path) -> int:
    with open_file(path) as file:
        return file.seek(0, os.SEEK_END)


_Segments = tuple[Segment, ...]


def _split(
    segments: _Segments, state: Known | None, *, has_checkpoint: bool
) -> tuple[_Segments, _Segments, _Segments, bool]:
    kept, unused, strange, begun = list(segments), list[Segment](), list[Segment](), False
    while kept:
        use, line = _use(kept[-1])
        if use == "begun" and line is not None:
            if len(kept) > 1:
                if state is not None and line.index < state.size:
                    break
            elif line.index == 0 and not has_checkpoint and (state is None or state == _known(line)):
                begun = True
            else:
                break
        elif use == "used":
            break
        (strange if use == "strange" else unused).append(kept.pop())
    return tuple(kept), tuple(unused), tuple(reversed(strange)), begun


def _known(line: TaggedLine) -> Known | None:
    if not isinstance(line.body, Header):
        return None
    return Known(id_of_log(line.payload, line.body), 1, leaf_hash(line.payload))


def _use(segment: Segment) -> tuple[Literal["used", "unused", "begun", "strange"], TaggedLine | None]:
    """What a last segment was used for: nothing, an epoch line without a note alone, or more."""
    if segment.unsealed or segment.torn:
        return "used", None
    entries = sum(map(_length, segment.logs))
    content = read_file(segment.seal, MAX_LINE + 1) if segment.seal is not None else b""
    first, newline, rest = content.partition(b"\n")
    if not newline or (b"\0" in first and not rest):
        # A power cut in the first line: what was not written is missing or zero bytes.
        begun = content.startswith((b"epoch ", b"\0")) or b"epoch ".startswith(content)
        return ("unused" if begun and not entries else "strange"), None
    try:
        line = parse_line(first)
    except FormatError:
        return "strange", None
    if not isinstance(line, TaggedLine) or not isinstance(line.body, Header):
        return "strange", None
    # A line that denies something is never taken back: it is what keeps the conviction.
    if line.body.denies is not None:
        return "used", line
    alone = b"\n" not in rest and (rest.startswith(b"note ") or b"note ".startswith(rest))
    return ("begun" if alone and not entries else "used"), line
