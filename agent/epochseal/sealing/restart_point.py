"""Where an agent goes on with its log, as a start finds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from epochseal.format.note import Checkpoint
from epochseal.format.seal_lines import Abandoned, Denies
from epochseal.sealing.chain import Chain
from epochseal.sealing.saved_state import PendingBlock, SavedState
from epochseal.storage.segments import SegmentWriter

GoingOn = Literal["running", "genesis", "carry", "cold"]
"""`running`: the epoch that an earlier process began goes on; the others are links of the next line."""


@dataclass(frozen=True, slots=True)
class RestartPoint:
    """What a start decided, the disk being mended already.

    Attributes:
        link: how the log goes on.
        chain: where it stands. Its `interval` and `max_overdue` are those of the last epoch that is not bare.
        writer: the segment to go on in, where an epoch runs; None to begin a new one.
        saved: the page's record, where an epoch runs.
        denies: what the next epoch line says that the disk does not bear out.
        due: the checkpoint to sign first: one of the running epoch, or over the `end close` before `carry`.
        calls: issue calls that no epoch adopted.
        pending: the blocks of the commit that a kill interrupted.
        pending_data: their bytes.
        present: how many of those bytes are in the log file already.
        set_aside: bytes that were moved to `.unsealed`.
        torn_aside: bytes that were moved to `.torn`.
        ahead: the content of a file `checkpoint` over more lines than there are, where no memory says more:
            if it holds under our key it is denied.
        closed: whether a cold start is one behind a clean close.
        memory: what the state says: `none` is kept, it is `missing`, it `agrees` or `contradicts`.
        page: what is wrong with a page that was there and not used; empty where it was, or there was none.
        why: what contradicts the disk, for a person; empty without `denies`.
    """

    link: GoingOn
    chain: Chain
    writer: SegmentWriter | None = None
    saved: SavedState | None = None
    denies: Denies | None = None
    due: Checkpoint | None = None
    calls: tuple[Abandoned, ...] = ()
    pending: tuple[PendingBlock, ...] = ()
    pending_data: bytes = b""
    present: int = 0
    set_aside: int = 0
    torn_aside: int = 0
    ahead: bytes = b""
    closed: bool = False
    memory: Literal["none", "missing", "agrees", "contradicts"] = "none"
    page: str = ""
    why: str = ""
