"""What a start without a page changes on the disk, before it goes on.

Every step can be interrupted and made again: copies are durable before their source goes, a page that was
refused is kept until the next epoch line is in its place, and the carry goes last (line_writer.py).
"""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import replace
from pathlib import Path

import msgspec

from epochseal.custody.memory import fill_random
from epochseal.encoding import b64encode
from epochseal.errors import StorageError
from epochseal.format.note import Checkpoint
from epochseal.format.seal_lines import Abandoned, Denies
from epochseal.sealing.chain import Chain
from epochseal.sealing.decide_start import Decision
from epochseal.sealing.log_state import LogState
from epochseal.sealing.page_store import PageStore
from epochseal.sealing.restart_point import RestartPoint
from epochseal.sealing.saved_state import SavedState, Staged
from epochseal.sealing.start_without_page import Found
from epochseal.storage.aside import absorb, cut_tear, remove_hidden, remove_segment, set_aside
from epochseal.storage.chain_end import ChainEnd, greatest_noted
from epochseal.storage.durable import AppendFile, make_directory, sync_directory
from epochseal.storage.segments import CHECKPOINT_FILE, FOLDER


def mend_and_go_on(
    logdir: Path, origin: str, decision: Decision, found: Found, store: PageStore, memory: LogState
) -> RestartPoint:
    """Do what was decided, where the page is not what the log goes on with.

    Raises:
        StorageError: a file cannot be read, written or removed.
    """
    remove_hidden(logdir)
    if found.begun_only:
        # Before the line goes: a start that is cut off between the two must not miss it, nor hold the page of
        # the log that begins in its place against it.
        memory.take_back()
    for segment in found.unused:
        remove_segment(segment)
    end, denied = found.end, decision.denied
    denies = Denies(b64encode(denied.log), denied.size, b64encode(denied.root)) if denied else None
    if end is None:
        if denies is not None:
            _put_away(logdir)
        log = bytearray(32)
        fill_random(memoryview(log))
        point = RestartPoint("genesis", Chain(origin, bytes(log)), denies=denies)
    else:
        unsealed, torn = _mend(logdir, end, found)
        calls = _calls(memory) if memory.log == end.log else ()
        point = RestartPoint(
            decision.link,
            _chain(end, max(segment.number for segment in found.segments)),
            denies=denies,
            calls=calls,
            set_aside=unsealed,
            torn_aside=torn,
            ahead=found.checkpoint if decision.ahead else b"",
            closed=decision.closed,
        )
        if decision.link == "carry":
            saved = _take_carry(point.chain, end, store, memory)
            point = replace(point, saved=saved, due=_unsigned_close(origin, end, found))
    return point


def _unsigned_close(origin: str, end: ChainEnd, found: Found) -> Checkpoint | None:
    """The checkpoint over the close that the log ends with, if no note was written for it."""
    close = end.close
    if close is None or greatest_noted(found.segments) >= close.size:
        return None
    return Checkpoint(origin, close.size, close.root)


def _calls(memory: LogState) -> tuple[Abandoned, ...]:
    return tuple(memory.state.abandoned) if memory.state is not None else ()


def refuse_page(store: PageStore, saved: SavedState, why: str) -> None:
    """Give up the page's key, and keep why: a start that is interrupted here has to say it again."""
    if not saved.refused:
        store.page.next_key[:] = bytes(32)
        store.page.publish(msgspec.msgpack.encode(msgspec.structs.replace(saved, refused=why)))


def _mend(logdir: Path, end: ChainEnd, found: Found) -> tuple[int, int]:
    """Move aside what no line accounts for; the bytes moved to `.unsealed`, and to `.torn`."""
    unsealed = torn = 0
    for segment in found.strange:
        entries, lines = absorb(logdir, end.segment.stem, segment)
        unsealed, torn = unsealed + entries, torn + lines
    if found.unsealed:
        log = AppendFile.open(logdir / FOLDER / f"{end.segment.stem}.log", create=False)
        try:
            unsealed += set_aside(logdir, end.segment.stem, log, end.sealed)
        finally:
            log.close()
    if end.tear and end.segment.seal is not None:
        seal = AppendFile.open(end.segment.seal, create=False)
        try:
            torn += cut_tear(logdir, end.segment.stem, seal, end.kept, torn_note=end.torn_note)
        finally:
            seal.close()
    return unsealed, torn


def _chain(end: ChainEnd, segment: int) -> Chain:
    return Chain(
        origin=end.header.origin,
        log=end.log,
        epoch=end.header.epoch,
        epoch_index=end.header_index,
        run=end.close.run if end.close is not None else 0,
        segment=segment,
        last_tag=end.last_tag,
        tree=end.tree,
        entries=end.entries,
        segment_bytes=end.sealed,
        epoch_time=end.header.time,
        interval=end.interval,
        max_overdue=end.max_overdue,
    )


def _take_carry(chain: Chain, end: ChainEnd, store: PageStore, memory: LogState) -> SavedState | None:
    """Take the carry into the page: from here on it is as a page that was left by the close."""
    page = store.page
    if memory.read_carry(page.next_key) is None:
        raise StorageError("the carry is gone while it was read")
    record = SavedState.encode(
        chain,
        [Staged(end.segment.stem, end.kept, b"")],
        (),
        stem=end.segment.stem,
        epoch_place=(end.header_segment.stem, end.header_offset),
        due=None,
        calls=_calls(memory),
        closed=True,
    )
    page.publish(record if store.survives else b"")
    return SavedState.decode(record) if store.survives else None


def _put_away(logdir: Path) -> None:
    """Move what is left of a log that is gone out of the way, and keep it: a new one begins in its place."""
    remains = [name for name in (FOLDER, CHECKPOINT_FILE) if os.path.lexists(logdir / name)]
    if not remains:
        return
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    names = (f"denied-{stamp}{f'-{number}' if number else ''}" for number in itertools.count())
    folder = next(logdir / name for name in names if not os.path.lexists(logdir / name))
    make_directory(folder)
    try:
        for name in remains:
            (logdir / name).rename(folder / name)
    except OSError as exc:
        raise StorageError(f"cannot move {exc.filename}: {exc.strerror}") from exc
    sync_directory(folder)
    sync_directory(logdir)
