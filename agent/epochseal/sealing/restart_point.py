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

    Attributes:
        chain: where the log stands.
        writer: the segment to go on in; None to begin a new one.
        link: of the running epoch or, if none runs, of the one to begin.
        running: whether the epoch goes on that an earlier process began.
        unsigned: the checkpoint that has no note yet: of the running epoch's start or, if none runs, of the
            last epoch's end.
        pending: the blocks of the commit that a kill interrupted.
        pending_data: their bytes.
        present: how many of those bytes are in the log file already.
        set_aside: bytes that were moved to `.unsealed`.
        page_refused: why a page that was there was not used; empty where it was, or where there was none.
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
