"""Epochs of which nothing can be shown: which entries they held, as far as their lines say."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from epochseal.errors import FormatError
from epochseal.format.merkle import leaf_hash
from epochseal.format.seal_lines import Block, End, NoteLine, TaggedLine, parse_line
from epochseal.verifier.epoch_result import EpochResult, Noted
from epochseal.verifier.seal_reader import LineReader
from epochseal.verifier.snapshot import SegmentPart
from epochseal.verifier.verdict import Problem


def read_without_header(part: SegmentPart, lines: LineReader) -> EpochResult:
    """The epoch line cannot be read: nothing of the epoch can be shown, but say which entries it held."""
    result = EpochResult(part.segment.number, None, damaged=True)
    first: int | None = None
    stop = part.first_entry
    for raw in lines:
        if not raw.startswith(b"note "):
            result.unread.append(leaf_hash(payload_of(raw)))
        try:
            line = parse_line(raw)
        except FormatError:
            if raw.startswith(b"note "):
                result.notes.append(Noted(raw, result.index, stop))
            continue
        if isinstance(line, NoteLine):
            result.notes.append(Noted(line.note, result.index, stop))
            continue
        if isinstance(line.body, Block):
            behind = line.body.first_entry + line.body.entries
            stop = behind if first is None else max(stop, behind)
            first = line.body.first_entry if first is None else min(first, line.body.first_entry)
        if isinstance(line.body, End):
            result.end = line.body
        result.index, result.last_tag = line.index + 1, line.tag
    first, result.next_entry = part.first_entry if first is None else first, stop
    ends = first, max(stop - 1, first)
    result.problems.append(problem_in(part, 0, "line_altered", ends, "an epoch line cannot be read"))
    if lines.gave_up:
        detail = "more lines than bytes for them"
        result.problems.append(problem_in(part, 0, "too_much_work", (stop, stop), detail))
    return result


def payload_of(raw: bytes) -> bytes:
    """What the leaf of a line is made of that cannot be read: all before its last space, or all (7.5)."""
    return raw[: raw.rindex(b" ")] if b" " in raw else raw


def entries_in(lines: Iterator[bytes]) -> Iterator[int]:
    """The number of the entry behind each block."""
    for raw in lines:
        with contextlib.suppress(FormatError):
            line = parse_line(raw)
            if isinstance(line, TaggedLine) and isinstance(line.body, Block):
                yield line.body.first_entry + line.body.entries


def problem_in(part: SegmentPart, epoch: int, kind: str, entries: tuple[int, int], detail: str) -> Problem:
    """A problem with the first and last of these entries."""
    first, last = (max(entry - part.first_entry, 0) + 1 for entry in entries)
    return Problem(kind, part.segment.number, epoch, *entries, first, last, detail)
