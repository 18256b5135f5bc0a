"""The blocks of one commit: their digests before anything is written, their seal lines once the bytes are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

from epochseal.custody.ratchet_page import MAX_RECORD, RatchetPage
from epochseal.encoding import MAX_INT
from epochseal.format.seal_lines import TAG_SIZE, Block, SourceMark, encode_block, encode_line
from epochseal.sealing.chain import Chain
from epochseal.sealing.limits import Piece
from epochseal.sealing.saved_state import PendingBlock

EMPTY_BLOCK = PendingBlock(0, hashlib.sha256().digest(), 0, None)
"""The block of a heartbeat: no entries, no source; it says that the log is alive."""


LINE_ROOM = MAX_RECORD - 4096
"""So many bytes of lines make one commit: they fit in the page together, beside all that it says besides."""


@lru_cache(maxsize=256)
def longest_line(name: str, file: str) -> int:
    """The most bytes that the line of a block from this source has, with its newline."""
    src = SourceMark(name, MAX_INT, file, 1, 1, 1, 1, MAX_INT)
    body = Block(MAX_INT, MAX_INT, MAX_INT, MAX_INT, MAX_INT, bytes(TAG_SIZE), src)
    return len(encode_line(encode_block(MAX_INT, body), bytes(TAG_SIZE)))


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
    payloads, first, offset = [], chain.entries, chain.segment_bytes
    for index, block in enumerate(blocks, chain.index):
        body = Block(first, block.entries, offset, block.size, now, block.digest, block.src)
        payloads.append(encode_block(index, body))
        first, offset = first + block.entries, offset + block.size
    return chain.blocks(payloads, first - chain.entries, offset - chain.segment_bytes, page.tag_lines)
