"""Where each source stands, as the chain states it: a tailed file is resumed from here, from no other file.

Every block names its source and how far it is sealed. Whoever looks for the last position of each source
reads backwards, and has to know when to stop. So at the start of each segment, and of each process, the agent
states the positions of all sources in blocks without entries. The last of these has the name `STATED` and
says how many there are: once the reader is through them, nothing older is needed, and it may have expired.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from epochseal.errors import FormatError
from epochseal.format.seal_lines import Block, SourceMark, TaggedLine, parse_line
from epochseal.sealing.limits import Piece
from epochseal.storage.mapped_file import mapped
from epochseal.storage.segments import Segment, list_segments

STATED = "positions"
"""The name of the source whose `offset` is the number of positions that were stated before it."""
_MOST = 15
_MOST_BYTES = 8192
"""Positions, and bytes of names, in one commit: its state has to fit in the page."""
_NAME = re.compile(rb'\{"src":\{"name":"((?:[^"\\]|\\.)*)"')


def read_positions(logdir: Path) -> dict[str, SourceMark]:
    """The last position of every source, by its name, the one stated longest ago first; flags are left out.

    To be called after `Sealer.start`: a commit that a kill interrupted is completed there.

    Raises:
        StorageError: a seal file cannot be read.
    """
    found: dict[str, SourceMark] = {}
    stated = -1
    for segment in reversed(list_segments(logdir).segments):
        for src in _sources(segment, found):
            if stated < 0 and src is not None and src.name == STATED:
                stated = src.offset
            else:
                stated -= stated > 0
                if src is not None:
                    found.setdefault(src.name, SourceMark(src.name, src.offset, src.file))
            if stated == 0:
                return dict(reversed(found.items()))
    return dict(reversed(found.items()))


def position_commits(positions: Sequence[SourceMark]) -> Iterator[list[Piece]]:
    """The commits that state these positions; the last block says how many there are."""
    pieces: list[Piece] = []
    size = 0
    for src in [*positions, SourceMark(STATED, len(positions))]:
        if pieces and (len(pieces) == _MOST or size + len(src.name) > _MOST_BYTES):
            yield pieces
            pieces, size = [], 0
        pieces.append(Piece(0, 0, src))
        size += len(src.name)
    yield pieces


def _sources(segment: Segment, known: dict[str, SourceMark]) -> Iterator[SourceMark | None]:
    """The sources of its blocks, the newest first; None stands for one whose name is known already."""
    with mapped(segment.seal) as content:
        yield from _backwards(content, known)


def _backwards(content: mmap.mmap | bytes, known: dict[str, SourceMark]) -> Iterator[SourceMark | None]:
    end = content.rfind(b"\n")
    skipped: set[bytes] = set()
    while end > 0:
        start = content.rfind(b"\n", 0, end) + 1
        raw, end = content[start:end], start - 1
        if not raw.startswith(b"block ") or (match := _NAME.search(raw)) is None:
            continue
        if match[1] in skipped:
            yield None
            continue
        try:
            line = parse_line(raw)
        except FormatError:
            # A damaged line is the verifier's to report. An older position of that source is found instead.
            continue
        if isinstance(line, TaggedLine) and isinstance(line.body, Block) and line.body.src is not None:
            yield line.body.src
            if line.body.src.name in known:
                skipped.add(match[1])
