"""What a page says of a log, as far as a start's decision reads it."""

from __future__ import annotations

from epochseal.sealing.saved_state import VERSION, SavedState


def page_of(
    size: int,
    root: bytes,
    log: bytes,
    *,
    epoch_index: int = 0,
    run: int = 0,
    closed: bool = False,
    refused: str = "",
) -> SavedState:
    """A page that knows so many lines; what no decision reads is anything."""
    return SavedState(
        version=VERSION,
        origin="o",
        log=log,
        epoch=0,
        epoch_index=epoch_index,
        run=run,
        segment=1,
        stem="s",
        epoch_stem="s",
        epoch_offset=0,
        size=size,
        root=root,
        last_tag=bytes(32),
        entries=0,
        segment_bytes=0,
        epoch_entries=0,
        epoch_bytes=0,
        epoch_time=0,
        interval=0,
        max_overdue=0,
        raised=False,
        staged=[],
        pending=[],
        due_size=0,
        due_root=b"",
        calls=[],
        closed=closed,
        refused=refused,
    )
