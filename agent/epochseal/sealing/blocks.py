"""The blocks of one commit: their digests before anything is written, their seal lines once the bytes are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from epochseal.custody.ratchet_page import RatchetPage
from epochseal.keys import SECRET_SIZE
from epochseal.sealing.chain import Chain
from epochseal.sealing.limits import Piece
from epochseal.sealing.saved_state import PendingBlock

EMPTY_BLOCK = PendingBlock(0, hashlib.sha256().digest(), 0, None)
"""The block of a heartbeat: no entries, no source; it says that the log is alive."""


def digest_blocks(data: memoryview, pieces: Sequence[Piece]) -> list[PendingBlock]:
    """The blocks that `data` consists of, one after the other."""
    blocks, start = [], 0
    for piece in pieces:
        digest = hashlib.sha256(data[start : start + piece.size]).digest()
        blocks.append(PendingBlock(piece.size, digest, piece.entries, piece.src))
        start += piece.size
    return blocks


def seal_blocks(chain: Chain, page: RatchetPage, blocks: Sequence[PendingBlock], now: int) -> bytes:
    """The lines of the blocks; the key of the line after them is left in `page.next_key`, to be published.

    Args:
        chain: moves on by as many lines.
        page: its `key` is that of the first line; its work area is clean again afterwards.
        blocks: at least one.
        now: ms since 1970, stated in each line.
    """
    lines: list[bytes] = []
    key = page.key
    try:
        for block in blocks:
            if lines:
                # `next_key` is about to be overwritten: its key, which seals this line, is moved out of the
                # way.
                page.scratch[:] = page.next_key
                key = page.scratch
            lines.append(
                chain.block(block.entries, block.size, block.digest, block.src, now, key, page.next_key)
            )
    finally:
        page.scratch[:] = bytes(SECRET_SIZE)
    return b"".join(lines)
