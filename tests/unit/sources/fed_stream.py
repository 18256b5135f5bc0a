"""A stream that a test feeds, taken as commits take it."""

from __future__ import annotations

import os
from typing import Any

from epochseal.sealing.limits import Piece
from epochseal.sources.stream import StreamSource

BIG = 1 << 40


class FedStream:
    """A source on a pipe, and what came out of it: each piece with its bytes."""

    def __init__(self, *, block: int, longest: int, **more: Any) -> None:  # noqa: ANN401  # as the source takes it
        read, self._write = os.pipe()
        os.set_blocking(read, False)
        self.source = StreamSource(read, "stdin", block_bytes=block, max_entry_bytes=longest, **more)
        self.taken: list[tuple[Piece, bytes]] = []

    def write(self, data: bytes) -> None:
        """Send bytes and have them read."""
        for start in range(0, len(data), 4096):
            os.write(self._write, data[start : start + 4096])
            self.source.read()

    def end(self) -> None:
        """End the stream, and take all that is left."""
        os.close(self._write)
        while not self.source.eof:
            self.source.read()
        while not self.source.ended:
            assert self.take()
        self.source.close()

    def take(self, most: int = 8, size: int = BIG) -> list[Piece]:
        """Pieces as one commit takes them."""
        pieces: list[Piece] = []
        while len(pieces) < most and (piece := self.source.cut_piece(BIG, size, BIG)) is not None:
            pieces.append(piece)
        data, start = bytes(self.source.piece_bytes()), 0
        for piece in pieces:
            self.taken.append((piece, data[start : start + piece.size]))
            start += piece.size
        assert start == len(data)
        self.source.done(0)
        return pieces
