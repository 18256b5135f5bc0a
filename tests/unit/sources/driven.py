"""Drives a source by hand, as the commit loop does."""

from __future__ import annotations

import time

from epochseal.sealing.limits import Piece
from epochseal.sources.source import Source

_PATIENCE = 60.0


def read(source: Source) -> None:
    """Read what has come, once."""
    for descriptor in source.descriptors():
        source.ready(descriptor)


def taken(source: Source) -> tuple[list[bytes], list[Piece]]:
    """What waits to be sealed, as if it were: the lines, and the pieces they came in."""
    data, pieces = bytearray(), []
    while (piece := source.cut_piece(1 << 20, 1 << 20, 0)) is not None:
        pieces.append(piece)
        data += source.piece_bytes()
        source.done(0)
    return bytes(data).splitlines(), pieces


def sealed_to_the_end(source: Source) -> tuple[list[bytes], list[Piece]]:
    """As `taken`, until a source that was asked to finish has ended."""
    lines: list[bytes] = []
    pieces: list[Piece] = []
    deadline = time.monotonic() + _PATIENCE
    while not source.ended:
        assert time.monotonic() < deadline
        source.tick()
        read(source)
        more = taken(source)
        lines += more[0]
        pieces += more[1]
    return lines, pieces
