"""What the files of a log show: pairs, numbers without a gap, a beginning that has expired."""

from __future__ import annotations

from epochseal.encoding import b64encode, format_time
from epochseal.format.seal_lines import Header, Prune
from epochseal.verifier.linked_log import LinkedLog
from epochseal.verifier.snapshot import Snapshot
from epochseal.verifier.workers import TaskResult


def check_listing(snapshot: Snapshot, log: LinkedLog) -> None:
    """Numbers without gap or repetition, and both files of each pair."""
    found, parts = log.found, {part.segment.stem: part for part in snapshot.parts}
    prune = _known_prune(log)
    expired = prune.segment if prune is not None else 0
    before, end = None, 0
    for segment in snapshot.listing.segments:
        part = parts.get(segment.stem)
        entry = part.first_entry if part is not None and part.epochs else end
        found.segment = segment.number
        if before is not None and segment.number == before:
            detail = f"number {before} is there twice: {segment.stem}"
            found.problem("segment_duplicate", entry, entry, detail)
        elif before is not None and segment.number > before + 1:
            detail = f"segments {before + 1} to {segment.number - 1}"
            found.problem("segment_missing", end, entry - 1, detail)
        before = segment.number
        if part is None and segment.number <= expired:
            # The segment has expired, and its removal was interrupted between the two files. Whether its
            # entries may be missing is for `check_prefix` to say.
            continue
        if part is None and segment == snapshot.listing.segments[-1] and segment.is_empty():
            # The agent was stopped while it made the two files of a new segment: nothing is sealed in it.
            continue
        if part is None:
            missing = ".seal" if segment.seal is None else ".log"
            found.problem("segment_incomplete", entry, entry, f"{segment.stem}{missing} is missing")
        elif len(segment.logs) > 1:
            names = ", ".join(path.name for path in segment.logs)
            found.problem("segment_duplicate", entry, entry, f"the log is there in several forms: {names}")
        end = max(end, entry, part.end_entry if part is not None else end)
    for name in snapshot.listing.foreign:
        found.warn("foreign_file", 0, name)


def check_segment(done: TaskResult, log: LinkedLog, began: int) -> None:
    """The bytes of a segment that belong to no epoch; `began` is the number of entries before it."""
    part, found = done.task.part, log.found
    found.segment, found.base = part.segment.number, part.first_entry
    at = log.entries
    if part.leading:
        detail = f"{part.leading} bytes of lines stand before the first epoch line"
        stop = part.first_entry if part.epochs else part.end_entry
        found.problem("line_misplaced", began, stop - 1, detail)
    # After the last sealed entry of the last segment a living agent may be writing the next ones. It never
    # does so in a compressed file.
    is_open = part.last and not log.closed and part.log.suffix == ".log"
    if not part.epochs and (done.extra or not part.last):
        found.problem("segment_incomplete", at, at, f"{part.seal.name} holds no epoch")
    elif done.extra and not is_open:
        found.problem("foreign_bytes", at, at, f"after byte {part.sealed} of {part.log.name}")
    if part.torn:
        kind = "torn_line" if part.last else "line_altered"
        found.problem(kind, at, at, f"{part.torn} bytes in {part.seal.name}")
    if part.segment.unsealed is not None:
        found.problem("bad_unsealed" if log.closed else "unsealed_bytes", at, at, part.segment.unsealed.name)


def check_prefix(log: LinkedLog, now: int) -> None:
    """A log without its beginning is whole only if it says so itself, and its own retention is over."""
    found, first = log.found, log.first
    if first is None or first.epoch == 0:
        return
    found.stand_at(first.segment, first.first_entry, first.epoch)
    prune = _known_prune(log)
    if prune is None or prune.segment < first.segment - 1:
        found.problem("prefix_missing", 0, first.first_entry - 1, f"epochs 0 to {first.epoch - 1}")
    elif first.time + first.retention > now:
        until = format_time(first.time + first.retention)
        detail = f"segments up to {first.segment - 1} were to be kept until {until}"
        found.problem("prefix_missing", 0, max(first.first_entry - 1, 0), detail)
    elif prune.segment == first.segment - 1 and not _fits(prune, first):
        found.problem("prune_broken", 0, max(first.first_entry - 1, 0), f"segments up to {prune.segment}")
    else:
        found.warn("pruned", first.first_entry, f"segments 1 to {first.segment - 1}")


def _known_prune(log: LinkedLog) -> Prune | None:
    """The prune line that reaches furthest; with a public key alone, of those that a checkpoint is over."""
    known = [item for index, item in log.prunes if not log.public or index < log.signed_size]
    return max(known, key=lambda item: item.segment, default=None)


def _fits(prune: Prune, first: Header) -> bool:
    tree = first.tree.to_frontier()
    stated = (prune.epoch + 1, prune.tree_size, prune.root, prune.entries)
    return stated == (first.epoch, tree.size, b64encode(tree.root()), first.first_entry)
