"""Where an agent goes on with its log, as a start finds it."""

from __future__ import annotations

from dataclasses import dataclass

from epochseal.format.note import Checkpoint
from epochseal.format.seal_lines import Link
from epochseal.sealing.chain import Chain
from epochseal.sealing.saved_state import PendingBlock
from epochseal.storage.segments import SegmentWriter


@dataclass(frozen=True, slots=True)
class RestartPoint:
    """What a start found.

    `running`: the same epoch goes on. Otherwise a new one begins with `link`, in a new segment if there is no
    `writer`. `unsigned`: the checkpoint of the epoch's start or, if it does not run, of its end, if there is
    no note of it yet.
    `pending`: the commit that a kill interrupted, its bytes, and how many of them are in the log file
    already.
    `set_aside`: bytes that were moved to `.unsealed`. `page_refused`: why a page that was there was not used.
    """

    chain: Chain
    writer: SegmentWriter | None
    link: Link
    running: bool = False
    unsigned: Checkpoint | None = None
    pending: tuple[PendingBlock, ...] = ()
    pending_data: bytes = b""
    present: int = 0
    set_aside: int = 0
    page_refused: str = ""
