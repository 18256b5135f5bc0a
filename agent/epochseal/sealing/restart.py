"""How an agent finds its log again: it looks, decides, and only then changes anything.

A start with the page goes on in the same epoch, without a gap. Else it goes on by the carry of a clean close,
if what lies there is what is remembered of it; or cold. Where the disk contradicts what is remembered, the
next epoch line says so (`denies`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from epochseal.errors import ConfigError, StorageError
from epochseal.sealing.decide_start import Decision, Seen, decide, page_is_stale, state_contradicts
from epochseal.sealing.log_state import LogState
from epochseal.sealing.mend_disk import mend_and_go_on, refuse_page
from epochseal.sealing.page_store import PageStore
from epochseal.sealing.restart_point import RestartPoint
from epochseal.sealing.resume_from_page import PageFit, PageRefusedError, check_page, resume_from_page
from epochseal.sealing.saved_state import SavedState
from epochseal.sealing.start_without_page import Found, Known, look_without_page
from epochseal.storage.segments import FOLDER, list_segments


def find_restart_point(
    logdir: Path, origin: str, store: PageStore, state: LogState, *, refuse_cold: bool
) -> RestartPoint:
    """Find where the log stands, and mend what a crash left half-written.

    Args:
        logdir: the log's directory.
        origin: that of the configuration.
        store: has the page.
        state: what is remembered of the log.
        refuse_cold: refuse, before anything is touched, a start that would not go on with a chain.

    Raises:
        ConfigError: the log in `logdir` belongs to another origin; or the start would be a cold one.
        StorageError: files cannot be read or mended, or hold no chain at all.
    """
    record = store.page.load() if store.survives else None
    saved = SavedState.decode(record) if record is not None else None
    seen, there = _look(logdir, saved, store, state)
    _check_origin(logdir, origin, seen)
    decision = decide(seen)
    if decision.damaged:
        raise StorageError(
            f"{logdir} holds files of a log, but no epoch line in them can be read",
            "the seal files were damaged or deleted: run verify, then move the directory away",
        )
    if refuse_cold and decision.link not in {"running", "carry"}:
        raise ConfigError(
            f"the start of {logdir} would be cold: {_reason(decision)}",
            "start and stop the agent first, or name its --state-dir and --runtime-dir",
        )
    if isinstance(there, PageFit):
        point = resume_from_page(logdir, there, store)
    else:
        if saved is not None and decision.page == "refused":
            refuse_page(store, saved, decision.why)
        elif decision.page == "stale":
            store.page.wipe()
        point = mend_and_go_on(logdir, origin, decision, there, store, state)
    return replace(point, memory=decision.memory, why=decision.why, page=_page(decision, record, saved))


def _look(
    logdir: Path, saved: SavedState | None, store: PageStore, memory: LogState
) -> tuple[Seen, PageFit | Found]:
    listing = list_segments(logdir)
    if FOLDER in listing.not_files:
        raise StorageError(f"{logdir / FOLDER} is no folder", "a link to one is not followed: move it away")
    state = Known(memory.log, memory.size, memory.root) if memory.state is not None else None
    misfit = ""
    if saved is not None and not saved.refused and not page_is_stale(saved, state):
        try:
            fit = check_page(listing.segments, saved)
            if state is None or not state_contradicts(saved, state):
                return Seen(saved, "", memory.kept, state, None, None), fit
        except PageRefusedError as exc:
            misfit = str(exc)
    found = look_without_page(logdir, listing.segments, state)
    carry = memory.read_carry(store.page.scratch)
    store.page.scratch[:] = bytes(32)
    return Seen(saved, misfit, memory.kept, state, carry, found), found


def _check_origin(logdir: Path, origin: str, seen: Seen) -> None:
    """A mistyped origin is an error of the caller: no page is given up for it, and nothing is touched."""
    there = seen.saved.origin if seen.saved is not None else origin
    if seen.found is not None:
        there = seen.found.end.header.origin if seen.found.end is not None else origin
    if there != origin:
        raise ConfigError(
            f"{logdir} is the log of {there!r}, not of {origin!r}",
            "use the log's own origin, or another directory",
        )


def _reason(decision: Decision) -> str:
    if decision.why:
        return decision.why
    if decision.link == "genesis":
        return "there is no log"
    return (
        "the carry of its last close is not there" if decision.closed else "its last agent did not close it"
    )


def _page(decision: Decision, record: bytes | None, saved: SavedState | None) -> str:
    if record is not None and saved is None:
        return "it cannot be read"
    if decision.page == "stale":
        return "the log went on without it"
    return decision.why if decision.page == "refused" else ""
