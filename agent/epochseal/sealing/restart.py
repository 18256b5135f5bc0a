"""How an agent finds its log again: by its page (no gap), after a clean close (`reopen`), or `cold`.

Bytes that no line accounts for are never sealed unless the page says that they are the commit that was under
way: everything else is set aside in `STEM.unsealed`, so that nobody gets foreign lines sealed by a restart.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec

from epochseal.errors import FormatError
from epochseal.sealing.page_store import PageStore
from epochseal.sealing.restart_point import RestartPoint
from epochseal.sealing.resume_from_page import PageRefusedError, resume_from_page
from epochseal.sealing.saved_state import SavedState
from epochseal.sealing.start_without_page import start_without_page
from epochseal.storage.durable import AppendFile
from epochseal.storage.segments import Segment, list_segments

_MOST_NOTE = 1 << 16
"""No note line is longer than this, in bytes."""


def find_restart_point(logdir: Path, origin: str, store: PageStore) -> RestartPoint:
    """Find where the log stands, and mend what a crash left half-written.

    Raises:
        ConfigError: the log in `logdir` belongs to another origin.
        StorageError: files cannot be read or mended, or hold no chain at all.
    """
    _cut_torn_notes(list_segments(logdir).segments)
    record = store.page.load() if store.survives else None
    if record is None:
        return start_without_page(logdir, origin)
    saved: SavedState | None = None
    try:
        saved = msgspec.msgpack.decode(record, type=SavedState)
        return resume_from_page(logdir, origin, saved, store)
    except (PageRefusedError, FormatError, msgspec.DecodeError) as exc:
        refused = str(exc)
    point = replace(start_without_page(logdir, origin), page_refused=refused)
    # Wiped only now: had mending the disk failed, the next start would have to see the page, and refuse it,
    # too.
    store.page.wipe()
    if point.link == "reopen" and (saved is None or saved.last_tag != point.chain.last_tag):
        # The disk ends with a clean close, but the page knows of another last line: lines were lost or
        # changed, so the log must not say that it was merely started again.
        return replace(point, link="cold")
    return point


def _cut_torn_notes(segments: tuple[Segment, ...]) -> None:
    """Cut half-written notes in earlier segments.

    The note over a segment's end may be written when the log is in the next segment already, so a kill can
    leave a part of it there.
    """
    for segment in segments[:-1]:
        if segment.seal is None:
            continue
        with segment.seal.open("rb") as file:
            length = file.seek(0, 2)
            file.seek(max(0, length - _MOST_NOTE))
            _, newline, rest = file.read().rpartition(b"\n")
        if newline and rest and b"note ".startswith(rest[:5]):
            seal = AppendFile.open(segment.seal, create=False)
            try:
                seal.truncate(length - len(rest))
            finally:
                seal.close()
